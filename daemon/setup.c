/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the daemon's coming to life: files, journal, configuration, then corosync, then the core. */
#include "daemon.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "config_wait.h"
#include "log.h"
#include "ring_memory.h"
#include "util.h"

#define SOCKET_NAME "xvm-had.sock"
#define AGENTS_NAME "agents"

/* ---------------------------------------------------------------------------------------- core */

static char *definition_path(void *user, const struct ha_uuid *hash)
{
    const struct xvm_daemon *d = user;

    return xvm_supply_path(d->supply, hash);
}

static int open_driver(struct xvm_daemon *d)
{
    struct xvm_driver_env env = {
        .loop = d->loop,
        .config = d->config,
        .self = d->facts.self,
        .host_name = xvm_daemon_host_name(d, d->facts.self),
        .run_dir = d->options.run_dir,
        .state_dir = d->options.state_dir,
        .definition_path = definition_path,
        .definitions = d->definitions,
        .sink = &xvm_daemon_driver_sink,
        .user = d,
    };
    struct ha_error error = {0};
    int r;

    d->driver_ops = strcmp(d->config->driver, "process") == 0 ? &xvm_driver_process
                                                              : &xvm_driver_libxl;
    r = d->driver_ops->open(&env, &d->driver, &error);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "driver %s: %s", d->driver_ops->name,
                error.text[0] ? error.text : strerror(-r));
    return r;
}

static int open_migration(struct xvm_daemon *d)
{
    struct xvm_migration_env env = xvm_daemon_migration_env;

    env.loop = d->loop;
    env.self = d->facts.self;
    env.config = d->config;
    env.facts = &d->facts;
    env.user = d;
    return xvm_migration_new(&env, &d->migration);
}

static int open_disk(struct xvm_daemon *d)
{
    const struct xvm_disk_link_env env = {
        .loop = d->loop,
        .run_dir = d->options.run_dir,
        .log_target = d->options.log_target,
        .self = d->facts.self,
        .boot = d->options.boot,
        .needed = xvm_daemon_disk_needed,
        .user = d,
    };
    int r = xvm_disk_link_new(&env, &d->disk);

    if (r == 0)
        xvm_disk_link_config(d->disk, d->config);
    return r;
}

static int open_keeper(struct xvm_daemon *d)
{
    struct xvm_keeper_link_env env = {
        .loop = d->loop,
        .run_dir = d->options.run_dir,
        .self = d->facts.self,
        .boot = d->options.boot,
        .spawn = d->options.spawn_keeper,
        .watchdog = d->config->watchdog_device,
        .log_target = d->options.log_target,
        .event = xvm_daemon_event,
        .user = d,
    };

    /* an old configuration may be freed while the link lives */
    if (env.watchdog)
        env.watchdog = strdup(env.watchdog);
    return xvm_keeper_link_new(&env, &d->keeper);
}

static void send_start(struct xvm_daemon *d)
{
    struct ha_event event = {.type = HA_EV_START};

    event.u.start.node = d->facts.self;
    event.u.start.boot = d->options.boot;
    event.u.start.machine = d->options.machine;
    xvm_uuid_random(&event.u.start.fresh_journal);
    xvm_uuid_random(&event.u.start.fresh_cluster);
    event.u.start.marks = d->marks.v;
    event.u.start.nmarks = d->marks.n;
    event.u.start.config = d->config;
    xvm_daemon_step(d, &event);
    d->started = !d->exiting;
}

static int open_fencing(struct xvm_daemon *d);

/* As soon as the node and the ring's timings are known. */
static int start_core(struct xvm_daemon *d)
{
    int r;

    assert(d->config);
    r = xvm_supply_new(d->loop, d->options.state_dir, d->options.keep_ms,
                       &xvm_daemon_supply_sink, d, &d->supply);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot use %s/definitions: %s", d->options.state_dir, strerror(-r));
        return r;
    }
    r = xvm_register_new(d, &d->reg);
    if (r < 0)
        return r;
    r = open_driver(d);
    if (r < 0)
        return r;
    r = open_migration(d);
    if (r >= 0)
        r = open_fencing(d);
    if (r >= 0)
        r = xvm_daemon_open_prober(d);
    if (r >= 0)
        r = xvm_daemon_open_talk(d);
    if (r >= 0)
        r = open_keeper(d);
    if (r >= 0)
        r = open_disk(d);
    if (r >= 0)
        r = xvm_journal_start(d->journal, d->loop, &xvm_daemon_journal_sink, d);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot start: %s", strerror(-r));
        return r;
    }
    send_start(d);
    if (d->started) {
        xvm_daemon_status_changed(d);
        d->driver_ops->inventory(d->driver);
        if (d->driver_ops->raw_definitions)
            xvm_supply_read_files(d->supply, d->config);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------ corosync */

static int first_connect(struct xvm_daemon *d, const struct xvm_corosync_facts *facts)
{
    struct ha_config *config = NULL;
    int r = xvm_daemon_load(d, facts, false, &config);

    if (r < 0) { /* not right again: what is wrong will not be right in a second */
        (void)xvm_config_wait(d->options.config_path);
        return r;
    }
    d->facts = *facts;
    xvm_daemon_take_config(d, config);
    return start_core(d);
}

static bool same_ring(const struct xvm_ring_facts *a, const struct xvm_ring_facts *b)
{
    return a->token_ms == b->token_ms && a->consensus_ms == b->consensus_ms &&
           a->two_node == b->two_node && a->qdevice == b->qdevice &&
           a->last_man_standing == b->last_man_standing && a->wait_for_all == b->wait_for_all &&
           a->allow_downscale == b->allow_downscale;
}

/* Later ones: other timings or modes mean other defaults for the lease. */
static int connect_again(struct xvm_daemon *d, const struct xvm_corosync_facts *facts)
{
    bool same = same_ring(&facts->ring, &d->facts.ring);
    char text[HA_TEXT_MAX * 2];
    struct ha_config *config = NULL;
    int r;

    if (facts->self != d->facts.self) {
        xvm_log(HA_SEV_ALERT, "corosync came back as node %u, this was node %u: restart xvm-had",
                facts->self, d->facts.self);
        return -EINVAL;
    }
    r = xvm_daemon_check_nodes(d->config, facts, text, sizeof(text));
    if (r < 0) {
        xvm_log(HA_SEV_ALERT, "%s: %s", d->options.config_path, text);
        return r;
    }
    d->facts = *facts;
    if (same) {
        xvm_migration_set_config(d->migration, d->config); /* its addresses are corosync's */
        return 0;
    }
    if (xvm_daemon_load(d, facts, false, &config) == 0)
        xvm_daemon_take_config(d, config);
    else
        xvm_log(HA_SEV_ALERT,
                "corosync has other timings now, and %s does not fit them: the old "
                "configuration stays until `xvmhactl reload` succeeds",
                d->options.config_path);
    return 0;
}

static int on_connected(void *user, const struct xvm_corosync_facts *facts)
{
    struct xvm_daemon *d = user;
    int r;

    if (d->exiting)
        return -ESHUTDOWN;
    r = d->started ? connect_again(d, facts) : first_connect(d, facts);
    if (r < 0 && !d->started)
        xvm_daemon_exit(d, XVM_EXIT_FAILURE);
    if (r < 0)
        return r;
    r = xvm_ring_save(d->options.run_dir, &d->options.boot, facts);
    if (r < 0)
        xvm_log(HA_SEV_WARNING, "cannot write %s/ring: %s", d->options.run_dir, strerror(-r));
    return 0;
}

static void on_refused(void *user, bool fatal, const char *text)
{
    struct xvm_daemon *d = user;

    xvm_log(HA_SEV_ERROR, "%s", text);
    snprintf(d->waits_for, sizeof(d->waits_for), "%s", text);
    xvm_daemon_status_changed(d);
    if (!d->started && fatal)
        xvm_daemon_exit(d, XVM_EXIT_FAILURE);
}

static const struct xvm_corosync_sink corosync_sink = {
    .connected = on_connected,
    .refused = on_refused,
    .event = xvm_daemon_event,
};

/* ------------------------------------------------------------------------------------- signals */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
    struct xvm_daemon *d = user;

    (void)source;
    (void)info;
    sd_notify(0, "STOPPING=1");
    xvm_log(HA_SEV_NOTICE, "stopping; guests and keeper go on");
    xvm_daemon_exit(d, 0);
    return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
    struct xvm_daemon *d = user;
    char *text = NULL;
    int r;

    (void)source;
    (void)info;
    r = xvm_daemon_reload(d, 0, &text);
    if (r < 0 && r != -EINPROGRESS)
        xvm_log(HA_SEV_ERROR, "cannot read the configuration again: %s",
                text ? text : strerror(-r));
    free(text);
    return 0;
}

static void leave(void *user, ha_ms limit_ms)
{
    struct ha_event event = {.type = HA_EV_SHUTDOWN, .u.shutdown.limit_ms = limit_ms};

    xvm_daemon_step(user, &event);
}

static int on_power(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
    (void)source;
    (void)info;
    leave(user, 0);
    return 0;
}

static int watch_signals(struct xvm_daemon *d)
{
    static const struct {
        int number;
        sd_event_signal_handler_t handler;
    } signals[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_hangup}, {SIGPWR, on_power}};
    sigset_t set;
    int r = 0;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(&set, signals[i].number);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread */
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && r >= 0; i++)
        r = sd_event_add_signal(d->loop, NULL, signals[i].number, signals[i].handler, d);
    return r < 0 ? r : 0;
}

/* --------------------------------------------------------------------------------------- start */

static int on_record(void *user, const void *record, size_t len)
{
    struct xvm_daemon *d = user;
    int r;

    xvm_applying_begin(d->applying, record, len);
    r = ha_restore(d->core, record, len);
    xvm_applying_end(d->applying);
    return r;
}

static int restore(struct xvm_daemon *d)
{
    struct ha_error error;
    int r;

    d->core = ha_new(HA_MUTANT_NONE);
    if (!d->core)
        return -ENOMEM;
    r = xvm_journal_open(d->options.state_dir, on_record, d, &d->journal, &error);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "%s", error.text);
        sd_notifyf(0, "STATUS=%s", error.text);
    }
    return r;
}

static const struct ha *core_of(void *user)
{
    struct xvm_daemon *d = user;

    return d->started ? d->core : NULL;
}

static const char *waits_for_of(void *user)
{
    const struct xvm_daemon *d = user;

    return d->waits_for;
}

static ha_ms now_of(void *user)
{
    (void)user;
    return xvm_now_ms();
}

static const struct ha_config *config_of(void *user)
{
    struct xvm_daemon *d = user;

    return d->config;
}

/* ------------------------------------------------------------------------------------- fencing */

static void on_device(void *user, enum ha_report what, enum ha_severity severity, ha_node host,
                      const char *text)
{
    xvm_daemon_report(user, what, severity, host, NULL, text);
}

static void on_device_checks(void *user, uint64_t client, json_t *answer)
{
    struct xvm_daemon *d = user;

    xvm_ipc_answer(d->ipc, client, answer);
}

static int open_fencing(struct xvm_daemon *d)
{
    const struct xvm_fence_watch_env env = {
        .loop = d->loop,
        .agent_dir = d->options.agent_dir,
        .self = d->facts.self,
        .user = d,
        .core = core_of,
        .config = config_of,
        .report = on_device,
        .answer = on_device_checks,
    };
    int r = xvm_fencer_new(d->loop, d->config, d->options.agent_dir, xvm_daemon_fenced, d,
                           &d->fencer);

    if (r >= 0)
        r = xvm_fence_watch_new(&env, &d->fence_watch);
    return r;
}

/* 0: NULL, or no such host. */
static ha_node node_of(const struct xvm_daemon *d, const char *host)
{
    for (size_t i = 0; host && i < d->config->nhosts; i++) {
        if (strcmp(d->config->hosts[i].name, host) == 0)
            return d->config->hosts[i].node;
    }
    return 0;
}

static int fence_check(void *user, uint64_t client, const char *host)
{
    struct xvm_daemon *d = user;

    if (!d->fence_watch)
        return -EAGAIN;
    return xvm_fence_watch_now(d->fence_watch, node_of(d, host), client);
}

static json_t *fence_history(void *user, const char *host, size_t n)
{
    const struct xvm_daemon *d = user;

    return d->fence_history ? xvm_history_json(d->fence_history, host, n) : json_array();
}

static int config_change(void *user, const struct xvm_register_request *request, char **ret_text)
{
    struct xvm_daemon *d = user;

    return xvm_register_ask(d->reg, request, ret_text);
}

static int config_file(void *user, uint64_t client, const char *host, char **ret_text)
{
    struct xvm_daemon *d = user;

    return xvm_register_file(d->reg, client, node_of(d, host), ret_text);
}

static int guest_export(void *user, const char *guest, json_t **ret_answer, char **ret_text)
{
    struct xvm_daemon *d = user;

    return xvm_register_export(d->reg, guest, ret_answer, ret_text);
}

static int open_ipc(struct xvm_daemon *d)
{
    struct xvm_ipc_env env = {
        .loop = d->loop,
        .user = d,
        .core = core_of,
        .waits_for = waits_for_of,
        .now = now_of,
        .command = xvm_daemon_command,
        .reload = xvm_daemon_reload,
        .leave = leave,
        .fence_check = fence_check,
        .fence_history = fence_history,
        .validate = xvm_daemon_validate,
        .config_change = config_change,
        .config_file = config_file,
        .guest_export = guest_export,
        .debug = xvm_daemon_debug,
        .clock = xvm_daemon_clock,
        .config = config_of,
    };
    struct ha_error error = {0};
    char *path;
    int r;

    if (asprintf(&path, "%s/%s", d->options.run_dir, SOCKET_NAME) < 0)
        return -ENOMEM;
    env.socket_path = path; /* for the life of the program */
    r = xvm_ipc_new(&env, &d->ipc, &error);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "control socket %s: %s", path,
                error.text[0] ? error.text : strerror(-r));
    return r;
}

static int enter_safe_mode(struct xvm_daemon *d)
{
    d->safe_mode = true;
    snprintf(d->waits_for, sizeof(d->waits_for),
             "SAFE MODE: applying the same thing ended this daemon twice. It takes no part in the "
             "cluster, guests are left alone. Keep the core dump, then restart xvm-had");
    xvm_log(HA_SEV_ALERT, "%s", d->waits_for);
    xvm_daemon_status_changed(d);
    return 0;
}

/* Folders, loop, what is left of an earlier life. */
static int setup_base(struct xvm_daemon *d, bool *ret_safe_mode)
{
    int r = xvm_be_the_only_one(&d->alone_fd);

    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "%s", r == -EADDRINUSE ? "another xvm-had runs on this host"
                                                     : strerror(-r));
        return r;
    }
    r = xvm_mkdirs(d->options.run_dir, 0755);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot make %s: %s", d->options.run_dir, strerror(-r));
        return r;
    }
    r = xvm_mkdirs(d->options.state_dir, 0700);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot make %s: %s", d->options.state_dir, strerror(-r));
        return r;
    }
    r = xvm_definitions_new(d->options.state_dir, &d->definitions);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot make %s/guests: %s", d->options.state_dir, strerror(-r));
        return r;
    }
    r = sd_event_default(&d->loop);
    if (r >= 0)
        r = watch_signals(d);
    if (r >= 0)
        r = xvm_daemon_init(d);
    if (r >= 0)
        r = sd_event_set_watchdog(d->loop, true);
    if (r >= 0)
        r = xvm_applying_open(d->options.run_dir, xvm_now_ms(), &d->applying, ret_safe_mode);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "cannot prepare %s: %s", d->options.run_dir, strerror(-r));
    return r < 0 ? r : 0;
}

int xvm_daemon_setup(struct xvm_daemon *d, const struct xvm_options *options)
{
    struct ha_config *config = NULL;
    bool safe_mode = false;
    char *cache;
    int r;

    d->options = *options;
    if (!d->options.agent_cache && asprintf(&cache, "%s/%s", options->run_dir, AGENTS_NAME) >= 0)
        d->options.agent_cache = cache; /* for the life of the program */
    snprintf(d->waits_for, sizeof(d->waits_for),
             "waiting for corosync (systemctl status corosync)");
    r = setup_base(d, &safe_mode);
    if (r < 0)
        return r;
    if (xvm_ring_load(options->run_dir, &options->boot, &d->facts) < 0)
        memset(&d->facts, 0, sizeof(d->facts));
    do
        r = xvm_daemon_load(d, d->facts.self ? &d->facts : NULL, true, &config);
    while (r < 0 && xvm_config_wait(d->options.config_path));
    if (r < 0)
        return r;
    xvm_daemon_take_config(d, config);
    if (!safe_mode) {
        r = restore(d);
        if (r == 0)
            r = xvm_marks_open(&d->marks, options->run_dir, &options->boot);
        if (r < 0)
            return r;
    }
    r = xvm_history_open(options->state_dir, &d->fence_history);
    if (r == 0)
        r = open_ipc(d);
    if (r < 0)
        return r;
    if (safe_mode)
        return enter_safe_mode(d);
    xvm_daemon_status_changed(d);
    r = xvm_corosync_new(d->loop, &corosync_sink, d, &d->corosync);
    if (r == 0 && d->facts.self)
        r = start_core(d);
    return r;
}
