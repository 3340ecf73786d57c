/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which earlier steps each step of a plan relies on, which may be done at a time, and what each is
 * for. A step whose `after` steps are done is safe whatever became of all others: room that a step
 * frees is counted in portions, each for one other step only. */
#include "plan_work.h"

enum {
    AFTER_A_GUEST = 12,
    STARTS = 4,
    TRANSFERS = 2,
};

/* What a step has freed on a host and nobody relies on yet. */
struct portion {
    int64_t mem, cpu;
    int32_t next; /* of the same host, by step */
    bool debt;    /* went into what the host had too little of from the start */
};

struct after {
    struct plan_work *w;
    struct ha_plan *plan;
    struct portion *portions; /* one for each action */
    size_t used, max;         /* of plan->after */
    int32_t first[HA_HOSTS_MAX], last[HA_HOSTS_MAX];
    int64_t mem[HA_HOSTS_MAX], cpu[HA_HOSTS_MAX]; /* free before any step, not relied on yet */
};

size_t ha_pw_after_max(const struct ha_plan_instance *in)
{
    return AFTER_A_GUEST * in->nguests + 64;
}

size_t ha_pw_portions_bytes(const struct ha_plan_instance *in)
{
    return ha_pw_actions_max(in) * sizeof(struct portion);
}

static void rely(struct after *a, struct ha_plan_action *action, uint32_t on)
{
    for (uint32_t i = 0; i < action->nafter; i++)
        if (a->plan->after[action->after + i] == on)
            return;
    if (action->after_all || a->used == a->max) {
        action->after_all = true;
        return;
    }
    a->plan->after[a->used++] = on;
    action->nafter++;
}

/* Takes at most *need out of *has. */
static bool draw(int64_t *has, int64_t *need)
{
    int64_t part = *has < *need ? *has : *need;
    if (part <= 0)
        return false;
    *has -= part;
    *need -= part;
    return true;
}

/* `action` needs room on its host: from what was free, then from what earlier steps free. */
static void rely_on_room(struct after *a, struct ha_plan_action *action)
{
    int h = action->to;
    int64_t mem = a->w->mem[action->guest], cpu = a->w->cpu[action->guest];
    int64_t mem_debt = a->mem[h] < 0 ? -a->mem[h] : 0, cpu_debt = a->cpu[h] < 0 ? -a->cpu[h] : 0;
    draw(&a->mem[h], &mem);
    draw(&a->cpu[h], &cpu);
    for (int32_t i = a->first[h]; i >= 0; i = a->portions[i].next) {
        struct portion *p = &a->portions[i];
        if (draw(&p->mem, &mem_debt) | draw(&p->cpu, &cpu_debt))
            p->debt = true;
        if (draw(&p->mem, &mem) | draw(&p->cpu, &cpu) | p->debt)
            rely(a, action, (uint32_t)i);
    }
    if (mem_debt == 0 && a->mem[h] < 0)
        a->mem[h] = 0;
    if (cpu_debt == 0 && a->cpu[h] < 0)
        a->cpu[h] = 0;
    assert(mem == 0 && cpu == 0);
}

/* `action` must not happen while a partner is still where it was before an earlier step. */
static void rely_on_rules(struct after *a, struct ha_plan_action *action)
{
    const struct plan_work *w = a->w;
    uint32_t g = action->guest;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        const struct ha_plan_rule *rule = &w->in->rules[r];
        if (!ha_pw_hard(w, r))
            continue;
        for (size_t k = 0; k < rule->nguests; k++) {
            int32_t s = w->last_action[rule->guests[k]];
            for (; rule->guests[k] != g && s >= 0; s = w->prev_action[s]) {
                int from = a->plan->actions[s].from;
                if (from != NOWHERE && (w->domain[r][from] == w->domain[r][action->to]) ==
                                           (rule->kind == HA_PLAN_APART))
                    rely(a, action, (uint32_t)s);
            }
        }
    }
}

static void free_room(struct after *a, uint32_t i)
{
    const struct ha_plan_action *action = &a->plan->actions[i];
    int h = action->from;
    a->portions[i] =
        (struct portion){a->w->mem[action->guest], a->w->cpu[action->guest], HA_PLAN_NONE, false};
    if (a->last[h] >= 0)
        a->portions[a->last[h]].next = (int32_t)i;
    else
        a->first[h] = (int32_t)i;
    a->last[h] = (int32_t)i;
}

static void relations(struct after *a)
{
    struct plan_work *w = a->w;
    for (uint32_t g = 0; g < w->ng; g++)
        w->last_action[g] = HA_PLAN_NONE;
    for (uint32_t i = 0; i < a->plan->nactions; i++) {
        struct ha_plan_action *action = &a->plan->actions[i];
        action->after = (uint32_t)a->used;
        if (w->last_action[action->guest] >= 0)
            rely(a, action, (uint32_t)w->last_action[action->guest]);
        if (action->to != NOWHERE) {
            rely_on_room(a, action);
            rely_on_rules(a, action);
        }
        if (action->from != NOWHERE)
            free_room(a, i);
        w->prev_action[i] = w->last_action[action->guest];
        w->last_action[action->guest] = (int32_t)i;
    }
}

/* ----------------------------------------------------------------------------------- waves */

static void waves(struct after *a)
{
    const struct ha_plan_instance *in = a->w->in;
    uint32_t now[2][HA_HOSTS_MAX] = {{0}}, count[2][HA_HOSTS_MAX] = {{0}}, latest = 0;
    uint32_t limit[2] = {in->starts ? in->starts : STARTS,
                         in->transfers ? in->transfers : TRANSFERS};
    for (size_t i = 0; i < a->plan->nactions; i++) {
        struct ha_plan_action *action = &a->plan->actions[i];
        bool transfer = action->what == HA_PLAN_MIGRATE;
        int hosts[2] = {action->to, transfer ? action->from : NOWHERE};
        uint32_t wave = action->after_all ? latest + 1 : 0;
        for (uint32_t k = 0; k < action->nafter; k++) {
            uint32_t w = a->plan->actions[a->plan->after[action->after + k]].wave + 1;
            wave = w > wave ? w : wave;
        }
        for (int k = 0; k < 2; k++) {
            int h = hosts[k];
            if (h == NOWHERE)
                continue;
            uint32_t first = now[transfer][h] + (count[transfer][h] >= limit[transfer]);
            wave = first > wave ? first : wave;
        }
        for (int k = 0; k < 2; k++) {
            int h = hosts[k];
            if (h == NOWHERE)
                continue;
            if (now[transfer][h] != wave)
                count[transfer][h] = 0;
            now[transfer][h] = wave;
            count[transfer][h]++;
        }
        action->wave = wave;
        latest = wave > latest ? wave : latest;
    }
}

/* --------------------------------------------------------------------------------- reasons */

/* For whom a guest leaves host h: the most important one that comes to it. */
static int32_t comes_to(const int32_t *arrival, int h, uint32_t leaver)
{
    return arrival[h] == (int32_t)leaver ? HA_PLAN_NONE : arrival[h];
}

/* A partner, strong rules, that starts or moves where g goes: the same host or failure domain. */
static int32_t partner(const struct after *a, uint32_t g, int h)
{
    const struct plan_work *w = a->w;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        const uint8_t *domain = w->domain[w->rule_of[i]];
        const struct ha_plan_rule *rule = &w->in->rules[w->rule_of[i]];
        if (rule->kind != HA_PLAN_TOGETHER || rule->strength == HA_PLAN_WEAK)
            continue;
        for (size_t k = 0; k < rule->nguests; k++) {
            uint32_t m = rule->guests[k];
            int to = a->plan->place[m];
            if (m != g && to != NOWHERE && domain[to] == domain[h] &&
                (w->from[m] == NOWHERE || domain[w->from[m]] != domain[h]))
                return (int32_t)m;
        }
    }
    return HA_PLAN_NONE;
}

static enum ha_plan_reason why_leave(const struct plan_work *w, uint32_t g)
{
    return w->in->hosts[w->from[g]].state == HA_PLAN_DRAIN ? HA_PLAN_FOR_DRAIN : HA_PLAN_FOR_RULE;
}

static void reason_start(const struct after *a, struct ha_plan_action *action)
{
    const struct ha_plan_guest *guest = &a->w->in->guests[action->guest];
    if (a->w->from[action->guest] != NOWHERE)
        action->reason = HA_PLAN_FOR_RESTART;
    else if (guest->on >= 0)
        action->reason = HA_PLAN_FOR_LOST;
    else
        action->reason = HA_PLAN_FOR_WANTED;
}

static void reason_leave(const struct after *a, struct ha_plan_action *action,
                         const int32_t *arrival)
{
    const struct plan_work *w = a->w;
    uint32_t g = action->guest;
    assert(action->from >= 0);
    int32_t to = a->plan->place[g], mate = to == NOWHERE ? HA_PLAN_NONE : partner(a, g, to);
    if (!(w->flags[g] & PW_WANT)) {
        action->reason = HA_PLAN_FOR_WANTED;
    } else if (w->flags[g] & PW_LEAVE) {
        action->reason = why_leave(w, g);
    } else if (action->reason == HA_PLAN_FOR_WAY || to == w->from[g]) {
        action->reason = HA_PLAN_FOR_WAY; /* there, and back again */
        action->for_guest = comes_to(arrival, action->from, g);
    } else if (mate != HA_PLAN_NONE) {
        action->reason = HA_PLAN_FOR_PARTNER;
        action->for_guest = mate;
    } else {
        action->for_guest = comes_to(arrival, action->from, g);
        action->reason = action->for_guest == HA_PLAN_NONE && w->in->failback ? HA_PLAN_FOR_FAILBACK
                                                                              : HA_PLAN_FOR_ROOM;
    }
}

static void reasons(struct after *a)
{
    struct plan_work *w = a->w;
    int32_t arrival[HA_HOSTS_MAX];
    for (uint32_t h = 0; h < w->nh; h++)
        arrival[h] = HA_PLAN_NONE;
    for (size_t i = 0; i < w->ng; i++) { /* the most important first */
        int32_t h = a->plan->place[w->order[i]];
        if (h >= 0 && w->from[w->order[i]] != h && arrival[h] == HA_PLAN_NONE)
            arrival[h] = (int32_t)w->order[i];
    }
    for (size_t i = 0; i < a->plan->nactions; i++) {
        struct ha_plan_action *action = &a->plan->actions[i];
        if (action->what == HA_PLAN_START)
            reason_start(a, action);
        else
            reason_leave(a, action, arrival);
    }
}

void ha_pw_after(struct plan_work *w, struct ha_plan *plan, void *portions)
{
    struct after a = {.w = w, .plan = plan, .portions = portions, .max = ha_pw_after_max(w->in)};
    for (uint32_t h = 0; h < w->nh; h++) {
        a.first[h] = a.last[h] = HA_PLAN_NONE;
        a.mem[h] = w->cap[h];
        a.cpu[h] = w->cpu_cap[h];
    }
    for (uint32_t g = 0; g < w->ng; g++) {
        if (w->from[g] == NOWHERE)
            continue;
        a.mem[w->from[g]] -= w->mem[g];
        a.cpu[w->from[g]] -= w->cpu[g];
    }
    relations(&a);
    waves(&a);
    reasons(&a);
}
