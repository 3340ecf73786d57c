/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sees to it that one xvm-ha-disk runs on this host, for the disk that the configuration names. It
 * outlives the daemon: what it says goes to the keeper. */
#ifndef XVM_DISK_LINK_H
#define XVM_DISK_LINK_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"

struct xvm_disk_link;

struct xvm_disk_link_env {
    sd_event *loop;
    const char *run_dir, *log_target; /* borrowed for the life of the link */
    ha_node self;
    struct ha_uuid boot;
    bool (*needed)(void *user); /* does this host's lease depend on the disk now? */
    void *user;
};

/* 0 or a negative errno. */
int xvm_disk_link_new(const struct xvm_disk_link_env *env, struct xvm_disk_link **ret_link);
/* Starts one; replaces one with other options, or ends it when there is no shared disk any more,
 * once this host's lease does not depend on it: the files of the hosts are changed one by one. One
 * that hangs in the kernel ends when it can; until then no other one starts, and the disk counts as
 * lost. */
void xvm_disk_link_config(struct xvm_disk_link *link, const struct ha_config *config);

#endif
