/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The watchdog behind the keeper: one small vtable, so that the hypervisor's own can join a
 * character device and a FIFO (whose reader stands in for the hardware in demo and tests). No call
 * blocks. */
#ifndef XVM_WATCHDOG_H
#define XVM_WATCHDOG_H

#include <stdbool.h>

struct xvm_watchdog;

struct xvm_watchdog_ops {
    const char *name;
    /* Opens and starts it: it fires when not petted for `seconds`. Counts as a pet. 0 or a negative
     * errno; after a failure nothing runs that did not run before. */
    int (*arm)(struct xvm_watchdog *dog, unsigned seconds);
    int (*pet)(struct xvm_watchdog *dog);
    /* Changes the time of an armed one. Counts as a pet. */
    int (*set_timeout)(struct xvm_watchdog *dog, unsigned seconds);
    int (*disarm)(struct xvm_watchdog *dog);
};

struct xvm_watchdog {
    const struct xvm_watchdog_ops *ops;
    const char *path;
    char found[32]; /* what path points to, when it was looked for */
    int fd;
    bool armed;
    unsigned seconds; /* what it was set to last */
};

/* path: "none", "xen" (the hypervisor's own), a character device or a FIFO. *ret_dog is not to be copied.
 * Opens nothing. 0, or -ENODEV and the like when there
 * is nothing usable at path (then *ret_dog is the one of "none"). */
int xvm_watchdog_choose(struct xvm_watchdog *ret_dog, const char *path);
int xvm_watchdog_arm(struct xvm_watchdog *dog, unsigned seconds);
int xvm_watchdog_pet(struct xvm_watchdog *dog);
int xvm_watchdog_set_timeout(struct xvm_watchdog *dog, unsigned seconds);
int xvm_watchdog_disarm(struct xvm_watchdog *dog);

#endif
