/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner's long search: a guest is put where it does least harm, those in its way become the
 * next to be placed, and who is often in the way becomes dear (guided ejection, as used for vehicle
 * routing: Nagata and Bräysy, 2009). Bounded in elementary steps, the same each time. */
#include "plan_work.h"

enum {
    EJECT_MAX = 24,
    DEAR = 64,      /* what a guest costs that needs a new place, against one that may lose its */
    SHAKES = 3,     /* guests that are moved about after each round, for variety */
    PAIRS_MAX = 48, /* guests of a host up to which pairs are looked at */
};

struct eject {
    uint32_t n;
    uint64_t cost;
    uint32_t guest[EJECT_MAX];
};

struct search {
    struct plan_work *w;
    uint32_t cls; /* these and higher ones have to be placed in the end */
    size_t npool;
};

static bool required(const struct search *s, uint32_t g)
{
    return s->w->cls[g] >= s->cls || (s->w->flags[g] & PW_MUST);
}

/* 0: it must stay. */
static uint64_t cost_of(struct search *s, uint32_t g)
{
    struct plan_work *w = s->w;
    if (!required(s, g))
        return 8 + ha_pw_random(w, 8);
    if (!(w->may[g] & ~(UINT64_C(1) << w->at[g])))
        return 0;
    return (uint64_t)DEAR * w->penalty[g] + ha_pw_random(w, 8);
}

static bool add(struct eject *e, uint32_t g, uint64_t cost)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (e->guest[i] == g)
            return true;
    if (!cost || e->n == EJECT_MAX)
        return false;
    e->guest[e->n++] = g;
    e->cost += cost;
    return true;
}

/* Whom the rules forbid beside g on h. */
static bool add_conflicts(struct search *s, uint32_t g, int h, struct eject *e)
{
    struct plan_work *w = s->w;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        const struct ha_plan_rule *rule = &w->in->rules[r];
        bool apart = rule->kind == HA_PLAN_APART;
        uint8_t d = w->domain[r][h];
        if (!ha_pw_hard(w, r) ||
            (apart ? w->count[r][d] == 0 : w->count[r][d] == w->placed[r]))
            continue;
        for (size_t k = 0; k < rule->nguests; k++) {
            uint32_t m = rule->guests[k];
            w->steps++;
            if (m != g && w->at[m] != NOWHERE && (w->domain[r][w->at[m]] == d) == apart &&
                !add(e, m, cost_of(s, m)))
                return false;
        }
    }
    return true;
}

/* The cheapest one or two guests on h with `lack` KiB; *cost: in what is to be beaten, out. */
static uint32_t cheapest(struct plan_work *w, const uint32_t *list, const uint64_t *costs, uint32_t n,
                         int64_t lack, uint32_t *ret_pair, uint64_t *cost)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        w->steps++;
        if (w->mem[list[i]] >= lack && costs[i] < *cost) {
            *cost = costs[i];
            ret_pair[0] = list[i];
            found = 1;
        }
    }
    if (n > PAIRS_MAX)
        return found;
    for (uint32_t i = 0; i < n; i++) {
        w->steps += n - i;
        for (uint32_t k = i + 1; k < n; k++) {
            if (w->mem[list[i]] + w->mem[list[k]] < lack || costs[i] + costs[k] >= *cost)
                continue;
            *cost = costs[i] + costs[k];
            ret_pair[0] = list[i];
            ret_pair[1] = list[k];
            found = 2;
        }
    }
    return found;
}

/* Guests by their memory for the money until there is enough. */
static bool add_greedily(struct plan_work *w, const uint32_t *list, const uint64_t *costs, uint32_t n,
                         int64_t lack, int64_t lack_cpu, struct eject *e)
{
    bool used[HA_GUESTS_MAX / 16] = {false};
    while (lack > 0 || lack_cpu > 0) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++) {
            int64_t worth = w->mem[list[i]] < lack ? w->mem[list[i]] : lack;
            w->steps++;
            if (used[i])
                continue;
            if (best == n) {
                best = i;
                continue;
            }
            int64_t best_worth = w->mem[list[best]] < lack ? w->mem[list[best]] : lack;
            if (lack <= 0 ? costs[i] < costs[best]
                          : (worth >> 10) * (int64_t)costs[best] >
                                (best_worth >> 10) * (int64_t)costs[i])
                best = i;
        }
        if (best == n || !add(e, list[best], costs[best]))
            return false;
        used[best] = true;
        lack -= w->mem[list[best]];
        lack_cpu -= w->cpu[list[best]];
    }
    return true;
}

/* Who has to go if g is put on h. */
static bool choose(struct search *s, uint32_t g, int h, struct eject *e)
{
    struct plan_work *w = s->w;
    uint32_t list[HA_GUESTS_MAX / 16], n = 0, pair[2] = {0, 0};
    uint64_t costs[HA_GUESTS_MAX / 16], cost = UINT64_MAX;
    int64_t lack = w->mem[g] - w->room[h], cpu = w->cpu[g] - w->cpu_room[h];
    e->n = 0;
    e->cost = 0;
    if (!add_conflicts(s, g, h, e))
        return false;
    for (uint32_t i = 0; i < e->n; i++) {
        if (w->at[e->guest[i]] != h)
            continue;
        lack -= w->mem[e->guest[i]];
        cpu -= w->cpu[e->guest[i]];
    }
    if (lack <= 0 && cpu <= 0)
        return true;
    for (int32_t m = w->head[h]; m >= 0 && n < HA_GUESTS_MAX / 16; m = w->next[m]) {
        bool known = false;
        for (uint32_t i = 0; i < e->n; i++)
            known |= e->guest[i] == (uint32_t)m;
        costs[n] = known ? 0 : cost_of(s, (uint32_t)m);
        if (costs[n])
            list[n++] = (uint32_t)m;
        w->steps++;
    }
    uint32_t found = cpu > 0 ? 0 : cheapest(w, list, costs, n, lack, pair, &cost);
    if (found == 0)
        return add_greedily(w, list, costs, n, lack, cpu, e);
    if (e->n + found > EJECT_MAX)
        return false;
    e->cost += cost;
    for (uint32_t i = 0; i < found; i++)
        e->guest[e->n++] = pair[i];
    return true;
}

/* Puts g where it does least harm; those in its way are off the table, the required ones that do not
 * fit elsewhere in the pool. */
static bool push_in(struct search *s, uint32_t g)
{
    struct plan_work *w = s->w;
    struct eject e, best = {0};
    int host = NOWHERE;
    for (uint64_t left = w->may[g]; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        if (choose(s, g, h, &e) && (host == NOWHERE || e.cost < best.cost)) {
            best = e;
            host = h;
        }
    }
    if (host == NOWHERE)
        return false;
    for (uint32_t i = 0; i < best.n; i++)
        ha_pw_take(w, best.guest[i]);
    ha_pw_put(w, g, host);
    for (uint32_t i = 0; i < best.n; i++)
        if (required(s, best.guest[i]) && !ha_pw_place(w, best.guest[i]))
            w->pool[s->npool++] = best.guest[i];
    return true;
}

/* A few guests change hosts where there is room, so that the search does not go in circles. */
static void shake(struct search *s)
{
    struct plan_work *w = s->w;
    for (int i = 0; i < SHAKES; i++) {
        uint32_t g = ha_pw_random(w, w->ng);
        int h = (int)ha_pw_random(w, w->nh);
        if (w->at[g] == NOWHERE || w->at[g] == h || !required(s, g) || !ha_pw_fits(w, g, h))
            continue;
        ha_pw_take(w, g);
        ha_pw_put(w, g, h);
    }
}

bool ha_pw_eject(struct plan_work *w, size_t npool, uint32_t cls, uint64_t steps)
{
    struct search s = {w, cls, npool};
    uint64_t end = w->steps + steps < w->limit ? w->steps + steps : w->limit;
    assert(!w->trailing);
    ha_pw_save(w, w->save);
    for (uint32_t g = 0; g < w->ng; g++)
        w->penalty[g] = 1;
    while (s.npool) {
        uint32_t g = w->pool[--s.npool];
        if (ha_pw_place(w, g))
            continue;
        w->penalty[g]++;
        if (w->steps >= end || !push_in(&s, g)) {
            ha_pw_restore(w, w->save);
            return false;
        }
        shake(&s);
    }
    return true;
}
