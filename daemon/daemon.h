/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon as one struct: the core and everything it acts through. daemon.c carries events in and
 * actions out, setup.c brings it to life, main.c has the options. */
#ifndef XVM_DAEMON_H
#define XVM_DAEMON_H

#include <systemd/sd-event.h>

#include "applying.h"
#include "child.h"
#include "clocks.h"
#include "config.h"
#include "corosync.h"
#include "definitions.h"
#include "disk_link.h"
#include "driver.h"
#include "fence_exec.h"
#include "fence_history.h"
#include "fence_watch.h"
#include "ipc.h"
#include "journal.h"
#include "keeper_link.h"
#include "marks.h"
#include "migration.h"
#include "prober.h"
#include "register.h"
#include "supply.h"
#include "talk.h"
#include "validate.h"
#include "../libha/ha.h"

/* Exit codes, as systemd units and the man page know them. */
enum {
    XVM_EXIT_FAILURE = 1, /* could not start, or ran out of memory */
    XVM_EXIT_USAGE = 2,
    XVM_EXIT_HALT = 3, /* a safety check of the core failed: look before you start it again */
    XVM_EXIT_JOURNAL = 4, /* the journal is damaged, or of a newer version: an operator must act */
};

struct xvm_options {
    const char *config_path, *run_dir, *state_dir, *agent_dir, *log_target, *probe_dir;
    const char *check_path;  /* only check this file; NULL: be a daemon */
    const char *agent_cache; /* NULL: a folder in run_dir; with check_path: nothing is kept */
    struct ha_uuid machine, boot;
    bool spawn_keeper;
    ha_ms keep_ms; /* how long bytes are kept that nobody needs; 0: a day */
};

struct xvm_daemon {
    struct xvm_options options;
    sd_event *loop;
    struct ha *core;
    bool started;   /* HA_EV_START is done */
    bool safe_mode; /* no core at all, see applying.h */
    bool exiting;   /* takes no more events */
    bool stepping;
    struct ha_actions actions;
    struct ha_config *config;
    struct xvm_corosync_facts facts; /* as of the last connect */
    struct xvm_applying *applying;
    struct xvm_marks marks;
    struct xvm_journal *journal;
    struct xvm_corosync *corosync;
    struct xvm_keeper_link *keeper;
    struct xvm_disk_link *disk;
    struct xvm_ipc *ipc;
    struct xvm_fencer *fencer;
    struct xvm_fence_watch *fence_watch;
    struct xvm_history *fence_history;
    struct xvm_child *checker; /* looks at a changed configuration */
    uint64_t checker_client;   /* who waits for it; 0: nobody */
    struct xvm_definitions *definitions;
    const struct xvm_driver_ops *driver_ops;
    struct xvm_driver *driver;
    struct xvm_supply *supply;
    struct xvm_migration *migration;
    struct xvm_prober *prober;
    struct xvm_register *reg;
    struct xvm_talk *talk; /* NULL: none, and neither are these two */
    struct xvm_validate *validate;
    struct xvm_clocks *clocks;
    sd_event_source *tick_timer, *status_timer;
    int alone_fd;                /* held as long as the daemon lives: it is the only one */
    bool ready;                  /* told systemd */
    char waits_for[HA_TEXT_MAX]; /* while not started: for what */
    char status[HA_TEXT_MAX];    /* what systemd was told last */
};

/* ------------------------------------------------------------------------------------ daemon.c */

/* Timers, and the sinks' other halves. 0 or a negative errno. */
int xvm_daemon_init(struct xvm_daemon *d);
/* Fills in the time, takes the event through the core and carries out what it says. */
void xvm_daemon_step(struct xvm_daemon *d, struct ha_event *event);
/* Ends the loop; guests and keeper live on. */
void xvm_daemon_exit(struct xvm_daemon *d, int code);
/* Tells systemd, soon. */
void xvm_daemon_status_changed(struct xvm_daemon *d);
/* To the log, the events, and what keeps a history. */
void xvm_daemon_report(struct xvm_daemon *d, enum ha_report what, enum ha_severity severity,
                       ha_node node, const char *guest, const char *text);
const char *xvm_daemon_host_name(const struct xvm_daemon *d, ha_node node);

extern const struct xvm_driver_sink xvm_daemon_driver_sink;
extern const struct xvm_journal_sink xvm_daemon_journal_sink;
extern const struct xvm_supply_sink xvm_daemon_supply_sink;
extern const struct xvm_migration_env xvm_daemon_migration_env; /* the functions in it */
void xvm_daemon_fenced(void *user, uint64_t id, enum ha_result result, const char *text);
/* Does this host's lease depend on the shared disk? True, too, while nobody knows. */
bool xvm_daemon_disk_needed(void *user);
/* Once it is known which host this is, and there is a driver. 0 or a negative errno. */
int xvm_daemon_open_prober(struct xvm_daemon *d);
void xvm_daemon_event(void *user, struct ha_event *event);
void xvm_daemon_command(void *user, const struct ha_request *request);

/* ---------------------------------------------------------------------------------- people.c */

/* What daemons tell each other for people. 0 or a negative errno. */
int xvm_daemon_open_talk(struct xvm_daemon *d);
/* For the control socket: as in struct xvm_ipc_env. */
int xvm_daemon_validate(void *user, uint64_t client, const char *guest);
bool xvm_daemon_clock(void *user, const char *host, ha_ms *ret_ms);
int xvm_daemon_debug(void *user, const char *name, bool host, bool on, const char *who);

/* ------------------------------------------------------------------------------------- setup.c */

/* Everything up to the loop. 0 or a negative errno, said in the log. */
int xvm_daemon_setup(struct xvm_daemon *d, const struct xvm_options *options);
/* ------------------------------------------------------------------------------------ reload.c */

/* Reads and checks the configuration file; complaints go to the log. facts NULL: before corosync
 * has told anything. run: fence agents may be asked, which takes time. 0 or a negative errno. */
int xvm_daemon_load(struct xvm_daemon *d, const struct xvm_corosync_facts *facts, bool run,
                    struct ha_config **ret_config);
/* It is in use from here on; takes it over. */
void xvm_daemon_take_config(struct xvm_daemon *d, struct ha_config *config);
/* The configuration and corosync's nodelist have to mean the same hosts. 0, or -EINVAL with a
 * sentence. */
int xvm_daemon_check_nodes(const struct ha_config *config, const struct xvm_corosync_facts *facts,
                           char *ret_text, size_t size);
/* Has a process of its own look for mistakes in a file. 0: `done` is called; its `err` holds them,
 * FILE:LINE:COL: one a line. Or a negative errno. */
int xvm_daemon_check_file(struct xvm_daemon *d, const char *path, xvm_child_done done, void *user,
                          struct xvm_child **ret_child);
/* Takes the file into use, which is known to have no mistakes. 0, or a negative errno with
 * *ret_text (malloc'd, may be NULL); the running one then stays. */
int xvm_daemon_reload_now(struct xvm_daemon *d, char **ret_text);
/* Reads the configuration again, after a process of its own has found no fault with it (it may have
 * to ask fence agents, which takes time). On failure the running one stays. -EINPROGRESS: `client`
 * (0: nobody) gets the answer through the control socket; or a negative errno with *ret_text
 * (malloc'd, may be NULL). */
int xvm_daemon_reload(void *user, uint64_t client, char **ret_text);

#endif
