/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a worker, of either driver, gets to be the only one at its guest. */
#ifndef XVM_WORKER_LOCK_H
#define XVM_WORKER_LOCK_H

#include "guest_files.h"

struct xvm_worker_lock {
    int guests_fd, dir, lock_fd; /* RUN_DIR/guests, the guest's folder there, its lock */
    enum ha_op op;               /* what is to be done: a destroy ends who is in its way */
    uint64_t inc, mig;
    ha_ms deadline; /* CLOCK_BOOTTIME */
    bool group;     /* who is in the way has helpers in its process group */
    bool (*cancelled)(void);
};

/* Waits for the guest's lock and writes down who holds it now. 0; -EAGAIN: cancelled, or another
 * had it until the deadline; or another negative errno. */
int xvm_worker_lock_take(const struct xvm_worker_lock *lock);

#endif
