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

enum { CHECK_MS = 60 * 1000 }; /* fence agents have time limits of their own */

/* ------------------------------------------------------------------------------- configuration */

static void log_errors(const struct xvm_config_errors *errors)
{
    for (size_t i = 0; i < errors->n; i++) {
        const struct ha_error *error = &errors->v[i];

        if (error->line > 0)
            xvm_log(error->code == 0 ? HA_SEV_WARNING : HA_SEV_ERROR, "%s:%u:%u: %s", error->file,
                    error->line, error->column, error->text);
        else
            xvm_log(error->code == 0 ? HA_SEV_WARNING : HA_SEV_ERROR, "%s: %s", error->file,
                    error->text);
    }
}

static const struct xvm_corosync_node *find_node(const struct xvm_corosync_facts *facts,
                                                 ha_node node)
{
    for (size_t i = 0; i < facts->nnodes; i++) {
        if (facts->nodes[i].node == node)
            return &facts->nodes[i];
    }
    return NULL;
}

/* The configuration and corosync's nodelist have to mean the same hosts. */
static int check_nodes(const struct ha_config *config, const struct xvm_corosync_facts *facts,
                       char *ret_text, size_t size)
{
    bool self = false;

    for (size_t i = 0; i < config->nhosts; i++) {
        const struct ha_host_config *host = &config->hosts[i];
        const struct xvm_corosync_node *node = find_node(facts, host->node);

        self = self || host->node == facts->self;
        if (facts->nnodes > 0 && !node) {
            snprintf(ret_text, size,
                     "host %s has id %u, but corosync.conf has no node with that nodeid",
                     host->name, host->node);
            return -EINVAL;
        }
        if (node && node->name[0] && strcmp(node->name, host->name) != 0) {
            snprintf(ret_text, size,
                     "host %s has id %u, but corosync.conf calls the node with that nodeid %s",
                     host->name, host->node, node->name);
            return -EINVAL;
        }
    }
    if (!self) {
        snprintf(ret_text, size,
                 "corosync says that this is node %u, but no host has that id in the configuration",
                 facts->self);
        return -EINVAL;
    }
    return 0;
}

static void add_error(struct xvm_config_errors *errors, const char *path, const char *text)
{
    struct ha_error *grown = realloc(errors->v, (errors->n + 1) * sizeof(*grown));

    if (!grown)
        return;
    errors->v = grown;
    memset(&grown[errors->n], 0, sizeof(*grown));
    grown[errors->n].code = -EINVAL;
    grown[errors->n].file = errors->n > 0 ? grown[0].file : strdup(path);
    snprintf(grown[errors->n].text, sizeof(grown->text), "%s", text);
    errors->n++;
}

/* How much may be asked of fence agents. */
enum agents {
    AGENTS_KEPT, /* what is known already, for the loop must not wait */
    AGENTS_RUN,
};

/* facts NULL: before corosync has told anything. */
static int load(struct xvm_daemon *d, const struct xvm_corosync_facts *facts, enum agents how,
                struct ha_config **ret_config, struct xvm_config_errors *errors)
{
    const struct xvm_config_agents agents = {.env = {.dir = d->options.agent_dir,
                                                     .cache_dir = d->options.agent_cache,
                                                     .run = how == AGENTS_RUN}};
    struct ha_config *config = NULL;
    char text[HA_TEXT_MAX * 2];
    int r = xvm_config_load_checked(d->options.config_path, facts ? &facts->ring : NULL, &agents,
                                    &config, errors);

    if (r == 0 && facts)
        r = check_nodes(config, facts, text, sizeof(text));
    if (r < 0 && config) {
        add_error(errors, d->options.config_path, text);
        xvm_config_free(config);
    }
    if (r == 0) {
        assert(config);
        *ret_config = config;
    }
    return r;
}

static int load_and_log(struct xvm_daemon *d, const struct xvm_corosync_facts *facts,
                        enum agents how, struct ha_config **ret_config)
{
    struct xvm_config_errors errors = {0};
    int r = load(d, facts, how, ret_config, &errors);

    log_errors(&errors);
    xvm_config_errors_done(&errors);
    return r;
}

static void take_config(struct xvm_daemon *d, struct ha_config *config)
{
    struct ha_config *old = d->config;
    struct ha_event event = {.type = HA_EV_CONFIG};

    d->config = config;
    if (d->started) {
        d->driver_ops->set_config(d->driver, config);
        xvm_migration_set_config(d->migration, config);
        xvm_fencer_set_config(d->fencer, config);
        xvm_disk_link_config(d->disk, config);
        event.u.config = config;
        xvm_daemon_step(d, &event);
        if (d->driver_ops->raw_definitions)
            xvm_supply_read_files(d->supply, config);
    }
    xvm_config_free(old);
}

static char *errors_text(const struct xvm_config_errors *errors)
{
    char *text = NULL;
    size_t len;
    FILE *file = open_memstream(&text, &len);

    if (!file)
        return NULL;
    xvm_config_errors_print(errors, file);
    fclose(file);
    return text;
}

/* What the file says is known to be good; the ring may not suit it, though. */
static int reload_now(struct xvm_daemon *d, char **ret_text)
{
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    int r = load(d, d->facts.self ? &d->facts : NULL, AGENTS_KEPT, &config, &errors);

    *ret_text = NULL;
    log_errors(&errors);
    if (r == 0 && d->started && strcmp(config->driver, d->config->driver) != 0) {
        xvm_config_free(config);
        *ret_text = strdup("the driver cannot be changed while xvm-had runs: restart it on each "
                           "host");
        xvm_config_errors_done(&errors);
        return -EBUSY;
    }
    if (r < 0)
        *ret_text = errors_text(&errors);
    xvm_config_errors_done(&errors);
    if (r < 0)
        return r;
    take_config(d, config);
    if (d->validate)
        xvm_validate_here(d->validate);
    xvm_log(HA_SEV_NOTICE, "configuration read again from %s", d->options.config_path);
    return 0;
}

static void on_checked(void *user, const struct xvm_child_end *end)
{
    struct xvm_daemon *d = user;
    char *text = NULL;
    int r = -EINVAL;

    d->checker = NULL;
    if (end->how == XVM_CHILD_EXITED && end->code == 0) {
        r = reload_now(d, &text);
    } else if (end->how == XVM_CHILD_EXITED && end->err[0] != '\0') {
        text = strdup(end->err); /* FILE:LINE:COL: what is wrong, one a line */
    } else {
        text = strdup(end->how == XVM_CHILD_TIMED_OUT
                          ? "checking the configuration took too long: a fence agent hangs?"
                          : "the configuration could not be checked");
        r = end->how == XVM_CHILD_TIMED_OUT ? -ETIMEDOUT : -EIO;
    }
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "the new configuration is not used; the old one stays: %s",
                text ? text : strerror(-r));
    xvm_ipc_reply(d->ipc, d->checker_client, r, text ? text : r == 0 ? "" : strerror(-r));
    d->checker_client = 0;
    free(text);
}

int xvm_daemon_reload(void *user, uint64_t client, char **ret_text)
{
    struct xvm_daemon *d = user;
    char *argv[] = {"xvm-had", "--check-config", (char *)d->options.config_path,
                    "--agent-dir", (char *)d->options.agent_dir, "--agent-cache",
                    (char *)d->options.agent_cache, NULL};
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char locale[] = "LC_ALL=C.UTF-8";
    char *envp[] = {path, locale, NULL};
    const struct xvm_child_spec spec = {.path = "/proc/self/exe",
                                        .argv = argv,
                                        .envp = envp,
                                        .timeout_ms = CHECK_MS};
    int r;

    *ret_text = NULL;
    if (d->checker) {
        *ret_text = strdup("another reload is under way: repeat in a moment");
        return -EBUSY;
    }
    r = xvm_child_new(d->loop, &spec, on_checked, d, &d->checker);
    if (r < 0)
        return r;
    d->checker_client = client;
    return -EINPROGRESS;
}

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
    r = xvm_supply_new(d->loop, d->options.state_dir, &xvm_daemon_supply_sink, d, &d->supply);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot use %s/definitions: %s", d->options.state_dir, strerror(-r));
        return r;
    }
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
    int r = load_and_log(d, facts, AGENTS_KEPT, &config);

    if (r < 0) { /* not right again: what is wrong will not be right in a second */
        (void)xvm_config_wait(d->options.config_path);
        return r;
    }
    d->facts = *facts;
    take_config(d, config);
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
    r = check_nodes(d->config, facts, text, sizeof(text));
    if (r < 0) {
        xvm_log(HA_SEV_ALERT, "%s: %s", d->options.config_path, text);
        return r;
    }
    d->facts = *facts;
    if (same) {
        xvm_migration_set_config(d->migration, d->config); /* its addresses are corosync's */
        return 0;
    }
    if (load_and_log(d, facts, AGENTS_KEPT, &config) == 0)
        take_config(d, config);
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

static int fence_check(void *user, uint64_t client, const char *host)
{
    struct xvm_daemon *d = user;
    ha_node node = 0;

    if (!d->fence_watch)
        return -EAGAIN;
    for (size_t i = 0; host && i < d->config->nhosts; i++) {
        if (strcmp(d->config->hosts[i].name, host) == 0)
            node = d->config->hosts[i].node;
    }
    return xvm_fence_watch_now(d->fence_watch, node, client);
}

static json_t *fence_history(void *user, const char *host, size_t n)
{
    const struct xvm_daemon *d = user;

    return d->fence_history ? xvm_history_json(d->fence_history, host, n) : json_array();
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
        r = load_and_log(d, d->facts.self ? &d->facts : NULL, AGENTS_RUN, &config);
    while (r < 0 && xvm_config_wait(d->options.config_path));
    if (r < 0)
        return r;
    take_config(d, config);
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
