/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator plans: when something has changed that matters, the planner says where guests
 * should run, and what it says is done step by step, each step looked at again (place.c) when its
 * turn has come. Nothing of a plan is remembered but by what was done of it: the next plan is made
 * of what is then. */
#include "placing.h"

#include <stdlib.h>

#include "wire.h"

enum {
    GUESTS_A_MS = 200, /* after a look at so many guests, the next one waits for a millisecond */
    TRANSFERS = 2,     /* of a host at a time */
    RESTARTS = 4,
    BACKOFF = 15000, /* after a move that failed; doubles four times */
};

struct ha_placing *ha_placing_new(void)
{
    return calloc(1, sizeof(struct ha_placing));
}

void ha_placing_free(struct ha_placing *p)
{
    if (!p)
        return;
    ha_plan_free(p->plan);
    ha_live_done(&p->live);
    ha_live_done(&p->next);
    ha_live_done(&p->status_live);
    free(p);
}

/* Another configuration, or another log. */
void ha_placing_forget(struct ha *ha)
{
    ha->placing->valid = ha->placing->tolerates_known = false;
}

/* ------------------------------------------------------------------------------------ planning */

enum outcome {
    PLANNED,
    TOO_EARLY,
    FAILED,
};

static enum outcome plan(struct ha *ha)
{
    struct ha_placing *p = ha->placing;
    struct ha_error error;
    p->valid = false;
    p->plan = ha_plan_free(p->plan);
    struct ha_live live = p->next;
    p->next = p->live;
    p->live = live;
    p->live.in.hosts = p->live.hosts; /* which came along */
    p->live.in.no_tolerates = true;
    if (ha_plan_check(&p->live.in, &error) < 0 || ha_plan_make(&p->live.in, &p->plan) < 0)
        return FAILED;
    p->valid = true;
    return PLANNED;
}

/* Only when something has changed; and a large cluster in turmoil not at every change. */
static enum outcome plan_if_changed(struct ha *ha)
{
    struct ha_placing *p = ha->placing;
    ha_ms due = p->looked_at + (ha_ms)(ha->prop.nguests / GUESTS_A_MS);
    if (p->looked_at && ha->now < due) {
        ha_wake(ha, due);
        return TOO_EARLY;
    }
    p->looked_at = ha->now;
    if (ha_live_build(ha, &ha->prop, &p->next) < 0)
        return FAILED;
    if (p->valid && p->next.hash == p->live.hash)
        return PLANNED;
    return plan(ha);
}

/* --------------------------------------------------------------------------------------- steps */

struct steps {
    struct ha *ha;
    const struct ha_plan *plan;
    unsigned transfers[HA_HOSTS_MAX], restarts[HA_HOSTS_MAX]; /* under way, for each host */
    bool disturb; /* the view is old enough for running guests to be touched */
};

static size_t host_of(const struct ha *ha, ha_node node)
{
    size_t k = 0;
    while (k < ha->prop.nhosts && ha->prop.hosts[k].node != node)
        k++;
    return k;
}

static void count_steps(struct steps *s)
{
    const struct ha *ha = s->ha;
    for (uint32_t i = 0; i < ha->prop.nguests; i++) {
        const struct ha_guest_fact *g = &ha->prop.guests[i];
        size_t from = host_of(ha, g->owner), to = host_of(ha, g->mig_host);
        if (g->mig && from < ha->prop.nhosts)
            s->transfers[from]++;
        if (g->mig && to < ha->prop.nhosts)
            s->transfers[to]++;
        if (g->recall && from < ha->prop.nhosts)
            s->restarts[from]++;
    }
}

static void start(struct steps *s, const struct ha_plan_action *a)
{
    struct ha *ha = s->ha;
    const struct ha_guest_fact *g = &ha->prop.guests[a->guest];
    char why[HA_TEXT_MAX];
    if (g->state == HA_GUEST_FREE && ha->desks[a->guest].ready &&
        !ha_order_full(ha, ha->prop.hosts[a->to].node) &&
        !ha_place_refused(ha, a->guest, (size_t)a->to, why, sizeof why))
        ha_assign(ha, a->guest, (size_t)a->to);
}

/* Whom it is done for can start right then; or it is done for the guest itself. */
static bool is_timely(const struct steps *s, const struct ha_plan_action *a)
{
    const struct ha *ha = s->ha;
    const struct ha_guest_config *c = ha_guest_config(ha, a->guest);
    if (!s->disturb || !ha_guest_settled(ha, &ha->prop, a->guest) || (c && c->external))
        return false;
    if (a->reason != HA_PLAN_FOR_ROOM || a->for_guest < 0)
        return true;
    const struct ha_guest_fact *other = &ha->prop.guests[a->for_guest];
    int32_t to = s->plan->place[a->for_guest];
    bool turn = to < 0 || !ha_order_full(ha, ha->prop.hosts[to].node);
    return other->state != HA_GUEST_FREE || (ha->desks[a->for_guest].ready && turn);
}

static void say_why(struct steps *s, const struct ha_plan_action *a, enum ha_report what)
{
    struct ha *ha = s->ha;
    char why[HA_TEXT_MAX];
    ha_plan_why_action(s->plan, (size_t)(a - s->plan->actions), why, sizeof why);
    ha_report(ha, what, HA_SEV_INFO, 0, ha->prop.guests[a->guest].name, "%s: %s",
              ha->prop.guests[a->guest].name, why);
}

static void migrate(struct steps *s, const struct ha_plan_action *a)
{
    struct ha *ha = s->ha;
    const struct ha_guest_fact *g = &ha->prop.guests[a->guest];
    size_t from = (size_t)a->from, to = (size_t)a->to;
    unsigned most = ha->config->placement.transfers ? ha->config->placement.transfers : TRANSFERS;
    char why[HA_TEXT_MAX];
    if (!is_timely(s, a) || s->transfers[from] >= most || s->transfers[to] >= most ||
        g->owner != ha->prop.hosts[from].node ||
        ha_place_refused(ha, a->guest, to, why, sizeof why))
        return;
    bool must = a->reason == HA_PLAN_FOR_DRAIN || a->reason == HA_PLAN_FOR_RULE;
    enum ha_move_kind kind = ha_guest_move(g, ha_guest_config(ha, a->guest), must);
    if (kind == HA_MOVE_NORMAL ||
        !ha_propose_move(ha, a->guest, ha->prop.hosts[to].node, kind, true))
        return;
    s->transfers[from]++;
    s->transfers[to]++;
    ha->used_kib[to] += ha_guest_need_kib(ha, &ha->prop, a->guest);
    say_why(s, a, HA_REPORT_MIGRATE);
}

/* The other half of a stop: where it is to start again; -1: nowhere. */
static int32_t restarts_on(const struct steps *s, const struct ha_plan_action *a)
{
    for (size_t i = (size_t)(a - s->plan->actions) + 1; i < s->plan->nactions; i++)
        if (s->plan->actions[i].guest == a->guest && s->plan->actions[i].what == HA_PLAN_START)
            return s->plan->actions[i].to;
    return HA_PLAN_NONE;
}

static void restart(struct steps *s, const struct ha_plan_action *a)
{
    struct ha *ha = s->ha;
    size_t from = (size_t)a->from;
    int32_t to = restarts_on(s, a);
    if (to < 0 || to == a->from || !is_timely(s, a) || s->restarts[from] >= RESTARTS ||
        ha_host_unfit(ha, &ha->prop.hosts[to]) || ha_order_full(ha, ha->prop.hosts[to].node) ||
        !ha_propose_move(ha, a->guest, ha->prop.hosts[to].node, HA_MOVE_NORMAL, true))
        return;
    s->restarts[from]++;
    ha->used_kib[to] += ha_guest_need_kib(ha, &ha->prop, a->guest);
    say_why(s, a, HA_REPORT_MIGRATE);
}

/* A guest is stopped for a better one, or to empty a host that goes down, or when an operator
 * insists. That the
 * configuration has a new rule ends nobody. */
static void preempt(struct steps *s, const struct ha_plan_action *a)
{
    struct ha *ha = s->ha;
    const struct ha_host_fact *h = &ha->prop.hosts[a->from];
    bool drain = a->reason == HA_PLAN_FOR_DRAIN && ((h->maint && h->maint_force) || h->down);
    if ((a->reason != HA_PLAN_FOR_ROOM && !drain) || !is_timely(s, a))
        return;
    struct ha_fact fact = {.kind = HA_FACT_PREEMPT,
                           .guest = a->guest,
                           .old_inc = a->for_guest < 0 ? 0 : (uint64_t)a->for_guest + 1};
    if (ha_propose(ha, &fact))
        say_why(s, a, HA_REPORT_GUEST_PREEMPT);
}

static int rank_cmp(const void *a, const void *b)
{
    const struct ha_rank *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->guest < y->guest ? -1 : x->guest > y->guest;
}

static bool relies(const struct steps *s, size_t i)
{
    return s->plan->actions[i].nafter || (s->plan->actions[i].after_all && i);
}

/* The important ones first: there may be fewer turns than guests. */
static void start_all(struct steps *s)
{
    const struct ha_plan *plan = s->plan;
    struct ha_rank *order = malloc((plan->nactions + 1) * sizeof *order);
    size_t n = 0;
    if (!order) {
        s->ha->nomem = true;
        return;
    }
    for (size_t i = 0; i < plan->nactions; i++)
        if (plan->actions[i].what == HA_PLAN_START && !relies(s, i))
            order[n++] = (struct ha_rank){
                s->ha->placing->live.guests[plan->actions[i].guest].priority, (uint32_t)i};
    qsort(order, n, sizeof *order, rank_cmp);
    for (size_t i = 0; i < n; i++)
        start(s, &plan->actions[order[i].guest]);
    free(order);
}

/* All that relies on nothing that is yet to be done. */
static void follow(struct ha *ha)
{
    struct steps s = {.ha = ha, .plan = ha->placing->plan};
    ha_ms calm = ha->phase_since + 2 * ha->config->timers.exchange;
    s.disturb = ha->now >= calm && !ha->prop.looking; /* thawed: who knows what is where */
    count_steps(&s);
    start_all(&s);
    for (size_t i = 0; i < s.plan->nactions; i++) {
        const struct ha_plan_action *a = &s.plan->actions[i];
        if (a->what == HA_PLAN_START || relies(&s, i))
            continue;
        if (ha->now < calm)
            ha_wake(ha, calm);
        switch (a->what) {
        case HA_PLAN_START:
            break;
        case HA_PLAN_MIGRATE:
            migrate(&s, a);
            break;
        case HA_PLAN_STOP:
            restart(&s, a);
            break;
        case HA_PLAN_PREEMPT:
            preempt(&s, a);
            break;
        }
    }
}

/* -------------------------------------------------------------------------- without the planner */

/* The important ones first, each where the most is free. */
static void place_simply(struct ha *ha, size_t n)
{
    struct ha_rank *order = malloc((n + 1) * sizeof *order);
    int *priority = calloc(ha->prop.nguests + 1, sizeof *priority);
    size_t k = 0;
    if (!order || !priority) {
        ha->nomem = true;
        free(order);
        free(priority);
        return;
    }
    ha_order_priorities(ha, &ha->prop, priority);
    for (uint32_t i = 0; i < ha->prop.nguests && k < n; i++)
        if (ha->desks[i].ready)
            order[k++] = (struct ha_rank){priority[i], i};
    qsort(order, k, sizeof *order, rank_cmp);
    for (size_t i = 0; i < k; i++) {
        char why[HA_TEXT_MAX];
        ha_node node = ha_place(ha, order[i].guest, 0, why, sizeof why);
        if (node && !ha_order_full(ha, node))
            ha_assign(ha, order[i].guest, host_of(ha, node));
    }
    free(order);
    free(priority);
}

/* ------------------------------------------------------------------------------------ the whole */

/* An evacuation is over when nothing of any guest is left. */
static void end_evacuations(struct ha *ha)
{
    for (size_t k = 0; k < ha->prop.nhosts; k++) {
        const struct ha_host_fact *h = &ha->prop.hosts[k];
        bool empty = true;
        if (h->maint != HA_MAINT_EVACUATE)
            continue;
        for (size_t i = 0; i < ha->prop.nguests && empty; i++) {
            const struct ha_guest_fact *g = &ha->prop.guests[i];
            empty = g->owner != h->node && g->left_host != h->node &&
                    (!g->mig || g->mig_host != h->node);
        }
        struct ha_fact fact = {
            .kind = HA_FACT_MAINT, .host = h->node, .boot = h->boot, .level = HA_MAINT_NONE};
        if (empty)
            ha_propose(ha, &fact);
    }
}

void ha_decide_places(struct ha *ha, size_t nready)
{
    end_evacuations(ha);
    ha_used_count(ha, &ha->prop, ha->used_kib);
    ha_order_count(ha);
    switch (plan_if_changed(ha)) {
    case PLANNED:
        follow(ha);
        break;
    case TOO_EARLY:
        break;
    case FAILED:
        place_simply(ha, nready);
        break;
    }
}

/* A move of the planner's that failed is not tried again at once. */
void ha_move_failed(struct ha *ha, uint32_t guest)
{
    struct ha_desk *desk = &ha->desks[guest];
    unsigned doublings = desk->move_fails < 4 ? desk->move_fails : 4;
    desk->move_after = ha->now + ((ha_ms)BACKOFF << doublings);
    desk->move_fails++;
    ha_wake(ha, desk->move_after);
}

/* Where the guest would go if it had to leave its host with nobody else disturbed; 0 and why not.
 */
ha_node ha_place_elsewhere(struct ha *ha, uint32_t guest, char *ret_why, size_t size)
{
    struct ha_placing *p = ha->placing;
    struct ha_plan *plan = NULL;
    struct ha_error error;
    const struct ha_guest_fact *g = &ha->prop.guests[guest];
    size_t from = host_of(ha, g->owner);
    if (from < ha->prop.nhosts && ha_live_build(ha, &ha->prop, &p->next) == 0) {
        p->next.in.preempt = HA_PLAN_PREEMPT_NEVER;
        p->next.in.migrate = p->next.in.failback = false;
        p->next.in.no_tolerates = true;
        p->next.guests[guest].allowed &= ~(UINT64_C(1) << from);
        p->next.guests[guest].keep = false;
        if (ha_plan_check(&p->next.in, &error) == 0 && ha_plan_make(&p->next.in, &plan) < 0)
            plan = NULL;
    }
    int32_t to = plan ? plan->place[guest] : HA_PLAN_NONE;
    ha_plan_free(plan);
    if (to >= 0 && (size_t)to != from && !ha_place_refused(ha, guest, (size_t)to, ret_why, size))
        return ha->prop.hosts[to].node;
    return ha_place(ha, guest, g->owner, ret_why, size);
}

/* ------------------------------------------------------------------------------------ looking in
 */

const struct ha_plan_instance *ha_instance(const struct ha *ha)
{
    struct ha_live *live = &ha->placing->status_live;
    const struct ha_facts *facts = ha_shown(ha);
    if (!ha->config || ha_uuid_zero(&facts->cluster) || ha->ndesks < facts->nguests ||
        ha_live_build(ha, facts, live) < 0)
        return NULL;
    return &live->in;
}

static bool look_at_tolerates(const struct ha *ha, struct ha_tolerates *t)
{
    struct ha_placing *p = ha->placing;
    const struct ha_plan_instance *in = ha_instance(ha);
    struct ha_plan *plan = NULL;
    struct ha_error error;
    if (!in)
        return false;
    uint64_t hash = p->status_live.hash;
    if (p->tolerates_known && hash == p->tolerates_hash) {
        *t = p->tolerates;
        return true;
    }
    if (ha_plan_check(in, &error) < 0 || ha_plan_make(in, &plan) < 0)
        return false;
    *t = (struct ha_tolerates){.known = true,
                               .hosts = plan->tolerates,
                               .exact = plan->tolerates_exact,
                               .reserve = in->reserve};
    ha_plan_why_tolerates(plan, t->why, sizeof t->why);
    ha_plan_free(plan);
    p->tolerates = *t;
    p->tolerates_hash = hash;
    p->tolerates_known = true;
    return true;
}

void ha_tolerates(const struct ha *ha, struct ha_tolerates *ret_tolerates)
{
    if (!look_at_tolerates(ha, ret_tolerates))
        *ret_tolerates = (struct ha_tolerates){0};
}
