/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the way of the configuration into the daemon: loaded, checked, taken into use, and again. */
#include "daemon.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_wait.h"
#include "log.h"

/* Fence agents have time limits of their own, one after the other. */
enum { CHECK_MS = 60 * 1000, AGENTS_PATIENCE = 600 };

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
int xvm_daemon_check_nodes(const struct ha_config *config, const struct xvm_corosync_facts *facts,
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

/* facts NULL: before corosync has told anything. */
static int load(struct xvm_daemon *d, const struct xvm_corosync_facts *facts, bool run,
                struct ha_config **ret_config, struct xvm_config_errors *errors)
{
    const struct xvm_config_agents agents = {.env = {.dir = d->options.agent_dir,
                                                     .cache_dir = d->options.agent_cache,
                                                     .run = run}};
    struct ha_config *config = NULL;
    char text[HA_TEXT_MAX * 2];
    int r = xvm_config_load_checked(d->options.config_path, facts ? &facts->ring : NULL, &agents,
                                    &config, errors);

    if (r == 0 && facts)
        r = xvm_daemon_check_nodes(config, facts, text, sizeof(text));
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

int xvm_daemon_load(struct xvm_daemon *d, const struct xvm_corosync_facts *facts, bool run,
                    struct ha_config **ret_config)
{
    struct xvm_config_errors errors = {0};
    int r;

    if (run) /* fence agents are asked, and may take long on a busy host */
        xvm_watchdog_limit(AGENTS_PATIENCE);
    r = load(d, facts, run, ret_config, &errors);
    if (run)
        xvm_watchdog_limit(0);
    log_errors(&errors);
    xvm_config_errors_done(&errors);
    return r;
}

void xvm_daemon_take_config(struct xvm_daemon *d, struct ha_config *config)
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
int xvm_daemon_reload_now(struct xvm_daemon *d, char **ret_text)
{
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    int r = load(d, d->facts.self ? &d->facts : NULL, false, &config, &errors);

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
    xvm_daemon_take_config(d, config);
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
        r = xvm_daemon_reload_now(d, &text);
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

int xvm_daemon_check_file(struct xvm_daemon *d, const char *path, xvm_child_done done, void *user,
                          struct xvm_child **ret_child)
{
    char *argv[] = {"xvm-had",       "--check-config",
                    (char *)path,    "--agent-dir",
                    (char *)d->options.agent_dir, "--agent-cache",
                    (char *)d->options.agent_cache, NULL};
    char env[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char locale[] = "LC_ALL=C.UTF-8";
    char *envp[] = {env, locale, NULL};
    const struct xvm_child_spec spec = {.path = "/proc/self/exe",
                                        .argv = argv,
                                        .envp = envp,
                                        .timeout_ms = CHECK_MS};

    return xvm_child_new(d->loop, &spec, done, user, ret_child);
}

int xvm_daemon_reload(void *user, uint64_t client, char **ret_text)
{
    struct xvm_daemon *d = user;
    int r;

    *ret_text = NULL;
    if (d->checker) {
        *ret_text = strdup("another reload is under way: repeat in a moment");
        return -EBUSY;
    }
    r = xvm_daemon_check_file(d, d->options.config_path, on_checked, d, &d->checker);
    if (r < 0)
        return r;
    d->checker_client = client;
    return -EINPROGRESS;
}
