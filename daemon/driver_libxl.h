/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the libxl driver: what its files share. The loop never speaks to Xen: operations
 * (driver_libxl.c), looks at what is here (driver_libxl_look.c), the watch for ends
 * (driver_libxl_watch.c) and the making of definitions (driver_libxl_define.c) are all processes
 * xvm-ha-domain, killed when they take too long, and what they leave unsaid is unknown. */
#ifndef XVM_DRIVER_LIBXL_H
#define XVM_DRIVER_LIBXL_H

#include "domain_facts.h"
#include "driver_ops.h"
#include "guest_files.h"

/* A domain of a guest, as long as anything of it is here. */
struct xvm_dom {
    struct xvm_dom *next;
    uint32_t domid;
    char guest[HA_NAME_MAX];
    uint64_t inc;
    bool building;    /* a worker is making it: should it vanish, that worker says so */
    bool expected;    /* a destroy of ours ends it: not an exit to report */
    bool reported;    /* its end was reported, or was expected */
    bool stale;       /* not seen by the look under way */
    ha_ms dead_since; /* 0: it is not */
};

/* A guest's directory: who works on it, and what was written down of its domain. */
struct xvm_place {
    char guest[HA_NAME_MAX];
    bool worker; /* its lock is held */
    struct xvm_guest_holder holder;
    bool has_record;
    struct xvm_domain_record record;
};

struct xvm_places {
    struct xvm_place *v;
    size_t n, size;
};

/* One look under way. */
struct xvm_look {
    struct xvm_child *child; /* NULL: none */
    ha_ms began;
    bool again; /* asked for once more meanwhile */
    bool bad;   /* it said something that makes no sense */
    struct xvm_places before;
    struct xvm_domain *domains;
    size_t ndomains, size;
    bool has_host;
    uint64_t memory_kib;
};

struct xvm_watcher {
    struct xvm_child *child; /* NULL: waiting for the next attempt */
    ha_ms began, back_off;
    bool works; /* it has said something since it was started */
    sd_event_source *on_silence, *on_again;
};

struct xvm_definer {
    struct xvm_child *child;
    size_t next; /* guest of the configuration to look at next */
    char guest[HA_NAME_MAX];
    char *file;
    char stamp[128]; /* what the file looked like when it was read */
    char text[HA_TEXT_MAX];
    bool done; /* a definition came */
    sd_event_source *on_turn;
};

/* A worker that waits to let a guest run; driver_libxl_ready.c. */
struct xvm_ready;

struct xvm_driver {
    sd_event *loop;
    const struct ha_config *config;
    ha_node self;
    char *host_name, *run_dir, *program, *dump_dir;
    const struct xvm_driver_sink *sink;
    void *user;
    struct xvm_definitions *definitions;
    char *(*definition_path)(void *user, const struct ha_uuid *hash);
    int guests_fd;
    bool ready;         /* no worker of an earlier daemon is left */
    ha_ms said_unknown; /* when it was last said that nothing is known; 0: something is */
    bool seen;          /* a look was complete */
    bool hap, shadow;   /* what the host's hypervisor can do; from the first look on */
    struct xvm_ops ops;
    struct xvm_dom *doms;
    struct xvm_known *known; /* one for each guest of the configuration */
    size_t nknown;
    struct xvm_look look;
    struct xvm_watcher watcher;
    struct xvm_definer definer;
    struct xvm_check *checks;
    struct xvm_ready *ready_workers;
    struct xvm_settling *settling;
    sd_event_source *on_look;    /* runs once the loop comes round */
    sd_event_source *on_retry;   /* looks again after a moment */
};

/* ---------------------------------------------------------------------------- driver_libxl.c */

/* The guest in this host's configuration, borrowed from it; NULL: it is not there. */
const struct ha_guest_config *xvm_libxl_guest_config(const struct xvm_driver *driver,
                                                     const char *guest);

/* Starts the program with these arguments. As xvm_child_new. */
int xvm_libxl_run(struct xvm_driver *driver, char *const *argv, ha_ms timeout_ms,
                  xvm_child_line line, xvm_child_done done, void *user,
                  struct xvm_child **ret_child);
void xvm_libxl_say(struct xvm_driver *driver, enum ha_severity severity, const char *guest,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
const struct xvm_known *xvm_libxl_known(const struct xvm_driver *driver, const char *guest);
/* Starts a worker for an operation. `go`: what it waits for a word on before it begins; -1: it
 * begins at once. As xvm_child_new. */
int xvm_libxl_worker(const struct xvm_op *op, ha_ms timeout_ms, int go, xvm_child_line line,
                     xvm_child_done done, void *user, struct xvm_child **ret_child);
/* What a worker says, and its end; user: its operation, which is freed by its end. */
void xvm_libxl_on_line(void *user, const char *line);
void xvm_libxl_on_worker(void *user, const struct xvm_child_end *end);
/* Has what is left of an ended copy cleared away; its result is nobody's. */
void xvm_libxl_bury(struct xvm_driver *driver, const char *guest, uint64_t inc, bool crashed);
/* No worker of an earlier daemon is left: what waited for that begins. */
void xvm_libxl_become_ready(struct xvm_driver *driver);

/* ---------------------------------------------------------------------- driver_libxl_ready.c */

/* While a copy of a guest is received: starts the worker that will let it run. */
void xvm_libxl_ready_begin(const struct xvm_op *receive, ha_ms timeout_ms);
/* Has the worker that waits do the operation, which then owns it. False: there is none. */
bool xvm_libxl_ready_take(struct xvm_op *unpause, ha_ms timeout_ms);
/* That copy will not run: its worker goes. */
void xvm_libxl_ready_drop(struct xvm_driver *driver, const char *guest);
void xvm_libxl_ready_close(struct xvm_driver *driver);

/* ---------------------------------------------------------------------- driver_libxl_guard.c */

/* This host's key for a guest's disks, hexadecimal; "": they are not to be guarded. */
void xvm_libxl_guard_key(const struct xvm_driver *driver, const char *guest, char text[static 17]);
/* An operation has ended: what that means for the reservations is begun. */
void xvm_libxl_guard_settle(const struct xvm_op *op, enum ha_result result);
/* Takes up what an earlier daemon did not see the end of. */
void xvm_libxl_guard_resume(struct xvm_driver *driver);
void xvm_libxl_guard_close(struct xvm_driver *driver);

/* ----------------------------------------------------------------------- driver_libxl_look.c */

/* Has the driver look round soon, and report what it sees. */
void xvm_libxl_look_soon(struct xvm_driver *driver);
/* The same in a few seconds, unless it has looked by then. */
void xvm_libxl_look_later(struct xvm_driver *driver);
/* Tells the core that nobody knows what runs here, and looks again in a while. */
void xvm_libxl_unknown(struct xvm_driver *driver, const char *why);
int xvm_libxl_look_open(struct xvm_driver *driver);
void xvm_libxl_look_close(struct xvm_driver *driver);

/* ----------------------------------------------------------------------- driver_libxl_doms.c */

/* Compares what is followed with what a look found, and reports ends. */
void xvm_libxl_follow(struct xvm_driver *driver, const struct xvm_domain *domain, const char *guest,
                      uint64_t inc, bool worker);
void xvm_libxl_follow_begin(struct xvm_driver *driver);
void xvm_libxl_follow_end(struct xvm_driver *driver);
/* The watch saw it end before any look did. */
void xvm_libxl_ended(struct xvm_driver *driver, uint32_t domid, enum xvm_domain_end end);
/* A move of ours has suspended it: the end of the move says what became of it. */
bool xvm_libxl_moving(const struct xvm_driver *driver, uint32_t domid);
/* A destroy of this driver is about to end that copy (inc 0: any), or has failed to. */
void xvm_libxl_expect(struct xvm_driver *driver, const char *guest, uint64_t inc, bool expected);
void xvm_libxl_forget_all(struct xvm_driver *driver);

/* ---------------------------------------------------------------------- driver_libxl_watch.c */

int xvm_libxl_watch_open(struct xvm_driver *driver);
void xvm_libxl_watch_close(struct xvm_driver *driver);

/* --------------------------------------------------------------------- driver_libxl_define.c */

int xvm_libxl_define_open(struct xvm_driver *driver);
void xvm_libxl_define_close(struct xvm_driver *driver);
/* The configuration may have other guests, or other files. */
void xvm_libxl_define_all(struct xvm_driver *driver);
int xvm_libxl_check(struct xvm_driver *driver, const char *guest,
                    void (*done)(void *user, const char *guest, bool fit, const char *text),
                    void *user);
void xvm_libxl_check_close(struct xvm_driver *driver);

#endif
