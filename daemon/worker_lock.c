/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A worker's way to its guest's lock. */
#include "worker_lock.h"
#include "pidfd.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum {
    NAP_NS = 10 * 1000000,
};

/* Ends the worker that holds the lock, if it is one and not a guest that is just starting. */
static void kill_holder(const struct xvm_worker_lock *lock)
{
    struct xvm_guest_holder holder;
    if (xvm_holder_read(lock->dir, &holder) < 0 || holder.pid == getpid() || !holder.start)
        return;
    if (lock->inc && holder.inc && holder.inc != lock->inc)
        return; /* it works on another incarnation */
    int fd = xvm_pidfd_of(holder.pid, holder.start);
    if (fd < 0)
        return;
    if (xvm_lock_held(lock->lock_fd) == 1) {
        (void)xvm_pidfd_signal(fd, SIGKILL);
        if (lock->group && getpgid(holder.pid) == holder.pid)
            (void)kill(-holder.pid, SIGKILL);
    }
    close(fd);
}

int xvm_worker_lock_take(const struct xvm_worker_lock *lock)
{
    const struct timespec nap = {.tv_nsec = NAP_NS};
    int r;
    while ((r = xvm_lock_try(lock->lock_fd)) == -EAGAIN && !lock->cancelled() &&
           xvm_boot_ms() < lock->deadline) {
        /* A destroy waits for nobody: it comes when the lease has ended. */
        if (lock->op == HA_OP_DESTROY)
            kill_holder(lock);
        nanosleep(&nap, NULL);
    }
    if (r < 0)
        return r;
    struct xvm_guest_holder me = {.pid = getpid(),
                                  .start = xvm_pid_start(getpid()),
                                  .op = lock->op,
                                  .inc = lock->inc,
                                  .mig = lock->mig};
    r = xvm_holder_write(lock->lock_fd, &me);
    xvm_guest_changed(lock->guests_fd);
    return r;
}
