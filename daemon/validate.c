/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two roles: looking (`struct job`: requests of all hosts, one after the other) and collecting
 * (`struct ask`: what the hosts say, until the last of them has, or the time is over). */
#include "validate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

enum {
    ASKS_MAX = 4,
    JOBS_MAX = 16,
    PATIENCE_MS = 15 * 1000, /* and as much again for each of: */
    EACH_MS = 500,
};

struct ask {
    struct xvm_validate *validate; /* NULL: free */
    uint64_t client, id;
    json_t *rows; /* {guest, host, result, text} */
    ha_node waits[HA_HOSTS_MAX];
    size_t nwaits;
    sd_event_source *timer;
};

struct job {
    uint64_t id; /* 0: our own, nobody asked */
    char guest[HA_NAME_MAX]; /* "": all */
};

struct xvm_validate {
    struct xvm_validate_env env;
    struct ask asks[ASKS_MAX];
    uint64_t next_id;
    struct job jobs[JOBS_MAX]; /* the first is under way */
    size_t njobs;
    size_t at; /* guest of the first job that is looked at */
    bool looking;
    sd_event_source *step;
};

/* ------------------------------------------------------------------------------------ looking */

static const struct ha_config *config_of(const struct xvm_validate *v)
{
    return v->env.config(v->env.user);
}

static void report(struct xvm_validate *v, const char *guest, const char *result, const char *text)
{
    const struct job *job = &v->jobs[0];

    if (job->id == 0) {
        bool fit = strcmp(result, "fit") == 0;

        if (strcmp(result, "unfit") == 0 || (fit && text[0] != '\0'))
            v->env.found(v->env.user, guest, fit, text);
        return;
    }
    xvm_talk_say(v->env.talk, "validated",
                 json_pack("{s:I, s:s, s:s, s:s}", "id", (json_int_t)job->id, "guest", guest,
                           "result", result, "text", text));
}

static void soon(struct xvm_validate *v)
{
    sd_event_source_set_enabled(v->step, SD_EVENT_ONESHOT);
}

/* Could it ever have room: on this host with nothing else on it. */
static bool too_large(const struct xvm_validate *v, const struct ha_guest_config *g, char *text,
                      size_t size)
{
    const struct ha *core = v->env.core(v->env.user);
    struct ha_host_status h = {0};
    struct ha_status s;

    if (core == NULL)
        return false;
    ha_status(core, xvm_now_ms(), &s);
    for (size_t i = 0; i < s.nhosts && h.node != v->env.self; i++)
        ha_status_host(core, xvm_now_ms(), i, &h);
    if (h.node != v->env.self || h.memory_kib == 0 || g->memory_kib <= h.memory_kib)
        return false;
    snprintf(text, size,
             "memory: it takes %" PRIu64 " MiB, this host has %" PRIu64 " MiB for all guests",
             g->memory_kib >> 10, h.memory_kib >> 10);
    return true;
}

static void on_checked(void *user, const char *guest, bool fit, const char *text)
{
    struct xvm_validate *v = user;
    const struct ha_config *config = config_of(v);
    char large[HA_TEXT_MAX] = "", all[HA_TEXT_MAX * 5];

    v->looking = false;
    for (size_t i = 0; i < config->nguests; i++) {
        if (strcmp(config->guests[i].name, guest) == 0)
            too_large(v, &config->guests[i], large, sizeof(large));
    }
    snprintf(all, sizeof(all), "%s%s%s", text, text[0] != '\0' && large[0] != '\0' ? "; " : "",
             large);
    report(v, guest, fit && large[0] == '\0' ? "fit" : "unfit", all);
    soon(v);
}

static void end_job(struct xvm_validate *v)
{
    if (v->jobs[0].id != 0)
        xvm_talk_say(v->env.talk, "validate-end",
                     json_pack("{s:I}", "id", (json_int_t)v->jobs[0].id));
    memmove(v->jobs, v->jobs + 1, --v->njobs * sizeof(v->jobs[0]));
    v->at = 0;
    soon(v);
}

static bool is_allowed(const struct ha_guest_config *g, ha_node node)
{
    for (size_t i = 0; i < g->nallowed; i++)
        if (g->allowed[i] == node)
            return true;
    return g->nallowed == 0;
}

static void look(struct xvm_validate *v, const struct ha_guest_config *g)
{
    char text[HA_TEXT_MAX];
    int r;

    if (!is_allowed(g, v->env.self)) {
        report(v, g->name, "not here", "`hosts` of the configuration allows it elsewhere only");
        return;
    }
    r = v->env.driver_ops->check == NULL
            ? -EOPNOTSUPP
            : v->env.driver_ops->check(v->env.driver, g->name, on_checked, v);
    if (r < 0) {
        snprintf(text, sizeof(text), "nobody knows: %s",
                 r == -ENOENT ? "this host has no definition of it yet" : strerror(-r));
        report(v, g->name, "unknown", text);
        return;
    }
    v->looking = true;
}

static int on_step(sd_event_source *source, void *user)
{
    struct xvm_validate *v = user;
    const struct ha_config *config = config_of(v);

    (void)source;
    if (v->looking || v->njobs == 0)
        return 0;
    while (v->at < config->nguests && !v->looking) {
        const struct ha_guest_config *g = &config->guests[v->at++];

        if (v->jobs[0].guest[0] == '\0' || strcmp(v->jobs[0].guest, g->name) == 0)
            look(v, g);
    }
    if (!v->looking)
        end_job(v);
    return 0;
}

static void add_job(struct xvm_validate *v, uint64_t id, const char *guest)
{
    if (v->njobs == JOBS_MAX)
        return; /* who asked will say that this host did not answer */
    v->jobs[v->njobs] = (struct job){.id = id};
    snprintf(v->jobs[v->njobs++].guest, HA_NAME_MAX, "%s", guest);
    soon(v);
}

void xvm_validate_here(struct xvm_validate *v)
{
    add_job(v, 0, "");
}

/* --------------------------------------------------------------------------------- collecting */

static const char *host_name(const struct xvm_validate *v, ha_node node)
{
    const struct ha_config *config = config_of(v);

    for (size_t i = 0; i < config->nhosts; i++)
        if (config->hosts[i].node == node)
            return config->hosts[i].name;
    return "?";
}

static int row_cmp(const void *a, const void *b)
{
    static const char *const keys[] = {"guest", "host"};
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int r = 0;

    for (size_t i = 0; i < 2 && r == 0; i++)
        r = strcmp(json_string_value(json_object_get(x, keys[i])),
                   json_string_value(json_object_get(y, keys[i])));
    return r;
}

/* By guest, then by host; as they came if there is no memory. */
static json_t *sorted(json_t *rows)
{
    size_t n = json_array_size(rows);
    json_t **v = calloc(n + 1, sizeof(json_t *)), *all = json_array();

    if (v == NULL || all == NULL) {
        free(v);
        json_decref(all);
        return rows;
    }
    for (size_t i = 0; i < n; i++)
        v[i] = json_array_get(rows, i);
    qsort(v, n, sizeof(json_t *), row_cmp);
    for (size_t i = 0; i < n; i++)
        json_array_append(all, v[i]);
    free(v);
    json_decref(rows);
    return all;
}

static void answer(struct ask *a)
{
    struct xvm_validate *v = a->validate;
    json_t *silent = json_array();

    for (size_t i = 0; i < a->nwaits; i++)
        json_array_append_new(silent, json_string(host_name(v, a->waits[i])));
    a->timer = sd_event_source_disable_unref(a->timer);
    v->env.answer(v->env.user, a->client,
                  json_pack("{s:o, s:o}", "results", sorted(a->rows), "silent", silent));
    *a = (struct ask){0};
}

static int on_time(sd_event_source *source, uint64_t at, void *user)
{
    (void)source;
    (void)at;
    answer(user);
    return 0;
}

/* The hosts that can answer: those whose daemon takes part. */
static void expect(struct ask *a)
{
    const struct ha *core = a->validate->env.core(a->validate->env.user);
    struct ha_host_status h;
    struct ha_status s;

    ha_status(core, xvm_now_ms(), &s);
    for (size_t i = 0; i < s.nhosts && i < HA_HOSTS_MAX; i++) {
        ha_status_host(core, xvm_now_ms(), i, &h);
        if (h.daemon || h.node == a->validate->env.self)
            a->waits[a->nwaits++] = h.node;
    }
}

static bool is_known(const struct ha_config *config, const char *guest)
{
    for (size_t i = 0; i < config->nguests; i++)
        if (strcmp(config->guests[i].name, guest) == 0)
            return true;
    return false;
}

int xvm_validate_ask(struct xvm_validate *v, uint64_t client, const char *guest)
{
    struct ask *a = NULL;
    ha_ms limit = PATIENCE_MS + EACH_MS * (guest ? 1 : (ha_ms)config_of(v)->nguests);
    int r;

    if (guest != NULL && !is_known(config_of(v), guest))
        return -ENOENT;
    for (size_t i = 0; i < ASKS_MAX && a == NULL; i++)
        a = v->asks[i].validate == NULL ? &v->asks[i] : NULL;
    if (a == NULL || v->env.core(v->env.user) == NULL)
        return -EBUSY;
    *a = (struct ask){.validate = v,
                      .client = client,
                      .id = (uint64_t)v->env.self << 32 | (++v->next_id & 0xffffffff),
                      .rows = json_array()};
    r = xvm_talk_say(v->env.talk, "validate",
                     json_pack("{s:I, s:s}", "id", (json_int_t)a->id, "guest", guest ? guest : ""));
    if (r == 0)
        r = sd_event_add_time_relative(v->env.loop, &a->timer, CLOCK_BOOTTIME,
                                       (uint64_t)limit * 1000, 0, on_time, a);
    if (r < 0) {
        json_decref(a->rows);
        *a = (struct ask){0};
        return r;
    }
    expect(a);
    return 0;
}

static void collect(struct ask *a, ha_node from, const json_t *body)
{
    const char *guest = json_string_value(json_object_get(body, "guest")),
               *result = json_string_value(json_object_get(body, "result")),
               *text = json_string_value(json_object_get(body, "text"));

    if (guest != NULL && result != NULL && text != NULL)
        json_array_append_new(a->rows, json_pack("{s:s, s:s, s:s, s:s}", "guest", guest, "host",
                                                 host_name(a->validate, from), "result", result,
                                                 "text", text));
}

static void collect_end(struct ask *a, ha_node from)
{
    for (size_t i = 0; i < a->nwaits; i++)
        if (a->waits[i] == from)
            a->waits[i] = a->waits[--a->nwaits];
    if (a->nwaits == 0)
        answer(a);
}

void xvm_validate_heard(struct xvm_validate *v, ha_node from, const char *kind, const json_t *body)
{
    uint64_t id = (uint64_t)json_integer_value(json_object_get(body, "id"));
    const char *guest = json_string_value(json_object_get(body, "guest"));
    struct ask *a = NULL;

    if (strcmp(kind, "validate") == 0 && id != 0 && guest != NULL) {
        add_job(v, id, guest);
        return;
    }
    for (size_t i = 0; i < ASKS_MAX; i++)
        if (v->asks[i].validate != NULL && v->asks[i].id == id)
            a = &v->asks[i];
    if (a != NULL && strcmp(kind, "validated") == 0)
        collect(a, from, body);
    else if (a != NULL && strcmp(kind, "validate-end") == 0)
        collect_end(a, from);
}

/* ------------------------------------------------------------------------------------ outside */

int xvm_validate_new(const struct xvm_validate_env *env, struct xvm_validate **ret_validate)
{
    struct xvm_validate *v = calloc(1, sizeof(*v));
    int r;

    if (v == NULL)
        return -ENOMEM;
    v->env = *env;
    r = sd_event_add_defer(env->loop, &v->step, on_step, v);
    if (r >= 0)
        r = sd_event_source_set_enabled(v->step, SD_EVENT_OFF);
    if (r < 0) {
        xvm_validate_free(v);
        return r;
    }
    *ret_validate = v;
    return 0;
}

struct xvm_validate *xvm_validate_free(struct xvm_validate *v)
{
    if (v == NULL)
        return NULL;
    sd_event_source_disable_unref(v->step);
    for (size_t i = 0; i < ASKS_MAX; i++) {
        sd_event_source_disable_unref(v->asks[i].timer);
        json_decref(v->asks[i].rows);
    }
    free(v);
    return NULL;
}
