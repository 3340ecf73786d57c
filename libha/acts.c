/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host does with its guests. Every act reads the stable facts only (rule 8), begins only under
 * the lease, and what ended is told (rules 10, 13, 14, 16, 18). */
#include "core.h"

#include <stdlib.h>
#include <string.h>

enum {
    OP_TIMEOUT = 120000,
    DUMP_TIMEOUT = 600000,
    MOVE_TIMEOUT = 3600000,
    RETRY = 1000,
    HEAR_OUT = 200,
};

/* The facts an act may read: stable, unless a mutant says otherwise. */
static const struct ha_guest_fact *fact_for(const struct ha *ha, uint32_t i, bool guarded)
{
    const struct ha_facts *f = guarded ? &ha->stable : &ha->log.head;
    return i < f->nguests ? &f->guests[i] : NULL;
}

/* A daemon that was stopped for a while first hears its keeper out: the lease may have gone on. */
static bool lapsed(const struct ha *ha)
{
    return !ha->frozen && ha->lapse_noticed && ha->now >= ha->lapse_noticed + HEAR_OUT;
}

static void notice_lapse(struct ha *ha)
{
    if (ha->frozen) {
        ha->lapse_noticed = 0;
        return;
    }
    if (ha->now < ha->lapse_at)
        ha->lapse_noticed = 0;
    else if (!ha->lapse_noticed)
        ha->lapse_noticed = ha->now;
    ha_ms next = ha->lapse_noticed ? ha->lapse_noticed + HEAR_OUT : ha->lapse_at;
    if (next > ha->now)
        ha_wake(ha, next);
}

static bool lease(const struct ha *ha)
{
    return !HA_GUARD(ha, LEASE_UNPAUSE) || (ha->keeper && ha->now < ha->lease_until);
}

/* Before anything comes to life here, the keeper must have stopped to believe that we are empty. */
static bool may_fill(struct ha *ha)
{
    ha->busy = true;
    return ha->keeper && !ha->orders.empty && ha->keeper_applied >= ha->nonempty_seq;
}

static struct ha_action *start_op(struct ha *ha, uint32_t i, enum ha_op what,
                                  const struct ha_guest_fact *g, uint64_t inc)
{
    struct ha_local *l = &ha->locals[i];
    struct ha_action *a = ha_act(ha, HA_ACT_GUEST);
    if (!a)
        return NULL;
    l->op = ++ha->next_op;
    l->op_what = what;
    l->op_inc = inc;
    l->op_mig = g->mig;
    l->op_cancelled = false;
    if (what == HA_OP_CREATE)
        l->error[0] = '\0'; /* of an earlier incarnation */
    l->changed_at = ha->now;
    a->u.guest.op = l->op;
    a->u.guest.what = what;
    ha_name_copy(a->u.guest.guest, g->name);
    a->u.guest.inc = inc;
    a->u.guest.timeout_ms = OP_TIMEOUT;
    a->u.guest.def = what == HA_OP_CREATE ? g->def : (struct ha_uuid){{0}};
    bool fills = what == HA_OP_CREATE || what == HA_OP_UNPAUSE || what == HA_OP_RESUME ||
                 what == HA_OP_RECEIVE;
    a->u.guest.until = fills && HA_GUARD(ha, LEASE_UNPAUSE) ? ha->lease_until : 0;
    if (what == HA_OP_SEND || what == HA_OP_RECEIVE) {
        a->u.guest.mig = g->mig;
        a->u.guest.peer = what == HA_OP_SEND ? g->mig_host : g->owner;
        a->u.guest.kind = (enum ha_move_kind)g->mig_kind;
        a->u.guest.timeout_ms = MOVE_TIMEOUT;
    }
    ha_report(ha, HA_REPORT_GUEST_ACT, HA_SEV_DEBUG, ha->self, g->name, "%s %s (incarnation %lu)",
              ha_op_name(what), g->name, (unsigned long)inc);
    return a;
}

static void cancel_op(struct ha *ha, struct ha_local *l)
{
    struct ha_action *a = l->op_cancelled ? NULL : ha_act(ha, HA_ACT_GUEST_CANCEL);
    if (!a)
        return;
    l->op_cancelled = true;
    a->u.cancel.id = l->op;
}

/* Rule 10: an incarnation is created at most once; remembered before it happens. */
static void mark(struct ha *ha, uint32_t i, const char *name, uint64_t inc)
{
    struct ha_local *l = &ha->locals[i];
    struct ha_action *a = ha_act(ha, HA_ACT_MARK);
    if (!a)
        return;
    l->marked = inc > l->marked ? inc : l->marked;
    ha_name_copy(a->u.mark.guest, name);
    a->u.mark.inc = inc;
}

/* A member is heard from its report on. */
static bool may_tell(const struct ha *ha)
{
    return ha->opened && !ha->closed && ha->phase >= HA_PHASE_OPENING && !ha->report_due;
}

static void tell(struct ha *ha, uint32_t i, enum ha_tell_kind kind, uint64_t inc, uint64_t mig,
                 uint8_t how)
{
    struct ha_local *l = &ha->locals[i];
    if (!may_tell(ha))
        return;
    if (l->told_valid && l->told.kind == kind && l->told.inc == inc && l->told.mig == mig &&
        l->told.how == how)
        return;
    l->told = (struct ha_tell){.kind = kind, .guest = i, .inc = inc, .mig = mig, .how = how};
    l->told_valid = true;
    ha_tell_send(ha, &l->told);
}

/* Rule 10: told stopped burns the incarnation on this host, before it is sent. */
static void tell_stopped(struct ha *ha, uint32_t i, uint64_t inc)
{
    struct ha_local *l = &ha->locals[i];
    uint8_t how = HA_RELEASE_CRASH;
    if (l->release && l->release_inc == inc)
        how = l->release;
    if (inc > l->burned)
        l->burned = inc;
    ha_stop_over(ha, i);
    l->told_copy = false;
    tell(ha, i, HA_TELL_STOPPED, inc, 0, how);
}

static void destroy(struct ha *ha, uint32_t i, const struct ha_guest_fact *g, uint8_t release)
{
    struct ha_local *l = &ha->locals[i];
    if (l->copy.state == HA_COPY_DYING || ha->now < l->retry_at) {
        ha_wake(ha, l->retry_at > ha->now ? l->retry_at : INT64_MAX);
        return;
    }
    if (release) {
        l->release = release;
        l->release_inc = l->copy.inc;
    }
    struct ha_action *a = start_op(ha, i, HA_OP_DESTROY, g, l->copy.inc);
    if (a && release == HA_RELEASE_PROBE && ha_dump_first(ha, i, release)) {
        a->u.guest.dump = true;
        a->u.guest.timeout_ms = DUMP_TIMEOUT;
    }
}

void ha_act_destroy(struct ha *ha, uint32_t i, const struct ha_guest_fact *g, uint8_t release)
{
    destroy(ha, i, g, release);
}

void ha_act_shutdown(struct ha *ha, uint32_t i, const struct ha_guest_fact *g, ha_ms limit)
{
    struct ha_action *a = start_op(ha, i, HA_OP_SHUTDOWN, g, ha->locals[i].copy.inc);
    if (a && limit < a->u.guest.timeout_ms)
        a->u.guest.timeout_ms = limit;
}

bool ha_may_tell(const struct ha *ha)
{
    return may_tell(ha);
}

/* Somebody else is its captain: tagged where it runs, ended with the lease, else left alone. */
static bool external(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    return c && c->external;
}

/* Not to be stopped, given back, or moved by stop and start. */
static bool keep_running(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    if (external(ha, i))
        return true;
    return ha_wanted(g) && !g->recall && !g->preempted && !ha->leaving;
}

/* ------------------------------------------------------------------ a guest that we own: no copy */

static void act_create(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    const struct ha_guest_fact *g = fact_for(ha, i, HA_GUARD(ha, STABLE_ASSIGN));
    /* What was started by hand and has no tag yet is not seen by who does not know the guest: that it
     * is gone, nobody can tell (scenario unknown-while-adopted). */
    if (ha_knows_unseen(ha, i, g)) {
        ha_say(l->error, sizeof l->error, "this host's configuration does not have it");
        return;
    }
    bool once = l->marked >= g->inc || l->burned >= g->inc;
    if (!HA_GUARD(ha, INC_ONCE))
        once = false;
    if (once || g->by_mig || g->by_adopt) {
        tell_stopped(ha, i, g->inc);
        return;
    }
    if (!keep_running(ha, i, g)) { /* never created: given back */
        l->release = HA_RELEASE_STOPPED;
        l->release_inc = g->inc;
        tell_stopped(ha, i, g->inc);
        return;
    }
    if (g->mig || !lease(ha) || ha->now < l->retry_at)
        return;
    /* the newest log must not say otherwise already */
    const struct ha_guest_fact *newest = fact_for(ha, i, false);
    if (!newest || newest->inc != g->inc || !ha_is_me(ha, newest->owner, &newest->boot))
        return;
    if (!may_fill(ha))
        return;
    mark(ha, i, g->name, g->inc);
    start_op(ha, i, HA_OP_CREATE, g, g->inc);
}

/* ------------------------------------------------------------------------- and with a copy of it */

static void act_unpause(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    if (!keep_running(ha, i, g)) {
        destroy(ha, i, g, HA_RELEASE_STOPPED);
        return;
    }
    struct ha_local *l = &ha->locals[i];
    if (l->release == HA_RELEASE_START_FAILED && l->release_inc == g->inc) {
        destroy(ha, i, g, HA_RELEASE_START_FAILED);
        return;
    }
    if (lease(ha) && may_fill(ha) && ha->now >= l->retry_at)
        start_op(ha, i, HA_OP_UNPAUSE, g, g->inc);
}

/* Rule 16: owner, this incarnation, and the stable log says that the id is not live. One that is only
 * recalled resumes, too: it is to be shut down properly, not pulled out of its sleep and killed. */
static void act_resume(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    if (!ha_wanted(g) || ha->leaving)
        destroy(ha, i, g, HA_RELEASE_STOPPED);
    else if (lease(ha) && may_fill(ha) && ha->now >= l->retry_at)
        start_op(ha, i, HA_OP_RESUME, g, g->inc);
}

static void act_running(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    const struct ha_guest_fact *m = fact_for(ha, i, HA_GUARD(ha, ACT_TENTATIVE));
    if (m->mig && ha_is_me(ha, m->owner, &m->boot)) {
        if (l->mig_tried != m->mig) {
            l->mig_tried = m->mig;
            start_op(ha, i, HA_OP_SEND, m, m->inc);
        } else if (l->mig_failed == m->mig) {
            tell(ha, i, HA_TELL_MIG_FAILED, 0, m->mig, HA_COPY_RUNNING);
        }
        return;
    }
    if (!keep_running(ha, i, g)) {
        ha_stop(ha, i, g);
        return;
    }
    ha_stop_over(ha, i);
    if (!ha->frozen && !external(ha, i) && ha_probes_gave_up(ha, i)) {
        destroy(ha, i, g, HA_RELEASE_PROBE);
        return;
    }
    if (g->state == HA_GUEST_STARTING || g->state == HA_GUEST_ARRIVED)
        tell(ha, i, HA_TELL_RUNNING, g->inc, 0, 0);
}

static void act_owned(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    if (external(ha, i) && l->copy.state != HA_COPY_RUNNING)
        return; /* paused, or on its way by its captain's will */
    switch (l->copy.state) {
    case HA_COPY_PAUSED:
        act_unpause(ha, i, g);
        break;
    case HA_COPY_RUNNING:
        act_running(ha, i, g);
        break;
    case HA_COPY_SUSPENDED: {
        const struct ha_guest_fact *m = fact_for(ha, i, HA_GUARD(ha, STABLE_ABORT));
        if (m->mig && l->copy.mig == m->mig) {
            if (l->mig_failed == m->mig)
                tell(ha, i, HA_TELL_MIG_FAILED, 0, m->mig, 0);
        } else if (ha_is_me(ha, m->owner, &m->boot) && m->inc == l->copy.inc) {
            act_resume(ha, i, g);
        }
        break;
    }
    case HA_COPY_DYING:
        break;
    }
}

/* Adopt: write our incarnation on the copy that was found. */
static void act_adopt(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    if (l->copy.state != HA_COPY_RUNNING && external(ha, i)) {
        l->release = HA_RELEASE_OTHER; /* when it runs again it is told again */
        l->release_inc = g->inc;
        tell_stopped(ha, i, g->inc);
        return;
    }
    if (l->copy.state != HA_COPY_RUNNING) {
        destroy(ha, i, g, HA_RELEASE_CRASH); /* it stopped running meanwhile */
        return;
    }
    if (ha->now >= l->retry_at && lease(ha) && may_fill(ha)) {
        mark(ha, i, g->name, g->inc);
        start_op(ha, i, HA_OP_TAG, g, g->inc);
    }
}

/* ---------------------------------------------------------------------- copies that are not ours */

static void act_target(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    if (l->have) {
        bool there = l->copy.state == HA_COPY_PAUSED && l->copy.mig == g->mig && !l->copy.worker;
        if (there && !HA_GUARD(ha, PREPARED))
            destroy(ha, i, g, 0);
        else if (there && !l->unsure)
            tell(ha, i, HA_TELL_PREPARED, g->mig_inc, g->mig, 0);
        else if (l->copy.mig != g->mig && l->copy.inc &&
                 (l->copy.inc < g->inc || l->copy.mig < g->mig))
            destroy(ha, i, g, 0); /* left over from an earlier life, or an earlier move */
        else if (!l->copy.inc)
            tell(ha, i, HA_TELL_MIG_FAILED, 0, g->mig, 0); /* started by hand here */
        return;
    }
    if (l->mig_tried == g->mig || l->marked >= g->mig_inc || !g->owner || ha->leaving) {
        tell(ha, i, HA_TELL_MIG_FAILED, 0, g->mig, 0);
        return;
    }
    if (!lease(ha) || !may_fill(ha))
        return;
    l->mig_tried = g->mig;
    mark(ha, i, g->name, g->mig_inc);
    start_op(ha, i, HA_OP_RECEIVE, g, g->mig_inc);
}

/* What was started by hand and has ended has its backends open still: until they are closed, the guest
 * must not be started elsewhere. For tagged copies that is told otherwise. */
static void tell_remains(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    if (l->copy.inc || !HA_GUARD(ha, HAND_REMAINS))
        return;
    l->told_copy = true;
    tell(ha, i, HA_TELL_COPY, 0, 0, HA_COPY_DYING);
}

/* Rule 13. */
static void act_stranger(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    const struct ha_copy *c = &l->copy;
    if (c->state == HA_COPY_DYING) {
        tell_remains(ha, i);
        return;
    }
    bool leftover = c->inc && c->inc < g->inc;
    if (leftover && c->state == HA_COPY_SUSPENDED && g->state == HA_GUEST_ARRIVED)
        return; /* a committed source: until the target told running or failed */
    bool refused = c->inc > g->inc && c->mig && c->state == HA_COPY_PAUSED && g->mig != c->mig &&
                   c->mig < ha->stable.next_mig; /* its migration was aborted */
    bool ownerless = c->inc && c->inc == g->inc && !g->owner;
    if (ownerless && (c->state != HA_COPY_RUNNING || !ha_wanted(g) || !HA_GUARD(ha, ADOPT)))
        leftover = true;
    if ((leftover || refused) && !external(ha, i)) {
        destroy(ha, i, g, 0);
        return;
    }
    bool ours = ha_is_me(ha, g->owner, &g->boot) && l->marked < g->inc && l->burned < g->inc;
    if (ours && g->state == HA_GUEST_STARTING && !g->by_adopt) {
        l->burned = g->inc; /* given back, to be adopted */
        l->told_copy = true;
        tell(ha, i, HA_TELL_STOPPED, g->inc, 0, HA_RELEASE_OTHER);
        return;
    }
    l->told_copy = true;
    tell(ha, i, HA_TELL_COPY, c->inc, 0, (uint8_t)c->state);
}

/* ------------------------------------------------------------------------------------- one guest */

static void act_under_way(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    bool move = l->op_what == HA_OP_SEND || l->op_what == HA_OP_RECEIVE;
    const struct ha_guest_fact *m = fact_for(ha, i, HA_GUARD(ha, ACT_TENTATIVE));
    /* decided meanwhile, our lease is gone, the source is gone for good, or goes down */
    bool died = l->op_what == HA_OP_SEND && (!l->have || l->copy.state == HA_COPY_DYING);
    bool over = l->op_what == HA_OP_SEND && ha_leave_moves_over(ha);
    if (move && m && (m->mig != l->op_mig || !m->owner || died || over || lapsed(ha)))
        cancel_op(ha, l);
}

/* A worker of an earlier daemon is still at it: waited for, unless it waits in vain. */
static void act_worker(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    bool incoming = l->copy.mig && l->copy.inc > g->inc && l->copy.mig < ha->stable.next_mig;
    bool in_vain = g->mig != l->copy.mig || !g->owner;
    if (ha->now < l->retry_at)
        return;
    if (incoming && in_vain) {
        start_op(ha, i, HA_OP_DESTROY, g, l->copy.inc);
    } else if (!g->mig &&
               (l->copy.state == HA_COPY_RUNNING || l->copy.state == HA_COPY_SUSPENDED)) {
        struct ha_action *a = ha_act(ha, HA_ACT_GUEST_CANCEL); /* it sends to nobody */
        if (a)
            ha_name_copy(a->u.cancel.guest, g->name);
        l->retry_at = ha->now + RETRY;
        ha_wake(ha, l->retry_at);
    }
}

/* A host that has lost the shared disk is a member like the others, and says what it holds no more.
 */
static void give_back(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    const struct ha_guest_fact *g = fact_for(ha, i, true);
    if (!g)
        return;
    if (ha_is_me(ha, g->left_host, &g->left_boot)) {
        l->told_copy = false;
        tell(ha, i, HA_TELL_VACATED, 0, 0, 0);
    } else if (g->mig && ha_is_me(ha, g->mig_host, &g->mig_boot)) {
        tell(ha, i, HA_TELL_MIG_FAILED, 0, g->mig, 0);
    } else if (ha_is_me(ha, g->owner, &g->boot)) {
        l->release = HA_RELEASE_LEASE;
        l->release_inc = g->inc;
        tell_stopped(ha, i, g->inc);
    } else if (l->told_copy) {
        l->told_copy = false;
        tell(ha, i, HA_TELL_GONE, 0, 0, 0);
    }
}

static void act_lapsed(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    bool ends = ha_ends_with_lease(ha, i);
    if (ends && l->copy.state != HA_COPY_DYING)
        destroy(ha, i, g, HA_RELEASE_LEASE);
    bool member = ha->stable_known && ha_settled(ha) && ha->inventory && !l->unsure;
    /* Who has looked says what it has seen, with a lease or without one (scenario hand-no-lease). */
    if (l->have && !ends && member && HA_GUARD(ha, HAND_LAPSED))
        act_stranger(ha, i, g);
    if (!l->have && member && ha->orders.disk == HA_DISK_ON && !ha_disk_ok(ha))
        give_back(ha, i);
}

static void act_guest(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    const struct ha_guest_fact *g = fact_for(ha, i, true);
    const struct ha_guest_fact *s = fact_for(ha, i, HA_GUARD(ha, STABLE_ASSIGN));
    const struct ha_guest_fact *c = fact_for(ha, i, HA_GUARD(ha, STABLE_COMMIT));
    if (!g)
        g = s ? s : fact_for(ha, i, false);
    if (!g)
        return;
    if (l->op && l->op_what == HA_OP_SHUTDOWN && lapsed(ha))
        l->op = 0; /* no time to wait for it: what follows is a destroy */
    if (l->op) {
        act_under_way(ha, i);
        return;
    }
    if (lapsed(ha)) {
        act_lapsed(ha, i, g);
        return;
    }
    if (ha->frozen || ha_leave_alone(ha, i, g))
        return;
    if (!ha->stable_known || !ha_settled(ha) || !ha->inventory || l->unsure)
        return;
    if (l->copy.worker && l->have) {
        act_worker(ha, i, g);
        return;
    }
    bool dying = l->have && l->copy.state == HA_COPY_DYING;
    if (!s)
        return; /* a guest whose registration is not stable is nobody's yet */
    if (dying && HA_GUARD(ha, BACKENDS_STOPPED)) {
        tell_remains(ha, i);
        return;
    }
    bool have = l->have && !dying;
    if (c && c->by_mig && have && c->inc == l->copy.inc && ha_is_me(ha, c->owner, &c->boot)) {
        act_owned(ha, i, c);
        return;
    }
    if (!have && ha_is_me(ha, g->left_host, &g->left_boot)) {
        l->told_copy = false;
        tell(ha, i, HA_TELL_VACATED, 0, 0, 0);
        return;
    }
    const struct ha_guest_fact *t = fact_for(ha, i, HA_GUARD(ha, ACT_TENTATIVE));
    if (t && t->mig && ha_is_me(ha, t->mig_host, &t->mig_boot) &&
        !ha_is_me(ha, t->owner, &t->boot)) {
        act_target(ha, i, t);
        return;
    }
    bool mine = ha_is_me(ha, g->owner, &g->boot);
    if (!have && s && ha_is_me(ha, s->owner, &s->boot)) {
        act_create(ha, i);
    } else if (have && mine && l->copy.inc == g->inc) {
        act_owned(ha, i, g);
    } else if (have && mine && g->by_adopt && l->copy.inc == g->old_inc) {
        act_adopt(ha, i, g);
    } else if (have) {
        act_stranger(ha, i, g);
    } else if (l->told_copy) {
        l->told_copy = false;
        tell(ha, i, HA_TELL_GONE, 0, 0, 0);
    }
}

/* -------------------------------------------------------------------------------- what is told */

/* The host is back, its life is over without us, or quorum is lost: nothing more is called. While
 * the verdict on a new ring is not in yet, only what has not begun must not begin. */
static void fence_cancel(struct ha *ha, struct ha_host_desk *desk, const struct ha_host_fact *h)
{
    bool back = ha_in_ring(ha, h->node) && !h->ordered && HA_GUARD(ha, FENCE_MEMBER);
    bool over = (h->state != HA_HOST_FENCING && h->state != HA_HOST_LOST) ||
                !ha_uuid_eq(&h->boot, &desk->launched_boot) || h->loss != desk->launched_loss;
    bool lost = !ha->connected || (ha_ring_eq(ha->ring, ha->verdict_ring) && !ha->verdict);
    bool off = back || lost || (over && HA_GUARD(ha, FENCE_OVER));
    if (off ? desk->called_off : desk->cancelled || ha_quorate(ha))
        return;
    struct ha_action *a = ha_act(ha, HA_ACT_FENCE_CANCEL);
    if (!a)
        return;
    a->u.cancel.id = desk->fence_id;
    a->u.cancel.begun = off;
    desk->cancelled = true;
    desk->called_off = off;
}

static void tell_fences(struct ha *ha)
{
    bool mute = !may_tell(ha);
    for (size_t i = 0; i < ha->log.head.nhosts; i++) {
        struct ha_host_desk *desk = &ha->host_desks[i];
        const struct ha_host_fact *h = &ha->log.head.hosts[i];
        if (desk->fence_id)
            fence_cancel(ha, desk, h);
        if (mute)
            continue;
        if (desk->fence_id && !desk->under_way_told) {
            desk->under_way_told = true;
            ha_tell_fence(ha, h->node, &desk->launched_boot, desk->launched_loss,
                          desk->launched_level, 0);
        }
        if (!desk->have_result)
            continue;
        bool over = h->state != HA_HOST_FENCING && h->state != HA_HOST_LOST;
        if (over || !ha_uuid_eq(&h->boot, &desk->result_boot) || h->loss != desk->result_loss ||
            ((desk->result != HA_RESULT_OK || h->distrusted) &&
             (h->state == HA_HOST_LOST || h->level != desk->result_level))) {
            if (HA_GUARD(ha, LOSS_NUMBER)) {
                /* the facts have moved on; who was told that it is live hears of its end */
                if (desk->under_way_told)
                    ha_tell_fence(ha, h->node, &desk->result_boot, desk->result_loss,
                                  desk->result_level, (uint8_t)desk->result);
                desk->have_result = desk->under_way_told = false;
                continue;
            }
        }
        if (desk->result_told)
            continue;
        desk->result_told = true;
        ha_tell_fence(ha, h->node, &desk->result_boot, desk->result_loss, desk->result_level,
                      (uint8_t)desk->result);
    }
}

uint8_t ha_host_flags(const struct ha *ha)
{
    return (uint8_t)((ha->inventory ? HA_HOST_INVENTORY : 0) | (ha->keeper ? HA_HOST_KEEPER : 0) |
                     (ha_armed(ha) ? HA_HOST_ARMED : 0) |
                     (ha->log.failed ? HA_HOST_NO_JOURNAL : 0) |
                     (ha_disk_ok(ha) ? HA_HOST_DISK : 0) |
                     (ha->frozen && !ha->armed ? HA_HOST_FROZEN : 0));
}

static void tell_host(struct ha *ha)
{
    if (!may_tell(ha))
        return;
    const struct ha_member *self = ha_member(ha, ha->self, false);
    if (!self)
        return;
    bool known = ha->leaving ? self->leaving : self->going;
    if (ha->going && !ha->leaving_told && !known) {
        struct ha_tell t = {.kind = HA_TELL_LEAVING,
                            .how = ha->leaving ? HA_LEAVING_NOW : HA_LEAVING_SOON};
        ha_tell_send(ha, &t);
        ha->leaving_told = true;
    }
    struct ha_tell t = {.kind = HA_TELL_HOST,
                        .guest = ha->stable_known ? (uint32_t)ha->nlocals : ha->host_told.guest,
                        .inc = ha->memory_kib,
                        .mig = ha->config->hash,
                        .how = ha_host_flags(ha),
                        .look = ha->look_index};
    /* A copy that was seen after the report is told when the log is settled, and not before that look. */
    if (!ha->stable_known || !ha_settled(ha))
        t.look = ha->host_told.look;
    if (ha_disk_ok(ha))
        t.boot = ha->disk_id;
    bool disk =
        (ha->config->disk.timeout_ms > 0 || ha->orders.disk == HA_DISK_ON) && !ha->disk_said;
    if (disk || t.look != ha->host_told.look || t.mig != ha->host_told.mig ||
        t.guest != ha->host_told.guest || t.inc != ha->host_told.inc ||
        t.how != ha->host_told.how || !ha_uuid_eq(&t.boot, &ha->host_told.boot)) {
        ha_tell_send(ha, &t);
        ha->host_told = t;
        ha->disk_said = true;
    }
}

/* Guests that somebody may have started by hand are looked for, before they are started. */
static void look(struct ha *ha)
{
    uint64_t need = 0;
    for (size_t i = 0; i < ha->stable.nguests && ha->stable_known; i++) {
        const struct ha_guest_fact *g = &ha->stable.guests[i];
        if (g->state == HA_GUEST_FREE && ha_wanted(g) && (g->inc == 0 || g->loose) &&
            g->asked_index > need)
            need = g->asked_index;
    }
    const struct ha_host_fact *self = ha_facts_host(&ha->stable, ha->self);
    bool thawed = ha->stable_known && !ha->stable.frozen &&
                  (ha->stable.looking || (self && self->unarmed));
    if (thawed && ha->stable.thaw_at > need)
        need = ha->stable.thaw_at;
    if (need <= ha->look_index || ha->look_asked >= need)
        return;
    ha->look_asked = ha->stable_i;
    ha->look_asked_at = ha->now;
    ha_ask_inventory(ha);
}

void ha_acts(struct ha *ha)
{
    if (!ha->acts_due || ha->halted)
        return;
    ha->acts_due = false;
    if (ha_local_room(ha) < 0 || ha_desk_room(ha) < 0) {
        ha->nomem = true;
        return;
    }
    ha->busy = false;
    ha_freeze_update(ha);
    notice_lapse(ha);
    ha_leave_tick(ha);
    bool unsure = !ha->inventory;
    for (uint32_t i = 0; i < ha->nlocals; i++) {
        act_guest(ha, i);
        const struct ha_local *l = &ha->locals[i];
        if (l->retry_at > ha->now)
            ha_wake(ha, l->retry_at);
        unsure |= l->unsure || (l->have && l->copy.worker && !l->op);
    }
    ha_probes(ha);
    if (unsure && ha->now >= ha->asked_inventory + RETRY)
        ha_ask_inventory(ha);
    else if (unsure)
        ha_wake(ha, ha->asked_inventory + RETRY);
    look(ha);
    tell_fences(ha);
    ha_knows_tell(ha);
    tell_host(ha);
    if (may_tell(ha))
        ha_disk_tell(ha);
    if (may_tell(ha))
        ha_defs_tell(ha);
    ha_defs_fetch(ha);
    ha_config_act(ha);
    ha_keeper_orders(ha);
}

void ha_tells_reset(struct ha *ha)
{
    for (size_t i = 0; i < ha->nlocals; i++) {
        ha->locals[i].told_valid = false;
        ha->locals[i].told_copy = false;
    }
    ha_defs_tells_reset(ha);
    ha_probes_reset(ha);
    ha_stops_reset(ha);
    ha->leaving_told = false;
    ha->knows_due = true;
    ha->knows_told = false;
    ha->bound_told = 0;
}
