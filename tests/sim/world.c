/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a simulated world: memory, time, log, hash, and the event loop. */
#include "world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { ARENA_BLOCK = 1 << 20 };

/* ------------------------------------------------------------------------------------ memory */

static void arena_grow(struct sim_world *w, size_t len)
{
    if (w->narena == w->sizearena) {
        w->sizearena = w->sizearena ? w->sizearena * 2 : 16;
        w->arena = realloc(w->arena, w->sizearena * sizeof(*w->arena));
        assert(w->arena);
    }
    w->arena[w->narena] = malloc(len > ARENA_BLOCK ? len : ARENA_BLOCK);
    assert(w->arena[w->narena]);
    w->narena++;
    w->arena_used = 0;
}

void *sim_alloc(struct sim_world *w, size_t len)
{
    len = (len + 15) & ~(size_t)15;
    if (w->narena == 0 || w->arena_used + len > ARENA_BLOCK)
        arena_grow(w, len);
    void *p = (char *)w->arena[w->narena - 1] + w->arena_used;
    w->arena_used += len;
    return p;
}

const void *sim_dup(struct sim_world *w, const void *data, size_t len)
{
    void *p = sim_alloc(w, len ? len : 1);
    if (len)
        memcpy(p, data, len);
    return p;
}

/* ------------------------------------------------------------------------------- time, chance */

void sim_schedule(struct sim_world *w, sim_us at, enum sim_event_type type, unsigned host,
                  uint32_t gen, uint64_t a)
{
    struct sim_event event = {
        .at = at < w->now ? w->now : at,
        .type = (uint16_t)type,
        .host = (uint16_t)host,
        .gen = gen,
        .a = a,
    };
    sim_queue_push(&w->queue, event);
}

ha_ms sim_clock(const struct sim_world *w, const struct sim_host *h)
{
    sim_us up = w->now - h->booted_at;
    return h->clock_base + (up + up / 1000000 * h->drift_ppm) / 1000;
}

sim_us sim_when(const struct sim_world *w, const struct sim_host *h, ha_ms ms)
{
    if (ms > INT64_MAX / 4000)
        return INT64_MAX;
    sim_us t = h->booted_at + (ms - h->clock_base) * 1000;
    t -= (t - h->booted_at) / 1000000 * h->drift_ppm;
    (void)w;
    return t;
}

sim_us sim_delay(struct sim_world *w, sim_us lo, sim_us hi)
{
    return w->setup->calm ? lo : sim_rng_range(&w->rng, lo, hi);
}

bool sim_chance(struct sim_world *w, uint32_t permille)
{
    return !w->setup->calm && permille && sim_rng_chance(&w->rng, permille);
}

struct ha_uuid sim_uuid(struct sim_world *w)
{
    struct ha_uuid u = {0};
    uint64_t x = sim_rng_next(&w->rng), y = sim_rng_next(&w->rng);
    memcpy(u.b, &x, 8);
    memcpy(u.b + 8, &y, 8);
    return u;
}

/* ---------------------------------------------------------------------------------- hash, log */

void sim_mix(struct sim_world *w, uint64_t x)
{
    w->hash = (w->hash ^ x) * 0x100000001b3ull;
    w->hash ^= w->hash >> 29;
}

void sim_mix_bytes(struct sim_world *w, const void *data, size_t len)
{
    const unsigned char *p = data;
    sim_mix(w, len);
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        sim_mix(w, x);
    }
    for (; len; len--, p++)
        sim_mix(w, *p);
}

void sim_log(struct sim_world *w, const char *format, ...)
{
    char line[800];
    va_list ap;
    int n = snprintf(line, sizeof(line), "%9.3fs ", (double)w->now / 1e6);
    va_start(ap, format);
    vsnprintf(line + n, sizeof(line) - (size_t)n, format, ap);
    va_end(ap);
    if (w->setup->on_log)
        w->setup->on_log(w->setup->user, line);
    if (w->has_triggers)
        sim_plan_match(w, line + n);
}

void sim_violate(struct sim_world *w, enum sim_class class, int invariant, const char *format, ...)
{
    if (w->verdict.class != SIM_FINE)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(w->verdict.text, sizeof(w->verdict.text), format, ap);
    va_end(ap);
    w->verdict.class = class;
    w->verdict.invariant = invariant;
    w->verdict.at = w->now / 1000;
    w->stop = true;
    SIM_LOG(w, "VIOLATION of invariant %d: %s", invariant, w->verdict.text);
}

int sim_guest_index(const struct sim_world *w, const char *name)
{
    for (unsigned g = 0; g < w->nguests; g++)
        if (strcmp(w->guests[g].name, name) == 0)
            return (int)g;
    return -1;
}

int sim_host_index(const struct sim_world *w, ha_node node)
{
    for (unsigned i = 0; i < w->nhosts; i++)
        if (w->hosts[i].node == node)
            return (int)i;
    return -1;
}

/* ---------------------------------------------------------------------------------- birth, end */

static void host_init(struct sim_world *w, unsigned i)
{
    struct sim_host *h = &w->hosts[i];
    h->i = (uint8_t)i;
    h->node = w->config->hosts[i].node;
    memcpy(h->name, w->config->hosts[i].name, sizeof(h->name));
    h->machine = sim_uuid(w);
    h->watchdog = !(w->setup->no_watchdog & 1u << i);
    h->drift_ppm = w->setup->calm ? 0 : (int32_t)sim_rng_range(&w->rng, -200, 200);
    h->memory_kib = w->setup->host_memory_kib;
    for (unsigned g = 0; g < w->nguests; g++) /* not every host has the file of every guest */
        if (w->config->guests[g].config_path && !w->setup->no_files && (g % w->nhosts == i || (g + i) % 3 == 0))
            h->files[g] = w->definitions[g] = 1;
    h->forced.guest = -1;
    h->lease_max = INT64_MIN;
    h->unleased_since = -1;
    sim_schedule(w, sim_delay(w, SIM_MS(i), SIM_MS(2000)), SIM_EV_POWER_ON, i, 0, 0);
}

struct sim_world *sim_world_new(const struct sim_setup *setup, const struct sim_plan *plan)
{
    struct sim_world *w = calloc(1, sizeof(*w));
    assert(w);
    w->setup = setup;
    w->config = setup->config;
    w->rng = sim_rng_seed(setup->seed, 1);
    w->net_rng = sim_rng_seed(setup->seed, 2);
    w->op_rng = sim_rng_seed(setup->seed, 3);
    w->disk_rng = sim_rng_seed(setup->seed, 4);
    w->hash = 0xcbf29ce484222325ull;
    w->nhosts = (unsigned)w->config->nhosts;
    w->nguests = (unsigned)w->config->nguests;
    assert(w->nhosts <= SIM_HOSTS_MAX && w->nguests <= SIM_GUESTS_MAX);
    w->hosts = calloc(SIM_HOSTS_MAX, sizeof(*w->hosts));
    assert(w->hosts);
    w->good_since = -1;
    w->rates = setup->rates;
    for (unsigned g = 0; g < w->nguests; g++) {
        w->guests[g].config = &w->config->guests[g];
        memcpy(w->guests[g].name, w->config->guests[g].name, HA_NAME_MAX);
        w->guests[g].touched = -1;
    }
    sim_plan_copy(&w->plan, plan);
    for (size_t i = 0; i < w->plan.n; i++)
        w->has_triggers |= w->plan.v[i].pattern[0] != '\0';
    w->logging = setup->log || w->has_triggers;
    check_new(w);
    for (unsigned i = 0; i < w->nhosts; i++)
        host_init(w, i);
    sim_plan_start(w);
    sim_schedule(w, SIM_MS(4000), SIM_EV_FOUND, 0, 0, 0);
    sim_schedule(w, SIM_MS(1000), SIM_EV_CHECK, 0, 0, 0);
    sim_schedule(w, SIM_MS(setup->faults_ms), SIM_EV_PHASE, 0, 0, 1);
    return w;
}

struct sim_world *sim_world_free(struct sim_world *w)
{
    if (!w)
        return NULL;
    for (unsigned i = 0; i < w->nhosts; i++) {
        struct sim_host *h = &w->hosts[i];
        h->ha = ha_free(h->ha);
        free(h->outq);
        sim_daemon_done(h);
        free(h->dq);
        sim_journal_done(h);
    }
    sim_net_done(w);
    check_free(w);
    ha_actions_done(&w->actions);
    sim_plan_done(&w->plan);
    sim_queue_done(&w->queue);
    for (size_t i = 0; i < w->narena; i++)
        free(w->arena[i]);
    free(w->arena);
    free(w->hosts);
    free(w);
    return NULL;
}

/* --------------------------------------------------------------------------------------- loop */

/* An operator founds the cluster as soon as every daemon is up, and again until it worked. */
static void found(struct sim_world *w)
{
    if (w->founded)
        return;
    unsigned up = 0, any = 0;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (w->hosts[i].ha && w->hosts[i].joined && !w->hosts[i].stuck && !w->hosts[i].hung) {
            up++;
            any = i;
        }
    if (up == w->nhosts || (w->founding > 10 && up * 2 > w->nhosts)) {
        unsigned at = w->setup->calm ? 0 : sim_rng_below(&w->rng, w->nhosts);
        if (!w->hosts[at].ha || w->hosts[at].stuck)
            at = any;
        sim_daemon_command(w, &w->hosts[at], HA_CMD_INIT, "", "", "");
    }
    w->founding++;
    sim_schedule(w, w->now + SIM_MS(3000), SIM_EV_FOUND, 0, 0, 0);
}

static void phase(struct sim_world *w)
{
    if (w->healing) {
        check_end(w);
        w->stop = true;
        return;
    }
    w->healing = true;
    w->heal_at = w->now;
    if (w->setup->settle_ms == 0) {
        w->stop = true;
        return;
    }
    sim_plan_heal(w);
    sim_schedule(w, w->now + SIM_MS(w->setup->settle_ms), SIM_EV_PHASE, 0, 0, 1);
}

static void dispatch_daemon(struct sim_world *w, struct sim_host *h, const struct sim_event *e)
{
    bool alive = h->ha && e->gen == h->daemon_life;
    switch (e->type) {
    case SIM_EV_TICK:
        if (alive && e->at == h->tick_at)
            sim_daemon_tick(w, h);
        break;
    case SIM_EV_KSTATE:
        if (alive)
            sim_daemon_kstate(w, h);
        break;
    case SIM_EV_FSYNC:
        if (alive)
            sim_journal_fsync(w, h);
        break;
    case SIM_EV_QUORUM:
        if (alive)
            sim_net_quorum(w, h, e->a);
        break;
    case SIM_EV_JOIN:
        if (alive)
            sim_daemon_join(w, h);
        break;
    case SIM_EV_INVENTORY:
        sim_daemon_inventory(w, h);
        break;
    case SIM_EV_LOOKED:
        if (alive)
            sim_daemon_looked(w, h);
        break;
    case SIM_EV_TAKEN:
        if (alive)
            sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_CONFIG_TAKEN, .id = e->a});
        break;
    default:
        break;
    }
}

static void dispatch_host(struct sim_world *w, struct sim_host *h, const struct sim_event *e)
{
    switch (e->type) {
    case SIM_EV_WATCHDOG:
        h->wd_event = false;
        sim_watchdog(w, h);
        break;
    case SIM_EV_DISK:
        if (e->gen == h->life)
            sim_disk_event(w, h, e->a);
        break;
    case SIM_EV_POWER_ON:
        if (e->gen == h->life)
            sim_power_on(w, h);
        break;
    case SIM_EV_BOOTED:
        if (e->gen == h->life)
            sim_booted(w, h);
        break;
    case SIM_EV_COROSYNC_START:
        if (e->gen == h->life)
            sim_corosync_start(w, h);
        break;
    case SIM_EV_KEEPER_START:
        if (e->gen == h->life)
            sim_keeper_start(w, h);
        break;
    case SIM_EV_DAEMON_START:
        if (e->gen == h->life)
            sim_daemon_start(w, h);
        break;
    case SIM_EV_KTICK:
        if (h->keeper && e->gen == h->keeper_life && e->at == h->ktick_at)
            sim_keeper_tick(w, h);
        break;
    case SIM_EV_KORDERS:
        if (h->keeper && e->gen == h->keeper_life)
            sim_orders_arrive(w, h, e->a);
        break;
    default:
        dispatch_daemon(w, h, e);
        break;
    }
}

static void dispatch(struct sim_world *w, const struct sim_event *e)
{
    struct sim_host *h = &w->hosts[e->host];
    switch (e->type) {
    case SIM_EV_PUMP:
        if (e->at == h->pump_at)
            sim_net_pump(w, h);
        break;
    case SIM_EV_ORDER:
        h->order_event = false;
        sim_net_order(w, h);
        break;
    case SIM_EV_FORM:
        h->form_event = false;
        sim_net_form(w, h);
        break;
    case SIM_EV_CONF:
        if (e->gen == h->cs_life && h->conf && h->conf->ring.seq == e->a)
            sim_net_conf(w, h);
        break;
    case SIM_EV_WORK_BEGIN:
    case SIM_EV_WORK_END:
    case SIM_EV_WORK_TIMEOUT:
    case SIM_EV_WORK_ANSWER:
    case SIM_EV_XFER:
        if (e->gen == h->life)
            sim_work_event(w, h, e);
        break;
    case SIM_EV_LATE_SUSPEND:
    case SIM_EV_GUEST_OBEYS:
    case SIM_EV_BACKENDS:
        if (e->gen == h->life)
            sim_copy_event(w, h, e);
        break;
    case SIM_EV_PROBED:
        if (e->gen == h->daemon_life)
            sim_probe_event(w, h, e->a);
        break;
    case SIM_EV_FENCE_LAUNCH:
    case SIM_EV_FENCE_EFFECT:
    case SIM_EV_FENCE_RESULT:
        sim_fence_event(w, h, e);
        break;
    case SIM_EV_PLAN:
        sim_plan_event(w, e->a);
        break;
    case SIM_EV_CHECK:
        check_now_and_then(w);
        break;
    case SIM_EV_FOUND:
        found(w);
        break;
    case SIM_EV_PHASE:
        phase(w);
        break;
    default:
        dispatch_host(w, h, e);
        break;
    }
}

void sim_world_run(struct sim_world *w)
{
    enum { EVENTS_A_SECOND = 200000 };
    struct sim_event e;
    sim_us second = 0;
    uint64_t second_events = 0;
    while (!w->stop && sim_queue_pop(&w->queue, &e)) {
        assert(e.at >= w->now);
        w->now = e.at;
        w->events++;
        if (w->now / 1000000 != second) {
            second = w->now / 1000000;
            second_events = w->events;
        }
        if (w->events - second_events > EVENTS_A_SECOND)
            sim_violate(w, SIM_LIVENESS, 14, "livelock: %d events within a second",
                        EVENTS_A_SECOND);
        sim_mix(w, (uint64_t)e.at ^ (uint64_t)e.type << 48 ^ (uint64_t)e.host << 56);
        dispatch(w, &e);
    }
}
