/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the process driver: what its files share. Operations (driver_process.c) start workers;
 * the inventory (driver_process_scan.c) is read from the guests' files; the end of a guest's
 * process is seen through a pidfd (driver_process_watch.c). */
#ifndef XVM_DRIVER_PROCESS_H
#define XVM_DRIVER_PROCESS_H

#include "driver_ops.h"
#include "guest_files.h"

/* A guest's process that is, or was, alive. */
struct xvm_watch {
    struct xvm_watch *next;
    struct xvm_driver *driver;
    char guest[HA_NAME_MAX];
    struct xvm_guest_state state; /* as last seen */
    int pidfd;
    sd_event_source *on_exit;
    bool expected; /* a destroy of ours ends it: not an exit to report */
    bool reported; /* its end was reported, or was expected */
    bool stale;    /* not seen by the scan under way */
};

/* One directory of a guest, as one look found it. */
struct xvm_seen {
    char guest[HA_NAME_MAX];
    bool has_state, alive;
    struct xvm_guest_state state;
    bool worker;                    /* its worker lock is held */
    struct xvm_guest_holder holder; /* holder.pid 0: not known */
};

struct xvm_scan {
    struct xvm_seen *v;
    size_t n, size;
};

struct xvm_driver {
    sd_event *loop;
    const struct ha_config *config;
    char *host_name, *run_dir, *program;
    const struct xvm_driver_sink *sink;
    void *user;
    int guests_fd;
    bool ready;       /* no worker of an earlier daemon is left */
    unsigned unclear; /* looks in a row that found something half-done */
    struct xvm_ops ops;
    struct xvm_watch *watches;
    sd_event_source *on_change; /* inotify */
    sd_event_source *on_look;   /* runs once the loop comes round */
    sd_event_source *on_retry;  /* looks again after a moment */
};

/* As xvm_driver_ops.check (driver_process_check.c). */
int xvm_process_check(struct xvm_driver *driver, const char *guest,
                      void (*done)(void *user, const char *guest, bool fit, const char *text),
                      void *user);

/* 0, -EAGAIN (a guest was about to change: look again), or another negative errno. The caller frees
 * ret_scan->v. */
int xvm_process_scan(int guests_fd, struct xvm_scan *ret_scan);

/* Compares what is watched with what was seen: watches new processes, reports ends. 0, -EAGAIN as
 * above, or another negative errno. */
int xvm_process_watch(struct xvm_driver *driver, const struct xvm_scan *scan);
void xvm_process_unwatch_all(struct xvm_driver *driver);
/* A destroy of this driver is about to end that copy (inc 0: any), or has failed to. */
void xvm_process_expect(struct xvm_driver *driver, const char *guest, uint64_t inc, bool expected);

/* Has the driver look round soon, and report what it sees. */
void xvm_process_look_soon(struct xvm_driver *driver);

#endif
