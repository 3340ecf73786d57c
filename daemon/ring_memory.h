/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What corosync said when it was last there, kept in the run folder: so that a daemon that is
 * started while corosync is away can still look after the guests of this host. */
#ifndef XVM_RING_MEMORY_H
#define XVM_RING_MEMORY_H

#include "corosync.h"

/* 0, or a negative errno (-ENOENT: nothing known in this boot). Node names are not kept. */
int xvm_ring_load(const char *run_dir, const struct ha_uuid *boot,
                  struct xvm_corosync_facts *ret_facts);
int xvm_ring_save(const char *run_dir, const struct ha_uuid *boot,
                  const struct xvm_corosync_facts *facts);

#endif
