/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol's rules that can be seen directly in one core or keeper: each would end in a broken
 * invariant sooner or later, with luck; seen here it needs none. */
#include <string.h>

#include "check.h"

static bool told_quorate(const struct sim_host *h)
{
    return h->told_quorate && h->told_ring.seq && h->told_ring.seq == h->told_verdict_ring.seq &&
           h->told_ring.node == h->told_verdict_ring.node;
}

static bool told_unquorate(const struct sim_host *h)
{
    return !h->told_quorate && h->told_ring.seq == h->told_verdict_ring.seq;
}

/* A verdict counts only for the ring that it came with. */
static void rule_verdict(struct sim_world *w, const struct sim_host *h, const struct ha_status *st)
{
    if (st->quorate && !told_quorate(h))
        sim_violate(w, SIM_SAFETY, 12, "%s takes itself for quorate by the verdict of another ring",
                    h->name);
}

/* Rule 1: what closes a view. */
static void rule_close(struct sim_world *w, const struct sim_host *h, const struct ha_status *st,
                       enum ha_event_type event)
{
    if (st->phase != HA_PHASE_OPEN)
        return;
    if (event == HA_EV_RING)
        sim_violate(w, SIM_SAFETY, 5, "%s: a ring change did not close the view", h->name);
    int chair = sim_host_index(w, st->coordinator);
    if (event != HA_EV_GROUP && chair >= 0 && h->told_group[chair] == 0)
        sim_violate(w, SIM_SAFETY, 5, "%s: the view is open and its coordinator's process left",
                    h->name);
}

/* Rule 5: an epoch is never followed by a lower one. */
static void rule_promise(struct sim_world *w, struct sim_host *h, const struct ha_status *st)
{
    struct ha_epoch e = st->epoch, m = h->max_epoch;
    if (st->phase < HA_PHASE_OPENING || e.number == 0)
        return;
    if (e.number < m.number || (e.number == m.number && e.node < m.node))
        sim_violate(w, SIM_SAFETY, 5, "%s went from epoch %llu.%u back to %llu.%u", h->name,
                    (unsigned long long)m.number, m.node, (unsigned long long)e.number, e.node);
    h->max_epoch = e;
}

/* Rule 7: only facts of the present epoch become stable by counting. */
static void rule_stable_epoch(struct sim_world *w, const struct sim_host *h,
                              const struct ha_status *st)
{
    if (st->stable.i <= h->seen_stable.i || st->phase < HA_PHASE_OPENING)
        return;
    if (st->stable.i <= w->stable_i) /* stable elsewhere before: it may come in a snapshot */
        return;
    w->stable_i = st->stable.i;
    if (st->stable.e.number != st->epoch.number || st->stable.e.node != st->epoch.node)
        sim_violate(w, SIM_SAFETY, 4,
                    "%s: a fact of epoch %llu.%u became stable by acks of %llu.%u", h->name,
                    (unsigned long long)st->stable.e.number, st->stable.e.node,
                    (unsigned long long)st->epoch.number, st->epoch.node);
}

/* No facts without quorum; what was on its way may still arrive. */
static void rule_quorum(struct sim_world *w, struct sim_host *h, const struct ha_status *st)
{
    if (!told_unquorate(h))
        h->unquorate_since = 0;
    else if (!h->unquorate_since)
        h->unquorate_since = w->now;
    bool chair = st->phase == HA_PHASE_OPEN && st->coordinator == h->node;
    bool grew = st->head.i > h->seen_head.i && st->head.e.number == h->seen_head.e.number;
    bool late = !h->ring || !h->ring->intact || w->now - h->ring->intact_since < SIM_MS(500) ||
                h->slow_net || h->hold_rx || h->hold_tx || w->now - h->stuck_at < SIM_MS(1000);
    if (chair && grew && !late && h->unquorate_since && w->now - h->unquorate_since > SIM_MS(500))
        sim_violate(w, SIM_SAFETY, 12, "%s changes facts without quorum", h->name);
}

void check_rules_after_step(struct sim_world *w, struct sim_host *h, const struct ha_status *st,
                            enum ha_event_type event)
{
    rule_verdict(w, h, st);
    rule_close(w, h, st, event);
    rule_promise(w, h, st);
    rule_stable_epoch(w, h, st);
    rule_quorum(w, h, st);
}

/* Rule 2: whoever left is another member when it returns. */
void check_note_left(struct sim_world *w, struct sim_host *h, const struct sim_conf *c)
{
    struct ha_status st;
    if (c->nleft == 0)
        return;
    ha_status(h->ha, sim_clock(w, h), &st);
    for (size_t k = 0; k < c->nleft; k++)
        if (c->left[k].reason == HA_LEFT_PROCESS)
            h->left_in[sim_host_index(w, c->left[k].process.node)] = st.epoch;
}

void check_05_left_is_new(struct sim_world *w, const struct sim_host *h)
{
    struct ha_status st;
    if (!h->ha || h->stuck || !sim_awake(h))
        return;
    ha_status(h->ha, sim_clock(w, h), &st);
    for (size_t i = 0; i < st.nhosts && st.phase == HA_PHASE_OPEN; i++) {
        struct ha_host_status hs;
        ha_status_host(h->ha, sim_clock(w, h), i, &hs);
        int x = sim_host_index(w, hs.node);
        if (x >= 0 && hs.synced && h->left_in[x].number == st.epoch.number &&
            h->left_in[x].node == st.epoch.node)
            sim_violate(w, SIM_SAFETY, 5, "%s counts %s, whose process left in this epoch", h->name,
                        hs.name);
    }
}

/* ---------------------------------------------------------------------------- proofs of death */

void check_note_ok(struct sim_world *w, const struct sim_fence *f)
{
    struct sim_ledger *l = w->ledger;
    *CHECK_PUSH(l->oks, l->noks, l->sizeoks) = (struct check_life){
        .node = w->hosts[f->target].node, .boot = f->boot, .loss = f->loss, .by_device = !f->pill};
}

bool check_device_said(const struct sim_world *w, ha_node node, const struct ha_uuid *boot,
                       uint32_t loss, bool device)
{
    const struct sim_ledger *l = w->ledger;
    for (size_t k = 0; k < l->noks; k++)
        if ((l->oks[k].by_device || !device) && l->oks[k].node == node && l->oks[k].loss == loss &&
            check_same(&l->oks[k].boot, boot))
            return true;
    return false;
}

/* X + W + margin after the last beat that can have granted it anything. */
static bool bound_passed(const struct sim_world *w, const struct sim_host *t)
{
    const struct ha_host_config *c = &w->config->hosts[t->i];
    const struct ha_timers *m = &w->config->timers;
    if (w->config->mode != HA_MODE_MAJORITY || w->config->suspendable_hosts || !t->watchdog)
        return false;
    for (size_t k = 0; k < c->nlevels; k++)
        if (c->levels[k].kind == HA_FENCE_SELF)
            return w->now >=
                   check_granted(w, t) + SIM_MS(m->lease + m->watchdog + m->margin) - SIM_MS(50);
    return false;
}

void check_08_proven(struct sim_world *w, const struct sim_host *h, const struct sim_host *t,
                     const struct ha_uuid *boot, uint32_t loss)
{
    bool same_life = check_same(&t->boot, boot);
    if (check_device_said(w, t->node, boot, loss, false) || w->confirmed & 1u << t->i || w->lied)
        return;
    if (!same_life || bound_passed(w, t))
        return;
    sim_violate(w, SIM_SAFETY, 8, "%s holds %s confirmed dead (loss %u) without any proof", h->name,
                t->name, loss);
}

/* Rule 21: a life that was cut off gets no lease before the facts admit it again. */
void check_09_no_lease_after_death(struct sim_world *w, const struct sim_host *h)
{
    const struct sim_ledger *l = w->ledger;
    if (!h->booted || !h->keeper || w->lied || ha_keeper_lease(&h->k) <= sim_clock(w, h))
        return;
    for (size_t k = 0; k < l->nlives; k++) {
        const struct check_life *life = &l->lives[k];
        if (life->dead && !life->back && life->node == h->node && check_same(&life->boot, &h->boot))
            sim_violate(w, SIM_SAFETY, 9, "%s was confirmed dead and holds a lease again", h->name);
    }
}

/* --------------------------------------------------------------------------------- migrations */

static struct check_mig *mig_of(struct sim_world *w, uint64_t id)
{
    struct sim_ledger *l = w->ledger;
    for (size_t k = 0; k < l->nmigs; k++)
        if (l->migs[k].id == id)
            return &l->migs[k];
    struct check_mig *m = CHECK_PUSH(l->migs, l->nmigs, l->sizemigs);
    *m = (struct check_mig){.id = id, .guest = -1, .target = -1, .source = -1};
    return m;
}

/* A stable fact about a migration was reported: which are live, by this core's stable facts? */
void check_note_migrations(struct sim_world *w, const struct sim_host *h, uint64_t index)
{
    struct sim_ledger *l = w->ledger;
    struct ha_status st;
    ha_status(h->ha, sim_clock(w, h), &st);
    for (size_t i = 0; i < st.nguests; i++) {
        struct ha_guest_status gs;
        ha_status_guest(h->ha, sim_clock(w, h), i, &gs);
        int g = sim_guest_index(w, gs.name);
        if (gs.mig) {
            struct check_mig *m = mig_of(w, gs.mig);
            m->guest = g;
            m->live = true;
            if (index > m->live_at)
                m->live_at = index;
        }
        for (size_t k = 0; k < l->nmigs; k++)
            if (l->migs[k].guest == g && l->migs[k].id != gs.mig && l->migs[k].live_at < index)
                l->migs[k].decided = true;
    }
}

/* Nothing of a migration is done before its fact is stable. */
void check_03_migration_stable(struct sim_world *w, const struct sim_host *h,
                               const struct sim_work *work)
{
    if (!mig_of(w, work->mig)->live)
        sim_violate(w, SIM_SAFETY, 3, "%s: %s of %s for migration %llu, which is not stable",
                    h->name, ha_op_name(work->what), w->guests[work->guest].name,
                    (unsigned long long)work->mig);
}

void check_10_one_verdict(struct sim_world *w, const struct sim_host *h, uint64_t id, bool target)
{
    struct check_mig *m = mig_of(w, id);
    if (w->lied)
        return;
    if (!m->decided)
        sim_violate(w, SIM_SAFETY, 10, "%s %s a copy of migration %llu, which is not decided",
                    h->name, target ? "unpauses" : "resumes", (unsigned long long)id);
    *(target ? &m->target : &m->source) = h->i;
    if (m->target >= 0 && m->source >= 0)
        sim_violate(w, SIM_SAFETY, 10, "migration %llu: %s unpaused and %s resumed",
                    (unsigned long long)id, w->hosts[m->target].name, w->hosts[m->source].name);
}

/* Rule 15: the source acknowledged, or is confirmed dead; lost and up is neither. A commit that was
 * made before the loss and became stable with it is fine: the source cannot resume. */
static bool lost_before(const struct sim_world *w, const struct sim_host *o,
                        const struct check_mig *m)
{
    const struct check_life *life = check_find_life(w, o->node, &o->boot, 0);
    return life && life->lost && !life->dead && life->lost_at <= m->live_at;
}

void check_07_source_sure(struct sim_world *w, const struct sim_host *h,
                          const struct sim_work *work, uint64_t mig)
{
    const struct check_mig *m = mig_of(w, mig);
    for (unsigned i = 0; i < w->nhosts && h->ha && !w->lied; i++)
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
            const struct sim_host *o = &w->hosts[i];
            const struct sim_copy *c = &o->copies[k];
            enum ha_host_state state;
            struct ha_uuid boot;
            uint32_t loss;
            if (!c->id || i == h->i || c->guest != work->guest || c->state != HA_COPY_SUSPENDED ||
                c->mig != mig || ha_stable_host(h->ha, o->node, &state, &boot, &loss) < 0 ||
                !check_same(&boot, &o->boot) || !lost_before(w, o, m))
                continue;
            if (state == HA_HOST_LOST || state == HA_HOST_FENCING)
                sim_violate(w, SIM_SAFETY, 7,
                            "%s unpauses %s while %s, which is lost and not confirmed, holds it",
                            h->name, w->guests[work->guest].name, o->name);
        }
}

/* A prepared copy of a live migration is nobody's left-over. */
void check_11_prepared_kept(struct sim_world *w, const struct sim_host *h,
                            const struct sim_work *work)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
        const struct sim_copy *c = &h->copies[k];
        if (!c->id || c->guest != work->guest || !c->restored || c->state != HA_COPY_PAUSED ||
            (work->inc && c->inc != work->inc))
            continue;
        const struct check_mig *m = mig_of(w, c->mig);
        bool leased = h->keeper && ha_keeper_lease(&h->k) > sim_clock(w, h) &&
                      w->now - h->unleased_since > SIM_MS(5000);
        if (m->live && !m->decided && leased && !h->shutdown)
            sim_violate(w, SIM_SAFETY, 11, "%s destroys its prepared copy of %s", h->name,
                        w->guests[work->guest].name);
    }
}

/* ---------------------------------------------------------------------------------- progress */

static bool healthy(const struct sim_host *h)
{
    return h->ha && h->joined && !h->stuck && sim_awake(h) && !h->cs_frozen && h->keeper &&
           !h->slow_net && !h->hold_tx && !h->hold_rx && !h->journal.broken &&
           h->journal_slow < 4000 && !h->verdict_ms && told_quorate(h) && !h->shutdown &&
           h->journal.n > 0;
}

/* A majority of healthy daemons in a quiet ring has a coordinator, whatever the others do. */
void check_14_open(struct sim_world *w)
{
    unsigned n = 0;
    int patience_s = 45;
    bool open = false;
    const struct sim_ring *ring = NULL;
    uint64_t mark = w->disturbed;
    for (unsigned i = 0; i < w->nhosts; i++) {
        const struct sim_host *h = &w->hosts[i];
        struct ha_status st;
        if (!healthy(h) || (ring && h->ring != ring))
            continue;
        ring = h->ring;
        n++;
        if (h->journal_slow)
            patience_s = 120;
        ha_status(h->ha, sim_clock(w, h), &st);
        open |= st.phase == HA_PHASE_OPEN || !st.founded;
    }
    bool majority = n * 2 > w->nhosts && ring && ring->intact;
    if (!majority || open || w->open_mark != mark || w->config->mode == HA_MODE_FENCE_ONLY) {
        w->open_mark = mark;
        w->closed_since = w->now;
        return;
    }
    if (w->now - w->closed_since > SIM_MS(patience_s * 1000))
        sim_violate(w, SIM_LIVENESS, 14,
                    "%u healthy daemons in a quiet ring have no coordinator for %d s", n,
                    patience_s);
}
