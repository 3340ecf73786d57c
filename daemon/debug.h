/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which guests' messages for debugging are logged, or all of this host's. Switched while the daemon
 * runs; a daemon that starts is quiet. */
#ifndef XVM_DEBUG_H
#define XVM_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name "": everything on this host. 0; -ENOSPC: too many guests are. */
int xvm_debug_set(const char *name, bool on);
/* Is that guest's (NULL: the whole host's) to be logged? */
bool xvm_debug_on(const char *guest);
/* A line, if it is. */
void xvm_debug(const char *guest, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What ends by its number only was begun for that guest: operations ('o'), probes ('p'). */
void xvm_debug_begun(char kind, uint64_t id, const char *guest);
/* NULL: it was not noted, or too long ago. */
const char *xvm_debug_whose(char kind, uint64_t id);
/* The i-th that is switched on; "": the host; NULL: no more. Borrowed until the next switch. */
const char *xvm_debug_name(size_t i);

#endif
