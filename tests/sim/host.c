/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host's hardware and its keeper: power, boot, hang, watchdog, beats. */
#include "world.h"

#include <assert.h>
#include <string.h>

#include "check.h"

bool sim_awake(const struct sim_host *h)
{
    return h->on && h->booted && !h->hung;
}

/* ------------------------------------------------------------------------------------- power */

void sim_power_on(struct sim_world *w, struct sim_host *h)
{
    if (h->on)
        return;
    SIM_LOG(w, "%s power on", h->name);
    h->on = true;
    h->hung = false;
    h->life++;
    h->fenced_off = false;
    sim_us d = sim_delay(w, SIM_MS(w->setup->boot_ms) / 2, SIM_MS(w->setup->boot_ms));
    if (w->now < SIM_MS(3000)) /* everybody is there at the beginning */
        d = 0;
    sim_schedule(w, w->now + d, SIM_EV_BOOTED, h->i, h->life, 0);
}

void sim_booted(struct sim_world *w, struct sim_host *h)
{
    h->booted = true;
    h->boot = sim_uuid(w);
    h->booted_at = w->now;
    h->clock_base = sim_rng_range(&w->rng, 5000, 2000000);
    h->nmarks = 0;
    h->lease_max = INT64_MIN;
    h->armed = false;
    h->unleased_since = -1;
    memset(h->rx_sent, 0, sizeof(h->rx_sent));
    memset(h->rx_seen, 0, sizeof(h->rx_seen));
    memset(&h->kmemory, 0, sizeof(h->kmemory));
    h->shutdown = false;
    h->dying = false;
    h->disk_good = -1;
    h->disk_good_at = h->disk_bound_at = 0;
    SIM_LOG(w, "%s booted life %u", h->name, h->life);
    sim_us a = sim_delay(w, SIM_MS(1), SIM_MS(300)), b = a + sim_delay(w, SIM_MS(5), SIM_MS(500)),
           c = b + sim_delay(w, SIM_MS(5), SIM_MS(500));
    sim_schedule(w, w->now + a, SIM_EV_COROSYNC_START, h->i, h->life, 0);
    sim_schedule(w, w->now + b, SIM_EV_KEEPER_START, h->i, h->life, 0);
    sim_schedule(w, w->now + c, SIM_EV_DAEMON_START, h->i, h->life, 0);
    sim_disk_boot(w, h);
}

void sim_power_off(struct sim_world *w, struct sim_host *h, const char *why)
{
    if (!h->on)
        return;
    SIM_LOG(w, "%s power off: %s", h->name, why);
    sim_daemon_kill(w, h, true);
    h->keeper = false;
    h->keeper_life++;
    sim_hyper_off(w, h);
    h->on = h->booted = h->hung = h->armed = false;
    h->life++;
    sim_corosync_stop(w, h);
}

void sim_hang(struct sim_world *w, struct sim_host *h, bool hung)
{
    if (!h->booted || h->hung == hung)
        return;
    SIM_LOG(w, "%s %s", h->name, hung ? "hangs" : "goes on");
    h->hung = hung;
    sim_net_changed(w);
    if (hung)
        return;
    if (h->keeper)
        sim_keeper_tick(w, h);
    sim_daemon_drain(w, h);
    sim_inventory_soon(w, h);
}

/* ----------------------------------------------------------------------------------- watchdog */

static void watchdog_schedule(struct sim_world *w, struct sim_host *h)
{
    if (h->wd_event || !h->armed)
        return;
    h->wd_event = true;
    sim_schedule(w, h->petted + SIM_MS(w->config->timers.watchdog), SIM_EV_WATCHDOG, h->i, 0, 0);
}

void sim_watchdog(struct sim_world *w, struct sim_host *h)
{
    if (!h->on || !h->armed)
        return;
    if (w->now < h->petted + SIM_MS(w->config->timers.watchdog)) {
        watchdog_schedule(w, h);
        return;
    }
    sim_power_off(w, h, "watchdog");
    sim_schedule(w, w->now + SIM_MS(500), SIM_EV_POWER_ON, h->i, h->life, 0);
}

/* ------------------------------------------------------------------------------------- keeper */

void sim_keeper_start(struct sim_world *w, struct sim_host *h)
{
    if (h->keeper || !h->booted)
        return;
    SIM_LOG(w, "%s keeper start", h->name);
    h->keeper = true;
    h->keeper_life++;
    h->ktick_at = 0;
    ha_keeper_init(&h->k, h->node, &h->boot, w->setup->mutant);
    ha_keeper_restore(&h->k, &h->kmemory, sim_clock(w, h));
    sim_keeper_event(w, h,
                     &(struct ha_keeper_event){
                         .type = HA_KEV_DEVICE, .now = sim_clock(w, h), .u.armed = h->armed});
    if (h->cs && h->ring) {
        sim_keeper_ring(w, h);
        sim_keepers_group(w, h);
    }
    sim_keeper_news(w, h, sim_delay(w, SIM_MS(1), SIM_MS(50)));
}

void sim_keeper_kill(struct sim_world *w, struct sim_host *h)
{
    if (!h->keeper)
        return;
    SIM_LOG(w, "%s keeper gone", h->name);
    ha_keeper_remember(&h->k, &h->kmemory);
    h->keeper = false;
    h->keeper_life++;
    sim_keepers_group(w, h);
    sim_keeper_news(w, h, sim_delay(w, SIM_MS(1), SIM_MS(20)));
}

/* Its state reaches the daemon after `delay`; several changes arrive as one. */
void sim_keeper_news(struct sim_world *w, struct sim_host *h, sim_us delay)
{
    if (!h->ha || h->kstate_pending)
        return;
    h->kstate_pending = true;
    sim_schedule(w, w->now + delay, SIM_EV_KSTATE, h->i, h->daemon_life, 0);
}

static void carry_out(struct sim_world *w, struct sim_host *h, const struct ha_keeper_result *r)
{
    if (r->send && h->cs)
        sim_net_send(w, h, SIM_ENTRY_BEAT, r->beat, r->beat_len);
    if (r->disarm && h->armed) {
        check_disarm(w, h);
        SIM_LOG(w, "%s watchdog disarmed", h->name);
        h->armed = false;
    }
    if (r->arm && h->watchdog && !h->armed) {
        SIM_LOG(w, "%s watchdog armed", h->name);
        h->armed = true;
        h->petted = w->now;
        sim_keeper_event(w, h,
                         &(struct ha_keeper_event){
                             .type = HA_KEV_DEVICE, .now = sim_clock(w, h), .u.armed = true});
    }
    if (r->pet && h->armed && ha_keeper_may_pet(&h->k, sim_clock(w, h)))
        h->petted = w->now;
    if (r->die)
        sim_disk_die(w, h);
    watchdog_schedule(w, h);
    if (r->changed)
        sim_keeper_news(w, h, sim_delay(w, 200, SIM_MS(3)));
}

void sim_keeper_event(struct sim_world *w, struct sim_host *h, const struct ha_keeper_event *event)
{
    struct ha_keeper_result r;
    if (!h->keeper)
        return;
    ha_keeper_step(&h->k, event, &r);
    if (h->k.orders.frozen)
        h->frozen_life = h->life + 1;
    ha_ms lease = ha_keeper_lease(&h->k);
    if (lease > h->lease_max)
        h->lease_max = lease;
    carry_out(w, h, &r);
    ha_ms deadline = ha_keeper_deadline(&h->k);
    if (deadline == INT64_MAX)
        return;
    sim_us at = sim_when(w, h, deadline);
    if (at <= w->now)
        at = w->now + 1000;
    /* A little late, as any process is; the same deadline is not scheduled twice. */
    if (h->ktick_at <= w->now || at < h->ktick_at) {
        h->ktick_at = at + sim_delay(w, 0, 2000);
        sim_schedule(w, h->ktick_at, SIM_EV_KTICK, h->i, h->keeper_life, 0);
    }
}

void sim_keeper_tick(struct sim_world *w, struct sim_host *h)
{
    h->ktick_at = 0;
    if (sim_awake(h))
        sim_keeper_event(w, h,
                         &(struct ha_keeper_event){.type = HA_KEV_TICK, .now = sim_clock(w, h)});
}

void sim_keeper_ring(struct sim_world *w, struct sim_host *h)
{
    struct ha_keeper_event e = {.type = HA_KEV_RING, .now = sim_clock(w, h)};
    e.u.ring = h->told_keeper_ring;
    sim_keeper_event(w, h, &e);
}

/* A keeper came or went: the others of its ring are told. */
void sim_keepers_group(struct sim_world *w, const struct sim_host *h)
{
    for (unsigned i = 0; i < w->nhosts; i++) {
        struct sim_host *o = &w->hosts[i];
        struct ha_keeper_event e = {.type = HA_KEV_GROUP, .now = sim_clock(w, o)};
        if (o != h && o->keeper && h->ring && o->ring == h->ring && sim_net_live(o))
            sim_keeper_event(w, o, &e);
    }
}

void sim_keeper_beat(struct sim_world *w, struct sim_host *h, const struct sim_entry *entry)
{
    if (!h->keeper)
        return;
    check_beat(w, h, entry);
    struct ha_keeper_event event = {
        .type = HA_KEV_BEAT,
        .now = sim_clock(w, h),
        .u.beat = {w->hosts[entry->sender].node, entry->data, entry->len},
    };
    sim_keeper_event(w, h, &event);
}
