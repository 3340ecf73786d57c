/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shared disk of a world: each host's process that writes its slot and reads all of them, and
 * the pills. What is on the disk is one truth; what goes wrong is that a host does not reach it,
 * late answers, and pills that are written late or lost. */
#include "world.h"

#include "check.h"

enum { LATE_LOOK_MS = 100 };

static bool has_disk(const struct sim_world *w)
{
    return w->config->disk.timeout_ms > 0;
}

/* Chance of its own, so that worlds without a disk stay as they were. */
static sim_us disk_delay(struct sim_world *w, sim_us lo, sim_us hi)
{
    if (w->setup->calm || hi <= lo)
        return lo;
    return lo + (sim_us)sim_rng_below(&w->disk_rng, (uint32_t)(hi - lo + 1));
}

void sim_disk_boot(struct sim_world *w, struct sim_host *h)
{
    h->disk_done = false;
    if (has_disk(w))
        sim_schedule(w, w->now + SIM_MS(300) + disk_delay(w, 0, SIM_MS(700)), SIM_EV_DISK, h->i,
                     h->life, 0);
}

static void begin(struct sim_world *w, struct sim_host *h)
{
    struct sim_disk_slot *slot = &w->slots[h->i];
    h->disk_t = sim_clock(w, h);
    h->disk_done = true;
    slot->boot = h->boot;
    slot->at = w->now;
    /* the worst case: everything is read at once, and what is written since is not seen */
    h->disk_pill = false;
    h->disk_loss = 0;
    for (unsigned by = 0; by < w->nhosts; by++) {
        const struct sim_pill *p = &w->pills[h->i][by];
        if (!p->serial || !check_same(&p->boot, &h->boot))
            continue;
        h->disk_pill = true;
        h->disk_loss = p->loss > h->disk_loss ? p->loss : h->disk_loss;
    }
    h->disk_nseen = 0;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (i != h->i && w->slots[i].at)
            h->disk_seen[h->disk_nseen++] =
                (struct ha_disk_seen){w->hosts[i].node, w->slots[i].boot,
                                      sim_clock(w, h) - (w->now - w->slots[i].at) / 1000};
    sim_schedule(w, w->now + SIM_MS(h->disk_slow) + disk_delay(w, SIM_MS(1), SIM_MS(20)),
                 SIM_EV_DISK, h->i, h->life, 1);
}

static void done(struct sim_world *w, struct sim_host *h)
{
    struct ha_keeper_event e = {.type = HA_KEV_DISK, .now = sim_clock(w, h)};
    h->disk_done = false;
    if (h->disk_lost)
        return;
    e.u.disk.t = h->disk_t;
    e.u.disk.disk.b[0] = 1;
    e.u.disk.pill = h->disk_pill;
    e.u.disk.loss = h->disk_loss;
    e.u.disk.seen = h->disk_seen;
    e.u.disk.nseen = h->disk_nseen;
    if (h->keeper && (!h->disk_pill || h->disk_loss <= h->k.pill_void)) {
        h->disk_good = h->disk_t;
        h->disk_good_at = w->now;
    }
    sim_keeper_event(w, h, &e);
}

/* a: 0 a cycle begins, 1 it ends. */
void sim_disk_event(struct sim_world *w, struct sim_host *h, uint64_t a)
{
    sim_us next = SIM_MS(w->config->disk.interval_ms);
    if (!h->booted)
        return;
    if (!sim_awake(h)) {
        sim_schedule(w, w->now + SIM_MS(LATE_LOOK_MS), SIM_EV_DISK, h->i, h->life, a);
        return;
    }
    if (a == 1)
        done(w, h);
    else if (h->disk_lost)
        next = SIM_MS(LATE_LOOK_MS);
    else {
        begin(w, h);
        return;
    }
    sim_schedule(w, w->now + next, SIM_EV_DISK, h->i, h->life, 0);
}

/* The keeper read a pill: a watchdog that can be set shorter fires in a second, another one in its
 * time. */
void sim_disk_die(struct sim_world *w, struct sim_host *h)
{
    sim_us soon = w->now + SIM_MS(1000) - SIM_MS(w->config->timers.watchdog);
    if (h->dying || !h->armed)
        return;
    h->dying = true;
    SIM_LOG(w, "%s takes the pill", h->name);
    if (!w->setup->calm && sim_rng_below(&w->disk_rng, 1000) < 300)
        return;
    check_fence_effect(w, h, NULL);
    h->fenced_off = true;
    if (soon < h->petted)
        h->petted = soon;
    sim_schedule(w, w->now + SIM_MS(1000), SIM_EV_WATCHDOG, h->i, 0, 0);
}

/* -------------------------------------------------------------------------------------- pills */

/* The agent has had its write answered. False: it does not write, its own host is being shot. */
bool sim_pill_write(struct sim_world *w, const struct sim_fence *f)
{
    const struct sim_pill *mine = &w->pills[f->by][f->target];
    if (w->hosts[f->by].disk_lost ||
        (mine->serial && check_same(&mine->boot, &w->hosts[f->by].boot)))
        return false;
    SIM_LOG(w, "%s pill for %s written", w->hosts[f->by].name, w->hosts[f->target].name);
    w->pills[f->target][f->by] = (struct sim_pill){f->serial, f->boot, f->loss};
    return true;
}

/* Is it there all the same, now that the time is over? */
bool sim_pill_there(const struct sim_world *w, const struct sim_fence *f)
{
    return !w->hosts[f->by].disk_lost && w->pills[f->target][f->by].serial == f->serial;
}

/* Without a good cycle for D + W a bound host that is not empty is gone. */
void check_09_diskless_dies(struct sim_world *w, struct sim_host *h)
{
    const struct ha_timers *t = &w->config->timers;
    if (!h->on || !h->booted || !h->watchdog || h->k.disk != HA_DISK_ON || !has_disk(w) ||
        h->disk_bound_at == 0 || check_host_empty(h)) {
        if (h->k.disk != HA_DISK_ON || !h->booted)
            h->disk_bound_at = 0;
        if (h->booted && h->k.disk == HA_DISK_ON && h->disk_bound_at == 0)
            h->disk_bound_at = w->now + SIM_MS(t->lease);
        return;
    }
    sim_us last = h->disk_good_at > h->disk_bound_at ? h->disk_good_at : h->disk_bound_at;
    if (w->now > last + SIM_MS(h->k.disk_ms + t->watchdog + 1500))
        sim_violate(w, SIM_SAFETY, 9,
                    "%s is not empty %lld ms after its last good cycle of the disk", h->name,
                    (long long)(w->now - last) / 1000);
}
