/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process driver, its workers and its guests share: the files of a guest on its host
 * (RUN_DIR/guests/NAME) and on the shared storage, the locks that say who is alive, and how a
 * guest's process is named without trusting its number.
 *
 *   RUN_DIR/guests/.changed        touched after each change; the driver watches it
 *   RUN_DIR/guests/NAME/lock       held by the worker of the guest (and by a guest that is
 * starting) RUN_DIR/guests/NAME/alive      held by the guest's process as long as it lives
 *   RUN_DIR/guests/NAME/state      struct xvm_guest_state, replaced atomically
 *   RUN_DIR/guests/NAME/exit       how the guest ended by its own will
 *   RUN_DIR/guests/NAME/ctl        the guest's control socket
 *   SHARED_DIR/NAME.disk           the disk; the lock on it is the right to write
 *   SHARED_DIR/NAME.behave         for tests: how the guest shall misbehave
 *   SHARED_DIR/violations          double starts that the lock on a disk has caught
 *
 * All locks are open-file-description locks: the kernel drops them with the process, they survive
 * fork, and they can be asked for without being taken. */
#ifndef XVM_GUEST_FILES_H
#define XVM_GUEST_FILES_H

#include <sys/types.h>

#include "../libha/ha.h"

enum {
    XVM_GUEST_TICK_MS = 100, /* default pace of a guest */
    XVM_GUEST_SHUTDOWN_MS = 300,
};

/* Exit codes of a worker. Anything else: nobody knows. "Failed" is not 1: that is what a worker
 * that broke down half-way exits with. */
enum {
    XVM_WORKER_OK = 0,
    XVM_WORKER_FAILED = 65, /* it certainly did not happen */
    XVM_WORKER_UNKNOWN = 66,
};

/* By enum ha_op: what a worker is told on its command line. */
extern const char *const xvm_op_names[HA_OP_RESUME + 1];

struct xvm_guest_state {
    pid_t pid;
    uint64_t start; /* start time of the process, in clock ticks; 0: not known */
    uint64_t nonce; /* random, one life of one process */
    uint64_t inc, mig;
    enum ha_copy_state state; /* PAUSED, RUNNING or SUSPENDED */
};

/* Who holds a guest's worker lock. */
struct xvm_guest_holder {
    pid_t pid;
    uint64_t start;
    enum ha_op op;
    uint64_t inc, mig;
};

struct xvm_guest_image {
    char name[HA_NAME_MAX];
    uint64_t mig;
    uint64_t inc;  /* of the source */
    uint64_t tick; /* the guest's memory */
};

enum xvm_fault {
    XVM_FAULT_NONE = 0,
    XVM_FAULT_FAIL,
    XVM_FAULT_HANG,
    XVM_FAULT_IGNORE,
};

struct xvm_guest_behave {
    enum xvm_fault create, unpause, shutdown;
    ha_ms create_ms, unpause_ms, shutdown_ms;                 /* slow:MS */
    ha_ms crash_after_ms, reboot_after_ms, poweroff_after_ms; /* of running; 0: never */
    enum ha_exit exit; /* how it ends when asked to shut down */
    ha_ms tick_ms;
    ha_ms complete_ms;  /* how long its target's worker lives on after the image is complete */
    uint64_t image_kib; /* how much memory a move has to carry */
};

ha_ms xvm_boot_ms(void);
/* Fit to be part of a file name. */
bool xvm_guest_name_ok(const char *name);

/* RUN_DIR/guests and RUN_DIR/guests/NAME, made if missing. Descriptor or negative errno. */
int xvm_guests_open(const char *run_dir);
int xvm_guest_open(int guests_fd, const char *name);
/* Tells the driver that something changed. */
void xvm_guest_changed(int guests_fd);

/* Descriptor of a lock file in `dir`, or a negative errno. */
int xvm_lock_open(int dir, const char *file);
/* 0, -EAGAIN if another holds it, or another negative errno. */
int xvm_lock_try(int fd);
void xvm_lock_drop(int fd);
/* 1 if another holds it, 0 if nobody does, or a negative errno. */
int xvm_lock_held(int fd);
/* The same by name; a missing file is not held. */
int xvm_lock_held_at(int dir, const char *file);

/* A small file as text, as much of it as there is room for. 0 or a negative errno. */
int xvm_text_read(int dir, const char *file, char *buf, size_t size);
/* Readers see the old file or the new one, never a part of one. 0 or a negative errno. */
int xvm_text_replace(int dir, const char *file, const char *text);

/* 0, -ENOENT, -EBADMSG (not a complete state), or another negative errno. */
int xvm_state_read(int dir, struct xvm_guest_state *ret_state);
int xvm_state_write(int dir, const struct xvm_guest_state *state);
/* -EBADMSG also for a worker that has not written itself down yet. */
int xvm_holder_read(int dir, struct xvm_guest_holder *ret_holder);
int xvm_holder_write(int lock_fd, const struct xvm_guest_holder *holder);
int xvm_exit_write(int dir, uint64_t nonce, enum ha_exit how);
/* HA_EXIT_KILLED unless the process of this nonce wrote down a reason. */
enum ha_exit xvm_exit_read(int dir, uint64_t nonce);
/* Removes what a dead process left. Only under the worker lock. */
void xvm_state_clear(int dir);

/* Missing file: no misbehaviour. Unknown keys are ignored. */
void xvm_behave_read(const char *shared_dir, const char *name, struct xvm_guest_behave *ret_behave);

/* Start time of a process, 0 if it cannot be read. */
uint64_t xvm_pid_start(pid_t pid);
/* A pidfd that is certainly that process's, -ESRCH if it is gone, or another negative errno. */
int xvm_pidfd_of(pid_t pid, uint64_t start);

const char *xvm_copy_state_name(enum ha_copy_state state);

#endif
