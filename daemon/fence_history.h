/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happened to hosts and their fence devices, kept on this host across restarts: one JSON
 * object a line in a file of the state folder. Cluster-wide facts are in every host's file. */
#ifndef XVM_FENCE_HISTORY_H
#define XVM_FENCE_HISTORY_H

#include <jansson.h>

#include "../libha/ha.h"

struct xvm_history;

/* Reads what is there (a torn or foreign line is passed over) and keeps the latest. 0 or -errno. */
int xvm_history_open(const char *state_dir, struct xvm_history **ret_history);
struct xvm_history *xvm_history_free(struct xvm_history *history);

/* Does a report of this kind belong here? */
bool xvm_history_wants(enum ha_report what);
/* Adds a line, with the wall-clock time of now. A file that cannot be written is said in the log,
 * once; memory has the line all the same. */
void xvm_history_add(struct xvm_history *history, enum ha_report what, enum ha_severity severity,
                     const char *host, const char *text);
/* The last n, oldest first; host NULL or "": all hosts. NULL: out of memory. */
json_t *xvm_history_json(const struct xvm_history *history, const char *host, size_t n);

#endif
