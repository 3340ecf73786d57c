/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When each fence device is asked, by whom, and what is made of the answer. */
#include "fence_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "status_json.h"
#include "util.h"

enum {
    ROUNDS_MAX = 8,
    TICK_MOST_MS = 30 * 1000,
    TICK_LEAST_MS = 500,
};

struct round {
    struct xvm_fence_watch *watch; /* NULL: free */
    struct xvm_checker *checker;
    uint64_t client; /* 0: a regular one */
};

/* What is known of a device and host that did not work when last asked. */
struct trouble {
    struct trouble *next;
    ha_node host;
    char device[HA_NAME_MAX];
};

struct xvm_fence_watch {
    struct xvm_fence_watch_env env;
    struct round rounds[ROUNDS_MAX];
    struct trouble *troubles;
    sd_event_source *timer;
    ha_ms last; /* wall clock of the last tick, ms; 0: none yet */
};

/* ---------------------------------------------------------------------------------- when, who */

static uint64_t mix(ha_node host, const char *device)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (const char *c = device; *c != '\0'; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    for (int i = 0; i < 4; i++)
        h = (h ^ (host >> (8 * i) & 0xff)) * 0x100000001b3u;
    return h ^ h >> 29;
}

ha_ms xvm_watch_slot(ha_node host, const char *device, ha_ms interval)
{
    return (ha_ms)(mix(host, device) % (uint64_t)interval);
}

size_t xvm_watch_turn(ha_node host, const char *device, uint64_t period, size_t n)
{
    return (size_t)((mix(host, device) / 7 + period) % n);
}

/* Is it us? The synced members take turns, so that every way to a device is tried in time; the host
 * itself is left out where there is another one. */
static bool our_turn(const struct xvm_fence_watch *watch, const struct ha *core, ha_node host,
                     const char *device, uint64_t period)
{
    ha_node members[HA_HOSTS_MAX] = {0};
    struct ha_host_status h;
    struct ha_status s;
    size_t n = 0;
    bool host_in = false;

    ha_status(core, xvm_now_ms(), &s);
    for (size_t i = 0; s.synced && i < s.nhosts && n < HA_HOSTS_MAX; i++) {
        ha_status_host(core, xvm_now_ms(), i, &h);
        if (!h.synced)
            continue;
        host_in |= h.node == host;
        members[n++] = h.node;
    }
    if (n > 1 && host_in) {
        for (size_t i = 0, kept = 0; i < n; i++)
            if (members[i] != host)
                members[kept++] = members[i];
        n--;
    }
    return n > 0 && members[xvm_watch_turn(host, device, period, n)] == watch->env.self;
}

/* ------------------------------------------------------------------------------------ answers */

static struct trouble **find_trouble(struct xvm_fence_watch *watch, ha_node host,
                                     const char *device)
{
    struct trouble **at = &watch->troubles;

    while (*at != NULL && ((*at)->host != host || strcmp((*at)->device, device) != 0))
        at = &(*at)->next;
    return at;
}

/* A member that is certainly on, whose device says off: the wrong plug is wired to it. */
static bool is_up(const struct xvm_fence_watch *watch, ha_node host)
{
    const struct ha *core = watch->env.core(watch->env.user);
    struct ha_host_status h;
    struct ha_status s;

    if (core == NULL)
        return false;
    ha_status(core, xvm_now_ms(), &s);
    for (size_t i = 0; s.quorate && i < s.nhosts; i++) {
        ha_status_host(core, xvm_now_ms(), i, &h);
        if (h.node == host)
            return h.synced;
    }
    return false;
}

static bool judge(const struct xvm_fence_watch *watch, struct xvm_check *check)
{
    if (check->result == XVM_CHECK_OFF && is_up(watch, check->node))
        snprintf(check->text, sizeof(check->text),
                 "it says that %s is off, and %s is a member: another machine's plug? Correct the "
                 "options",
                 check->host, check->host);
    return check->result == XVM_CHECK_FAILED || (check->result == XVM_CHECK_OFF && check->text[0]);
}

static void tell(struct xvm_fence_watch *watch, const struct xvm_check *check, bool bad)
{
    struct trouble **at = find_trouble(watch, check->node, check->device), *t = *at;
    char text[XVM_FENCE_TEXT + 200];

    if (bad && t == NULL && (t = calloc(1, sizeof(*t))) != NULL) {
        t->host = check->node;
        memcpy(t->device, check->device, sizeof(t->device));
        *at = t;
        snprintf(text, sizeof(text),
                 "fence device %s would not fence %s if it had to: %s; then `xvmhactl fence check`",
                 check->device, check->host, check->text);
        watch->env.report(watch->env.user, HA_REPORT_DEVICE, HA_SEV_ALERT, check->node, text);
    } else if (!bad && t != NULL) {
        *at = t->next;
        free(t);
        snprintf(text, sizeof(text), "fence device %s of %s works again", check->device,
                 check->host);
        watch->env.report(watch->env.user, HA_REPORT_DEVICE, HA_SEV_NOTICE, check->node, text);
    }
}

static json_t *check_json(const struct xvm_check *check, bool bad)
{
    return json_pack("{s:s, s:s, s:i, s:s, s:b, s:I, s:o}", "host", check->host, "device",
                     check->device, "level", (int)check->level + 1, "result",
                     xvm_check_result_name(check->result), "good",
                     !bad && check->result != XVM_CHECK_UNKNOWN, "took_ms",
                     (json_int_t)check->took_ms, "text", xvm_json_text(check->text));
}

static void on_done(void *user, const struct xvm_check *checks, size_t n)
{
    struct round *round = user;
    struct xvm_fence_watch *watch = round->watch;
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        struct xvm_check check = checks[i];
        bool bad = judge(watch, &check);

        tell(watch, &check, bad);
        json_array_append_new(list, check_json(&check, bad));
    }
    if (round->client != 0)
        watch->env.answer(watch->env.user, round->client, json_pack("{s:o}", "checks", list));
    else
        json_decref(list);
    *round = (struct round){0};
}

/* -------------------------------------------------------------------------------------- asking */

static int begin(struct xvm_fence_watch *watch, ha_node node, const char *device, uint64_t client)
{
    const struct ha_config *config = watch->env.config(watch->env.user);
    struct round *round = NULL;
    int r;

    for (size_t i = 0; i < ROUNDS_MAX && round == NULL; i++) {
        if (watch->rounds[i].watch == NULL)
            round = &watch->rounds[i];
    }
    if (round == NULL)
        return -EBUSY;
    round->watch = watch;
    round->client = client;
    r = xvm_checker_new(watch->env.loop, config, watch->env.agent_dir, node, device, on_done, round,
                        &round->checker);
    if (r < 0)
        *round = (struct round){0};
    return r;
}

int xvm_fence_watch_now(struct xvm_fence_watch *watch, ha_node node, uint64_t client)
{
    return begin(watch, node, NULL, client);
}

static ha_ms wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (ha_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Did the slot of this device and host pass since the last tick? */
static void maybe(struct xvm_fence_watch *watch, const struct ha *core, ha_ms interval, ha_ms now,
                  ha_node host, const char *device)
{
    ha_ms slot = xvm_watch_slot(host, device, interval);
    ha_ms before = (watch->last - slot) / interval, after = (now - slot) / interval;

    if (after > before && our_turn(watch, core, host, device, (uint64_t)after))
        (void)begin(watch, host, device, 0); /* too many at once: next time */
}

static void tick(struct xvm_fence_watch *watch, const struct ha_config *config, ha_ms interval)
{
    const struct ha *core = watch->env.core(watch->env.user);
    ha_ms now = wall_ms();

    /* A clock that was set, or a long sleep, is no reason to ask everything at once. */
    if (core != NULL && watch->last > 0 && now > watch->last && now - watch->last < interval) {
        for (size_t i = 0; i < config->nhosts; i++) {
            const struct ha_host_config *h = &config->hosts[i];

            for (size_t l = 0; l < h->nlevels; l++)
                for (size_t k = 0; k < h->levels[l].ndevices; k++)
                    maybe(watch, core, interval, now, h->node,
                          config->devices[h->levels[l].devices[k]].name);
        }
    }
    watch->last = now;
}

static int on_timer(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_fence_watch *watch = user;
    const struct ha_config *config = watch->env.config(watch->env.user);
    ha_ms interval = config != NULL ? config->fencing.check : 0, next = TICK_MOST_MS;

    (void)at;
    if (interval > 0)
        tick(watch, config, interval);
    if (interval > 0 && interval / 8 < next)
        next = interval / 8 > TICK_LEAST_MS ? interval / 8 : TICK_LEAST_MS;
    (void)sd_event_source_set_time_relative(source, (uint64_t)next * 1000);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

int xvm_fence_watch_new(const struct xvm_fence_watch_env *env, struct xvm_fence_watch **ret_watch)
{
    struct xvm_fence_watch *watch = calloc(1, sizeof(*watch));
    int r;

    if (watch == NULL)
        return -ENOMEM;
    watch->env = *env;
    r = sd_event_add_time_relative(env->loop, &watch->timer, CLOCK_BOOTTIME, 0, 100000, on_timer,
                                   watch);
    if (r < 0) {
        free(watch);
        return r;
    }
    (void)sd_event_source_set_priority(watch->timer, SD_EVENT_PRIORITY_IDLE);
    *ret_watch = watch;
    return 0;
}

struct xvm_fence_watch *xvm_fence_watch_free(struct xvm_fence_watch *watch)
{
    if (watch == NULL)
        return NULL;
    for (size_t i = 0; i < ROUNDS_MAX; i++)
        xvm_checker_free(watch->rounds[i].checker);
    while (watch->troubles != NULL) {
        struct trouble *t = watch->troubles;

        watch->troubles = t->next;
        free(t);
    }
    sd_event_source_disable_unref(watch->timer);
    free(watch);
    return NULL;
}
