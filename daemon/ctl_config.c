/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl config check`: looks for mistakes in a configuration, with or without a cluster. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "corosync_facts.h"
#include "channel.h"
#include "ctl.h"
#include "version.h"

enum { RING_TIMEOUT_S = 2 };

/* -------------------------------------------------------------------------- the local ring */

struct ring_query {
    struct xvm_corosync_facts facts;
    int result;
};

static void *ask_ring(void *user)
{
    struct ring_query *query = user;
    const char *why = NULL;

    query->result = xvm_corosync_read_facts(&query->facts, &why);
    return NULL;
}

/* Asks corosync, if it runs here. A stopped corosync answers nobody, so the question gets a thread
 * of its own and only so much time. */
static bool ring_facts(struct xvm_ring_facts *ret_ring)
{
    static struct ring_query query; /* outlives a thread that never returns */
    struct timespec until;
    pthread_t thread;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RING_TIMEOUT_S;
    if (pthread_create(&thread, NULL, ask_ring, &query) != 0 ||
        pthread_timedjoin_np(thread, NULL, &until) != 0 || query.result < 0)
        return false;
    *ret_ring = query.facts.ring;
    return true;
}

/* ------------------------------------------------------------------------------- the answer */

static json_t *problems_json(const struct xvm_config_errors *errors)
{
    json_t *list = json_array();

    for (size_t i = 0; i < errors->n; i++) {
        const struct ha_error *e = &errors->v[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:s}", "severity",
                                              e->code == 0 ? "warning" : "error", "file", e->file,
                                              "line", (json_int_t)e->line, "column",
                                              (json_int_t)e->column, "text", e->text));
    }
    return list;
}

static void put_good(const struct ctl *ctl, const char *path, const struct ha_config *config,
                     bool ring)
{
    const struct ha_timers *t = &config->timers;
    char text[512];
    bool bound = config->mode == HA_MODE_MAJORITY && config->watchdog_device != NULL &&
                 !config->suspendable_hosts;

    ctl_put(ctl, STYLE_GOOD, "good");
    snprintf(text, sizeof(text), ": %.200s: %zu hosts, %zu guests, %zu fence devices\n", path,
             config->nhosts, config->nguests, config->ndevices);
    fputs(text, stdout);
    snprintf(text, sizeof(text), "lease %.1f s, watchdog %.1f s, margin %.1f s (%s)%s",
             (double)t->lease / 1000, (double)t->watchdog / 1000, (double)t->margin / 1000,
             ring ? "for the running ring" : "for corosync's defaults: it does not run here",
             config->mode == HA_MODE_FENCE_ONLY
                 ? "; two hosts or a quorum device: only a fence device or `fence confirm` "
                   "releases the guests of a lost host"
                 : "");
    ctl_put_wrapped(ctl, STYLE_PLAIN, text, 0, 0);
    if (bound) {
        snprintf(text, sizeof(text),
                 "a host with the level `self` counts as dead %.1f s after "
                 "its last beat, if no device says so before",
                 (double)(t->lease + t->watchdog + t->margin) / 1000);
        ctl_put_wrapped(ctl, STYLE_PLAIN, text, 0, 0);
    }
    /* On a host of the cluster, where the key should be. */
    if (ring && config->migration.encrypted) {
        char why[HA_TEXT_MAX];
        int r = xvm_authkey_check(config->migration.authkey, why, sizeof(why));

        if (r < 0 && r != -EACCES)
            ctl_put_wrapped(ctl, STYLE_BAD, why, 0, 0);
    }
}

int ctl_config_check(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    const char *path = nargs > 0 ? args[0] : XVM_CONFIG_PATH;
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    struct xvm_ring_facts ring;
    json_t *answer;
    bool have_ring = ring_facts(&ring);
    const struct xvm_config_agents agents = {.env = {.run = true}, .strict = true};
    int r = xvm_config_load_checked(path, have_ring ? &ring : NULL, &agents, &config, &errors);

    (void)command;
    if (ctl->json) {
        answer = json_pack("{s:b, s:o}", "good", r == 0, "problems", problems_json(&errors));
        ctl_print_json(answer);
        json_decref(answer);
    } else {
        xvm_config_errors_print(&errors, stderr);
        if (r == 0)
            put_good(ctl, path, config, have_ring);
    }
    xvm_config_errors_done(&errors);
    xvm_config_free(config);
    return r == 0 ? CTL_OK : CTL_FAILED;
}
