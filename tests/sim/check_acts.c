/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What really happens: copies, operations, fences, watchdogs, and the invariants about them
 * (1, 2, 3, 7, 9-15). */
#include <stdio.h>
#include <string.h>

#include "check.h"

static const char *guest_name(const struct sim_world *w, int g)
{
    return w->guests[g].name;
}

/* --------------------------------------------------------------------------- 1, 2: one copy */

static void check_01_one_copy(struct sim_world *w, const struct sim_host *h,
                              const struct sim_copy *copy, const struct sim_host *o,
                              const struct sim_copy *c)
{
    if (c->state == HA_COPY_RUNNING)
        sim_violate(w, SIM_SAFETY, 1, "%s runs twice: on %s (inc %llu) and now on %s (inc %llu)",
                    guest_name(w, copy->guest), o->name, (unsigned long long)c->inc, h->name,
                    (unsigned long long)copy->inc);
}

static void check_02_one_writer(struct sim_world *w, const struct sim_host *h,
                                const struct sim_copy *copy, const struct sim_host *o,
                                const struct sim_copy *c)
{
    if (c->state == HA_COPY_DYING && c->ran && c->backends)
        sim_violate(w, SIM_SAFETY, 2, "%s runs on %s while its backends are open on %s",
                    guest_name(w, copy->guest), h->name, o->name);
}

void check_runs(struct sim_world *w, const struct sim_host *h, const struct sim_copy *copy)
{
    if (w->lied)
        return;
    for (unsigned i = 0; i < w->nhosts; i++)
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
            const struct sim_copy *c = &w->hosts[i].copies[k];
            if (!c->id || c == copy || c->guest != copy->guest)
                continue;
            check_01_one_copy(w, h, copy, &w->hosts[i], c);
            check_02_one_writer(w, h, copy, &w->hosts[i], c);
        }
}

/* ----------------------------------------------------------------------- 3, 7, 8: who may run */

static const struct check_owner *owner_of(const struct sim_world *w, int g, uint64_t inc)
{
    const struct sim_ledger *l = w->ledger;
    for (size_t k = l->nowners[g]; k-- > 0;)
        if (l->owners[g][k].inc == inc)
            return &l->owners[g][k];
    return NULL;
}

static void check_03_assigned(struct sim_world *w, const struct sim_host *h,
                              const struct sim_work *work)
{
    const struct check_owner *o = owner_of(w, work->guest, work->inc);
    if (!o || o->owner != h->node || !check_same(&o->boot, &h->boot))
        sim_violate(w, SIM_SAFETY, 3, "%s: %s of %s inc %llu without a stable assignment", h->name,
                    ha_op_name(work->what), guest_name(w, work->guest),
                    (unsigned long long)work->inc);
}

static void check_03_leased(struct sim_world *w, const struct sim_host *h,
                            const struct sim_work *work)
{
    if (sim_clock(w, h) >= h->lease_max)
        sim_violate(w, SIM_SAFETY, 3, "%s: %s of %s inc %llu without a lease", h->name,
                    ha_op_name(work->what), guest_name(w, work->guest),
                    (unsigned long long)work->inc);
}

static void check_06_created_once(struct sim_world *w, const struct sim_host *h,
                                  const struct sim_work *work)
{
    struct sim_ledger *l = w->ledger;
    for (size_t k = 0; k < l->ncreated; k++)
        if (l->created[k].inc == work->inc && l->created[k].guest == work->guest)
            sim_violate(w, SIM_SAFETY, 6, "%s: incarnation %llu of %s is created twice", h->name,
                        (unsigned long long)work->inc, guest_name(w, work->guest));
    *CHECK_PUSH(l->created, l->ncreated, l->sizecreated) =
        (struct check_created){work->inc, work->guest};
}

static void check_07_no_holder(struct sim_world *w, const struct sim_host *h,
                               const struct sim_work *work)
{
    for (unsigned i = 0; i < w->nhosts && !w->lied; i++)
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
            const struct sim_copy *c = &w->hosts[i].copies[k];
            if (!c->id || c->guest != work->guest || i == h->i)
                continue;
            bool holds = c->state == HA_COPY_RUNNING ||
                         (c->state == HA_COPY_DYING && c->ran && c->backends) ||
                         (c->state == HA_COPY_SUSPENDED && c->mig == 0);
            if (holds && !(work->what == HA_OP_CREATE && c->state == HA_COPY_DYING))
                sim_violate(w, SIM_SAFETY, 7, "%s: %s of %s while %s holds it", h->name,
                            ha_op_name(work->what), guest_name(w, work->guest), w->hosts[i].name);
        }
}

static void check_08_not_confirmed(struct sim_world *w, const struct sim_host *h,
                                   const struct sim_work *work)
{
    enum ha_host_state state;
    struct ha_uuid boot;
    uint32_t loss;
    const struct sim_ledger *l = w->ledger;
    if (w->lied)
        return;
    for (size_t k = 0; k < l->nlives; k++) {
        const struct check_life *life = &l->lives[k];
        if (!life->dead || life->node != h->node || !check_same(&life->boot, &h->boot))
            continue;
        /* Confirmed empty by the bound, and back in this life: fine once `in` is known here. */
        if (h->ha && ha_stable_host(h->ha, h->node, &state, &boot, &loss) == 0 &&
            state == HA_HOST_IN && loss >= life->loss)
            continue;
        sim_violate(w, SIM_SAFETY, 8, "%s: %s of %s by a life confirmed dead", h->name,
                    ha_op_name(work->what), guest_name(w, work->guest));
    }
}

/* ------------------------------------------------------------------------------ 10: migrations */

void check_image(struct sim_world *w, const struct sim_host *h, const struct sim_copy *copy)
{
    if (copy->restored && copy->image != w->guests[copy->guest].version && !w->lied)
        sim_violate(w, SIM_SAFETY, 10, "%s goes on on %s from an image older than its last run",
                    guest_name(w, copy->guest), h->name);
}

static void note_migration(struct sim_world *w, const struct sim_host *h,
                           const struct sim_work *work)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
        const struct sim_copy *c = &h->copies[k];
        if (!c->id || c->guest != work->guest || c->mig == 0 || c->building)
            continue;
        if (work->what == HA_OP_UNPAUSE && c->state == HA_COPY_PAUSED && c->inc == work->inc) {
            check_07_source_sure(w, h, work, c->mig);
            check_10_one_verdict(w, h, c->mig, true);
        }
        if (work->what == HA_OP_RESUME && c->state == HA_COPY_SUSPENDED)
            check_10_one_verdict(w, h, c->mig, false);
    }
}

/* ----------------------------------------------------------- 11: nothing ends a healthy guest */

/* Its probes have failed as often as it takes. */
static bool given_up(const struct sim_guest *g)
{
    for (size_t k = 0; k < g->config->nprobes; k++)
        if (g->ill_answers >= g->config->probes[k].failures)
            return true;
    return false;
}

static void check_11_no_needless_end(struct sim_world *w, const struct sim_host *h,
                                     const struct sim_work *work)
{
    const struct sim_guest *g = &w->guests[work->guest];
    const struct sim_ledger *l = w->ledger;
    uint64_t newest = 0;
    for (size_t k = 0; k < l->nowners[work->guest]; k++)
        if (l->owners[work->guest][k].inc > newest)
            newest = l->owners[work->guest][k].inc;
    const struct check_owner *o = owner_of(w, work->guest, newest);
    if (!o || o->owner != h->node || !check_same(&o->boot, &h->boot) || h->shutdown)
        return;
    if (g->touched >= 0 || !g->config->enabled || check_is_leaving(h, g->name) || given_up(g))
        return; /* an operator may have wanted it, or it is stopped for a better one */
    ha_ms now = sim_clock(w, h);
    struct ha_status known; /* what its keeper has told the daemon so far */
    ha_status(h->ha, now, &known);
    if (!h->keeper || known.lease_until <= now || ha_keeper_lease(&h->k) <= now ||
        w->now - h->unleased_since < SIM_MS(30000))
        return;
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
        if (h->copies[k].id && h->copies[k].guest == work->guest && h->copies[k].inc == newest &&
            h->copies[k].state == HA_COPY_RUNNING && (work->inc == 0 || work->inc == newest))
            sim_violate(w, SIM_SAFETY, 11, "%s: %s ends %s, which it owns, is wanted and leased",
                        h->name, ha_op_name(work->what), g->name);
}

void check_op_asked(struct sim_world *w, const struct sim_host *h, const struct sim_work *work)
{
    if (work->what != HA_OP_SHUTDOWN && work->what != HA_OP_DESTROY)
        return;
    check_11_no_needless_end(w, h, work);
}

void check_op_begins(struct sim_world *w, const struct sim_host *h, const struct sim_work *work)
{
    switch (work->what) {
    case HA_OP_CREATE:
        check_06_created_once(w, h, work);
        /* fall through */
    case HA_OP_UNPAUSE:
    case HA_OP_RESUME:
        check_03_assigned(w, h, work);
        check_03_leased(w, h, work);
        check_07_no_holder(w, h, work);
        check_08_not_confirmed(w, h, work);
        note_migration(w, h, work);
        break;
    case HA_OP_SHUTDOWN:
    case HA_OP_DESTROY:
        check_11_prepared_kept(w, h, work);
        break;
    case HA_OP_SEND:
    case HA_OP_RECEIVE:
        check_03_migration_stable(w, h, work);
        break;
    case HA_OP_TAG:
        break;
    }
}

/* -------------------------------------------------------------------------- 9: the dead man's
 * switch */

void check_disarm(struct sim_world *w, const struct sim_host *h)
{
    if (!check_host_empty(h) && !h->k.orders.frozen)
        sim_violate(w, SIM_SAFETY, 9, "%s disarms its watchdog and is not empty", h->name);
}

/* A keeper that has cut this life off sees its beats and echoes none of them. */
static bool keeper_cuts(const struct sim_host *h, const struct sim_host *from)
{
    for (size_t k = 0; h->keeper && k < h->k.orders.ncut; k++)
        if (h->k.orders.cut[k].node == from->node &&
            check_same(&h->k.orders.cut[k].boot, &from->boot))
            return true;
    return false;
}

void check_beat(struct sim_world *w, const struct sim_host *h, const struct sim_entry *entry)
{
    struct sim_host *from = &w->hosts[entry->sender];
    if (!from->booted || entry->sent < from->booted_at)
        return;
    if (entry->sent > from->rx_seen[h->i])
        from->rx_seen[h->i] = entry->sent;
    /* the sender echoes what it has seen of everybody it has not cut off */
    for (unsigned i = 0; i < w->nhosts; i++)
        if (i != from->i && !keeper_cuts(from, &w->hosts[i]) &&
            w->hosts[i].rx_seen[from->i] > w->hosts[i].rx_sent[from->i])
            w->hosts[i].rx_sent[from->i] = w->hosts[i].rx_seen[from->i];
    if (entry->sent > from->rx_sent[h->i] && (h->i == from->i || !keeper_cuts(h, from)))
        from->rx_sent[h->i] = entry->sent;
}

/* By the world's own clock: the send time of its latest beat that reached more than half. */
sim_us check_granted(const struct sim_world *w, const struct sim_host *h)
{
    sim_us v[SIM_HOSTS_MAX];
    unsigned n = 0;
    if (w->config->mode == HA_MODE_FENCE_ONLY)
        return h->rx_sent[h->i];
    for (unsigned i = 0; i < w->nhosts; i++) {
        /* once it is no longer cut off, what was seen meanwhile is echoed too */
        sim_us granted = keeper_cuts(&w->hosts[i], h) ? h->rx_sent[i] : h->rx_seen[i];
        unsigned k = n++;
        for (; k > 0 && v[k - 1] < granted; k--)
            v[k] = v[k - 1];
        v[k] = granted;
    }
    return v[w->nhosts / 2];
}

static void check_09_unleased_dies(struct sim_world *w, struct sim_host *h)
{
    const struct ha_timers *t = &w->config->timers;
    ha_ms lease = h->keeper ? ha_keeper_lease(&h->k) : INT64_MIN;
    if (h->booted && sim_clock(w, h) >= lease)
        h->unleased_since = w->now;
    if (!h->on || !h->booted || !h->watchdog || check_host_empty(h))
        return;
    if (h->frozen_life == h->life + 1 && !h->armed)
        return; /* frozen, or thawed and without a lease since: the facts know that it is not armed */
    if (w->now > check_granted(w, h) + SIM_MS(t->lease + t->watchdog) + SIM_MS(1500))
        sim_violate(w, SIM_SAFETY, 9, "%s is not empty %lld ms after its last granted beat",
                    h->name, (long long)(w->now - check_granted(w, h)) / 1000);
}

/* ------------------------------------------------------------------------------- 12, 13: fences */

static void check_12_quorate(struct sim_world *w, const struct sim_host *h,
                             const struct sim_fence *f, const char *when)
{
    unsigned members = (unsigned)__builtin_popcount(h->told_members);
    bool majority = w->config->mode == HA_MODE_FENCE_ONLY || members * 2 > w->nhosts;
    if (!h->told_quorate || h->told_ring.seq != h->told_verdict_ring.seq || !majority)
        sim_violate(w, SIM_SAFETY, 12, "%s: fence of %s %s without quorum", h->name,
                    w->hosts[f->target].name, when);
}

static void check_12_stable_loss(struct sim_world *w, const struct sim_host *h,
                                 const struct sim_fence *f)
{
    enum ha_host_state state;
    struct ha_uuid boot;
    uint32_t loss;
    const struct sim_host *t = &w->hosts[f->target];
    if (w->config->mode == HA_MODE_FENCE_ONLY)
        return; /* rule 26: half of the voters launch on their own journal */
    bool known = ha_stable_host(h->ha, t->node, &state, &boot, &loss) == 0;
    if (!known || (state != HA_HOST_LOST && state != HA_HOST_FENCING) || loss != f->loss ||
        !check_same(&boot, &f->boot))
        sim_violate(w, SIM_SAFETY, 12, "%s: fence of %s without a stable loss of that life",
                    h->name, t->name);
}

static void check_12_held_off(struct sim_world *w, const struct sim_host *h,
                              const struct sim_fence *f)
{
    if (w->now < h->quorum_gained + SIM_MS(w->config->timers.settle) - SIM_MS(5))
        sim_violate(w, SIM_SAFETY, 12, "%s: fence of %s %lld ms after quorum was gained", h->name,
                    w->hosts[f->target].name, (long long)(w->now - h->quorum_gained) / 1000);
}

static void check_13_not_again(struct sim_world *w, const struct sim_host *h,
                               const struct sim_fence *f)
{
    const struct sim_host *t = &w->hosts[f->target];
    const struct check_life *life = check_find_life(w, t->node, &f->boot, f->loss);
    bool current = h->ring && h->ring->intact; /* or it cannot know */
    if (life && life->dead && current && !w->lied)
        sim_violate(w, SIM_SAFETY, 13, "%s: fence of %s, confirmed dead already", h->name, t->name);
}

void check_fence_requested(struct sim_world *w, const struct sim_host *h,
                           const struct sim_fence *fence)
{
    check_12_quorate(w, h, fence, "requested");
    check_12_stable_loss(w, h, fence);
    check_12_held_off(w, h, fence);
    check_13_not_again(w, h, fence);
}

/* A launch that waits for its delay is cancelled when the host is back (complaint 9). */
static void check_12_not_back(struct sim_world *w, const struct sim_host *h,
                              const struct sim_fence *f)
{
    bool ordered = false;
    unsigned flaps;
    (void)ha_stable_restraint(h->ha, w->hosts[f->target].node, &ordered, &flaps);
    if (h->told_members & 1u << f->target && !ordered)
        sim_violate(w, SIM_SAFETY, 12, "%s: fence of %s launched, which is back in the ring",
                    h->name, w->hosts[f->target].name);
}

void check_fence_launched(struct sim_world *w, const struct sim_host *h,
                          const struct sim_fence *fence)
{
    if (h->stuck || h->hung)
        return;
    /* a further call may begin while the verdict on a new ring is on its way */
    if (!fence->again || h->told_ring.seq == h->told_verdict_ring.seq)
        check_12_quorate(w, h, fence, "launched");
    check_12_not_back(w, h, fence);
    check_13_not_again(w, h, fence);
}

/* Rule 22: while a fence is live, no later life of its target is admitted, which it would hit. What
 * comes after its agent has answered, or whose launcher is out of touch, nobody can know. */
static void check_22_not_admitted(struct sim_world *w, const struct sim_host *t,
                                  const struct sim_fence *f)
{
    const struct sim_host *by = &w->hosts[f->by];
    enum ha_host_state state;
    struct ha_uuid boot;
    uint32_t loss;
    if (!t->on || !f->result || !by->ha || by->stuck || by->hung || by->daemon_life != f->daemon ||
        !(by->told_members & 1u << t->i) || !by->ring || !by->ring->intact)
        return;
    if (ha_stable_host(by->ha, t->node, &state, &boot, &loss) == 0 && state == HA_HOST_IN &&
        check_same(&boot, &t->boot) && !check_same(&boot, &f->boot))
        sim_violate(w, SIM_SAFETY, 22, "%s: its fence of %s hits a life that was admitted since",
                    by->name, t->name);
}

void check_fence_effect(struct sim_world *w, const struct sim_host *target,
                        const struct sim_fence *fence)
{
    if (fence)
        check_22_not_admitted(w, target, fence);
    if (w->nhosts != 2 || w->lied || w->device_trouble)
        return; /* turns cannot help when devices fail */
    const struct sim_host *other = &w->hosts[target->i ^ 1];
    if (!other->on && other->fenced_off && target->on)
        sim_violate(w, SIM_SAFETY, 13, "both of two hosts are off by fencing");
}

/* ------------------------------------------------------------------ 14, 15: it works, and says why
 */

static unsigned running(const struct sim_world *w, unsigned g)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->nhosts; i++)
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
            n += w->hosts[i].copies[k].id && w->hosts[i].copies[k].guest == (int)g &&
                 w->hosts[i].copies[k].state == HA_COPY_RUNNING;
    return n;
}

/* What is not well yet; false if nothing. */
static bool not_well(const struct sim_world *w, char *ret, size_t size)
{
    struct ha_status st;
    const struct sim_host *chair = NULL;
    for (unsigned i = 0; i < w->nhosts; i++) {
        const struct sim_host *h = &w->hosts[i];
        if (!h->ha) {
            snprintf(ret, size, "no daemon on %s (on %d booted %d)", h->name, h->on, h->booted);
            return true;
        }
        ha_status(h->ha, sim_clock(w, h), &st);
        if (!st.synced || st.phase != HA_PHASE_OPEN) {
            snprintf(ret, size, "%s is %s, synced %d: %s", h->name, ha_phase_name(st.phase),
                     st.synced, st.sentence);
            return true;
        }
        if (st.coordinator == h->node)
            chair = h;
    }
    if (!chair) {
        snprintf(ret, size, "no coordinator");
        return true;
    }
    ha_status(chair->ha, sim_clock(w, chair), &st);
    for (size_t i = 0; i < st.nhosts; i++) {
        struct ha_host_status hs;
        ha_status_host(chair->ha, sim_clock(w, chair), i, &hs);
        if (hs.state != HA_HOST_IN || hs.maintenance) {
            snprintf(ret, size, "%s is %s: %s", hs.name, ha_host_state_name(hs.state), hs.why);
            return true;
        }
    }
    for (size_t i = 0; i < st.nguests; i++) {
        struct ha_guest_status gs;
        ha_status_guest(chair->ha, sim_clock(w, chair), i, &gs);
        int g = sim_guest_index(w, gs.name);
        if (g < 0 || w->guests[g].by_hand)
            continue;
        unsigned n = running(w, (unsigned)g),
                 want = gs.enabled && gs.want_run && !gs.external && !gs.failed && !gs.quarantined;
        if (n == 0 && w->setup->scarce)
            continue; /* there is not always room for all */
        if (n != want) {
            snprintf(ret, size, "%s runs %u times, wanted %u; %s on %u: %s", gs.name, n, want,
                     ha_guest_state_name(gs.state), gs.owner, gs.why);
            return true;
        }
    }
    const char *order = check_16_order(w, chair);
    if (order)
        snprintf(ret, size, "%s waits for room that a less important guest has", order);
    return order != NULL;
}

/* Rule 24: a device said off, and the same life came back: somebody must be told. */
static void check_24_alarm(struct sim_world *w)
{
    if (w->needs_alarm && !w->distrusted)
        sim_violate(w, SIM_SAFETY, 8, "a device lied and nobody was told to distrust it");
}

/* What is not a fault but an operator's wish has an end, too. */
static void end_maintenance(struct sim_world *w)
{
    struct ha_status st;
    for (unsigned i = 0; i < w->nhosts && w->checks % 8 == 0; i++) {
        struct sim_host *h = &w->hosts[i];
        if (!h->ha || h->stuck || !sim_awake(h))
            continue;
        ha_status(h->ha, sim_clock(w, h), &st);
        if (st.phase == HA_PHASE_OPEN && st.coordinator == h->node)
            sim_plan_end_maintenance(w, h);
    }
}

static void check_14_progress(struct sim_world *w)
{
    char why[500];
    if (!w->healing)
        return;
    if (not_well(w, why, sizeof(why))) {
        w->good_since = -1;
        end_maintenance(w);
        return;
    }
    if (w->good_since < 0)
        w->good_since = w->now;
    if (w->now - w->good_since > SIM_MS(3000)) {
        check_24_alarm(w);
        w->stop = true;
    }
}

void check_end(struct sim_world *w)
{
    char why[500];
    check_24_alarm(w);
    if (not_well(w, why, sizeof(why)))
        sim_violate(w, SIM_LIVENESS, 14, "%lld s after all faults ended: %s",
                    (long long)(w->now - w->heal_at) / 1000000, why);
}

static void check_15_reason(struct sim_world *w, struct sim_host *h)
{
    struct ha_status st;
    if (!h->ha || h->stuck || !sim_awake(h))
        return;
    ha_status(h->ha, sim_clock(w, h), &st);
    if (st.sentence[0] == '\0')
        sim_violate(w, SIM_SAFETY, 15, "%s cannot say what it does", h->name);
    for (size_t i = 0; i < st.nguests; i++) {
        struct ha_guest_status gs;
        ha_status_guest(h->ha, sim_clock(w, h), i, &gs);
        int g = sim_guest_index(w, gs.name);
        if (g < 0)
            continue;
        bool blocked = gs.enabled && gs.want_run && gs.state == HA_GUEST_FREE &&
                       !running(w, (unsigned)g) && gs.why[0] == '\0';
        if (!blocked)
            h->blocked_since[g] = 0;
        else if (!h->blocked_since[g])
            h->blocked_since[g] = w->now;
        else if (w->now - h->blocked_since[g] > SIM_MS(10000))
            sim_violate(w, SIM_SAFETY, 15, "%s has no reason why %s does not run", h->name,
                        gs.name);
    }
}

void check_now_and_then(struct sim_world *w)
{
    for (unsigned i = 0; i < w->nhosts; i++) {
        check_09_unleased_dies(w, &w->hosts[i]);
        check_09_diskless_dies(w, &w->hosts[i]);
        check_09_no_lease_after_death(w, &w->hosts[i]);
        check_05_left_is_new(w, &w->hosts[i]);
    }
    check_14_open(w);
    w->checks++;
    check_15_reason(w, &w->hosts[w->checks % w->nhosts]);
    check_14_progress(w);
    sim_schedule(w, w->now + SIM_MS(500), SIM_EV_CHECK, 0, 0, 0);
}
