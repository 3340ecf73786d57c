/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Remembers, through a crash, what was being applied: a message or record that kills the daemon
 * twice must not kill it (and every replica) for ever. */
#ifndef XVM_APPLYING_H
#define XVM_APPLYING_H

#include "../libha/types.h"

struct xvm_applying;

/* *ret_safe_mode: the same thing has ended the daemon twice, or things have ended it three times in
 * ten minutes. Then, and only for this start, do not apply anything. 0 or a negative errno. */
int xvm_applying_open(const char *run_dir, ha_ms now, struct xvm_applying **ret_applying,
                      bool *ret_safe_mode);
void xvm_applying_begin(struct xvm_applying *applying, const void *data, size_t len);
void xvm_applying_end(struct xvm_applying *applying);

#endif
