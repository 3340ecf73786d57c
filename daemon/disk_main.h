/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-disk's parts: the options, and what each of its commands does. Exit codes in
 * xvm-ha-disk(8). */
#ifndef XVM_DISK_MAIN_H
#define XVM_DISK_MAIN_H

#include "disk_io.h"

enum {
    XVM_DISK_OK = 0,
    XVM_DISK_FAILED = 1, /* pill: it was not written */
    XVM_DISK_USAGE = 2,
    XVM_DISK_UNKNOWN = 3, /* pill: nobody knows whether it did its work */
    XVM_DISK_NODES_MAX = XVM_DISK_SLOTS_MAX,
};

struct xvm_disk_options {
    const char *path, *run_dir, *log_target, *cluster;
    ha_node self, target;
    struct ha_uuid boot, target_boot;
    uint32_t loss;
    ha_ms interval_ms, wait_ms;
    ha_node nodes[XVM_DISK_NODES_MAX];
    size_t nnodes;
    struct ha_uuid disk; /* pill: the disk that is meant */
    bool detach, force, json, disk_given;
};

/* disk_run.c: a cycle each interval, for ever. */
int xvm_disk_run(const struct xvm_disk_options *options);
/* disk_pill.c: writes a pill and waits until it must have done its work. */
int xvm_disk_pill(const struct xvm_disk_options *options);
/* disk_init.c */
int xvm_disk_init(const struct xvm_disk_options *options);
int xvm_disk_add(const struct xvm_disk_options *options);
int xvm_disk_show(const struct xvm_disk_options *options);

#endif
