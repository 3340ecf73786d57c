/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls to corosync that may block, for helper threads only. */
#ifndef XVM_COROSYNC_FACTS_H
#define XVM_COROSYNC_FACTS_H

#include <corosync/quorum.h>

#include "corosync.h"

/* Fills ring and nodes from cmap. 0, or a negative errno; *ret_why: a literal, or untouched. */
int xvm_corosync_read_facts(struct xvm_corosync_facts *facts, const char **ret_why);
/* Ends the connection in a thread of its own. */
void xvm_corosync_close_quorum(quorum_handle_t handle);

#endif
