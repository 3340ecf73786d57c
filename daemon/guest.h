/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two lives of the program xvm-ha-guest: a guest of the process driver, and a worker that
 * carries out one operation on one. */
#ifndef XVM_GUEST_H
#define XVM_GUEST_H

#include "guest_files.h"

struct xvm_guest_options {
    const char *name, *host, *run_dir, *shared_dir;
    uint64_t inc, mig;
    uint64_t tick;   /* the memory it starts with: ticks lived so far */
    ha_ms tick_ms;   /* 0: XVM_GUEST_TICK_MS; a `tick=` of its behaviour file goes first */
    bool paused;     /* wait for an unpause; else it runs at once */
    bool foreground; /* started by hand, and not to be detached */
    int lock_fd;     /* worker lock to let go once registered; -1: none */
    int ready_fd;    /* where "ok" or a reason is written once; -1: none */
};

struct xvm_worker_options {
    enum ha_op op;
    const char *name, *host, *run_dir, *shared_dir;
    uint64_t inc, mig;
    ha_ms until;      /* CLOCK_BOOTTIME; do not begin at or after it; 0: no limit */
    ha_ms timeout_ms; /* 0: none */
    int channel, progress; /* of a transfer, see driver.h; -1: none */
    bool live;        /* a transfer that lets the guest run as long as it can */
};

/* Is a guest until it ends; returns an exit code. */
int xvm_guest_run(const struct xvm_guest_options *options);
/* Starts a detached process that is the guest and waits until it is registered. `lock_fd`: the held
 * worker lock. 0, or a negative errno with a sentence in `why`. */
int xvm_guest_spawn(const struct xvm_guest_options *options, int lock_fd,
                    char why[static HA_TEXT_MAX]);
/* Carries out one operation; returns XVM_WORKER_...; says why on standard output. */
int xvm_worker_run(const struct xvm_worker_options *options);

#endif
