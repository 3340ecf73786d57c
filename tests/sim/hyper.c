/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copies of guests on a host: they run, die, and close their backends later. */
#include "world.h"

#include <assert.h>
#include <string.h>

#include "check.h"

struct sim_copy *sim_copy_new(struct sim_world *w, struct sim_host *h, int guest, uint64_t inc)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
        struct sim_copy *c = &h->copies[k];
        if (c->id)
            continue;
        *c = (struct sim_copy){
            .id = ++w->serial, .guest = guest, .inc = inc, .state = HA_COPY_PAUSED};
        return c;
    }
    assert(!"too many copies on one host");
    return NULL;
}

struct sim_copy *sim_copy_find(struct sim_host *h, uint32_t id)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
        if (id && h->copies[k].id == id)
            return &h->copies[k];
    return NULL;
}

bool sim_host_empty(const struct sim_host *h)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
        if (h->copies[k].id)
            return false;
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++)
        if (h->works[k].stage != SIM_WORK_FREE && h->works[k].stage != SIM_WORK_ANSWERS)
            return false;
    return true;
}

void sim_inventory_soon(struct sim_world *w, struct sim_host *h)
{
    if (!h->ha || h->inv_event)
        return;
    h->inv_event = true;
    sim_us d = h->inv_unknown || h->inv_wait ? sim_delay(w, SIM_MS(100), SIM_MS(600))
                                             : sim_delay(w, SIM_MS(1), SIM_MS(20));
    sim_schedule(w, w->now + d, SIM_EV_INVENTORY, h->i, 0, 0);
}

void sim_copy_run(struct sim_world *w, struct sim_host *h, struct sim_copy *c)
{
    check_image(w, h, c);
    c->state = HA_COPY_RUNNING;
    c->mig = 0;
    c->restored = false;
    c->ran = true;
    w->guests[c->guest].version++;
    w->guests[c->guest].ill_answers = 0;
    SIM_LOG(w, "%s runs %s inc %llu", h->name, w->guests[c->guest].name,
            (unsigned long long)c->inc);
    check_runs(w, h, c);
    sim_inventory_soon(w, h);
}

void sim_copy_kill(struct sim_world *w, struct sim_host *h, struct sim_copy *c)
{
    if (c->state == HA_COPY_DYING)
        return;
    SIM_LOG(w, "%s ends %s inc %llu", h->name, w->guests[c->guest].name,
            (unsigned long long)c->inc);
    if (c->state == HA_COPY_SUSPENDED)
        c->ran = false; /* it is quiet: nothing of it can still be written */
    c->state = HA_COPY_DYING;
    c->backends = true;
    sim_us d = sim_delay(w, SIM_MS(20), SIM_MS(300)) + SIM_MS(h->backends_slow);
    if (sim_chance(w, 100))
        d += sim_rng_range(&w->op_rng, SIM_MS(500), SIM_MS(8000));
    sim_schedule(w, w->now + d, SIM_EV_BACKENDS, h->i, h->life, c->id);
    sim_inventory_soon(w, h);
}

static void exit_copy(struct sim_world *w, struct sim_host *h, struct sim_copy *c,
                      enum ha_exit exit)
{
    struct sim_news news = {
        .type = HA_EV_GUEST_EXIT, .guest = c->guest, .id = c->inc, .exit = exit};
    SIM_LOG(w, "%s exit of %s: %d", h->name, w->guests[c->guest].name, (int)exit);
    sim_copy_kill(w, h, c);
    sim_daemon_news(w, h, &news);
}

/* A probe finds what the guest's state is when it ends. */
void sim_probe_start(struct sim_world *w, struct sim_host *h, const struct ha_action *a)
{
    int guest = sim_guest_index(w, a->u.probe.guest);
    if (guest < 0 || a->u.probe.probe >= w->guests[guest].config->nprobes) {
        sim_violate(w, SIM_CRASH, 0, "%s: no probe %u of %s", h->name, a->u.probe.probe,
                    a->u.probe.guest);
        return;
    }
    bool hangs = w->guests[guest].sick == HA_PROBE_HUNG;
    ha_ms limit = w->guests[guest].config->probes[a->u.probe.probe].timeout_ms;
    sim_us d = hangs ? SIM_MS(limit) : sim_delay(w, SIM_MS(5), SIM_MS(200));
    sim_schedule(w, w->now + d, SIM_EV_PROBED, h->i, h->daemon_life,
                 (uint64_t)guest << 56 | a->u.probe.id);
}

void sim_probe_event(struct sim_world *w, struct sim_host *h, uint64_t a)
{
    int guest = (int)(a >> 56);
    enum ha_probe_result found = w->guests[guest].sick;
    struct sim_news news = {.type = HA_EV_PROBE,
                            .id = a & 0xffffffffffffff,
                            .guest = guest,
                            .probe = found ? found : HA_PROBE_HEALTHY};
    if (h->hung) {
        sim_schedule(w, w->now + SIM_MS(50), SIM_EV_PROBED, h->i, h->daemon_life, a);
        return;
    }
    if (!found)
        w->guests[guest].ill_answers = 0;
    else if (found != HA_PROBE_NOTHING)
        w->guests[guest].ill_answers++;
    sim_daemon_news(w, h, &news);
}

/* The guest ends by itself, wherever it runs. */
void sim_guest_exit(struct sim_world *w, int guest, enum ha_exit exit)
{
    for (unsigned i = 0; i < w->nhosts; i++)
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
            struct sim_copy *c = &w->hosts[i].copies[k];
            if (c->id && c->guest == guest && c->state == HA_COPY_RUNNING) {
                exit_copy(w, &w->hosts[i], c, exit);
                return;
            }
        }
}

/* An operator starts a guest behind the cluster's back, knowing that it runs nowhere. */
void sim_hand_start(struct sim_world *w, struct sim_host *h, int guest)
{
    if (!sim_awake(h))
        return;
    for (unsigned i = 0; i < w->nhosts; i++) {
        if (sim_work_of(&w->hosts[i], guest))
            return;
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
            if (w->hosts[i].copies[k].id && w->hosts[i].copies[k].guest == guest)
                return;
    }
    if (check_owned(w, guest) && !w->froze) /* frozen, an operator may */
        return;
    w->guests[guest].by_hand = true;
    struct sim_copy *c = sim_copy_new(w, h, guest, 0);
    sim_copy_run(w, h, c);
}

static void late_suspend(struct sim_world *w, struct sim_host *h, struct sim_copy *c)
{
    if (c->state != HA_COPY_RUNNING || c->mig == 0)
        return;
    SIM_LOG(w, "%s suspends %s late", h->name, w->guests[c->guest].name);
    c->state = HA_COPY_SUSPENDED;
    sim_inventory_soon(w, h);
}

void sim_copy_event(struct sim_world *w, struct sim_host *h, const struct sim_event *event)
{
    struct sim_copy *c = sim_copy_find(h, (uint32_t)event->a);
    if (!c)
        return;
    if (h->hung) {
        sim_schedule(w, w->now + SIM_MS(50), (enum sim_event_type)event->type, h->i, event->gen,
                     event->a);
        return;
    }
    switch (event->type) {
    case SIM_EV_BACKENDS: {
        int guest = c->guest;
        *c = (struct sim_copy){0};
        sim_inventory_soon(w, h);
        sim_work_closed(w, h, guest);
        break;
    }
    case SIM_EV_GUEST_OBEYS:
        if (c->state == HA_COPY_RUNNING)
            exit_copy(w, h, c, HA_EXIT_POWEROFF);
        break;
    case SIM_EV_LATE_SUSPEND:
        late_suspend(w, h, c);
        break;
    default:
        break;
    }
}

void sim_hyper_off(struct sim_world *w, struct sim_host *h)
{
    memset(h->copies, 0, sizeof(h->copies));
    sim_work_off(h);
    sim_work_peer_lost(w, h->i);
}
