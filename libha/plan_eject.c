/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner's long search: a guest is put where it does least harm, those in its way become the
 * next to be placed, and who is often in the way becomes dear (guided ejection, as used for vehicle
 * routing: Nagata and Bräysy, 2009). Bounded in elementary steps, the same each time. */
#include "plan_work.h"

enum {
    EJECT_MAX = 24,
    DEAR = 64,  /* what a guest costs that needs a new place, against one that may lose its */
    SHAKES = 3, /* guests that are moved about after each round, for variety */
    UNIT_MAX = 24,
    STUCK_MAX = 30, /* times that a guest can go nowhere */
    HOST_GUESTS_MAX = 512,
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

/* The cheapest one or two guests on h with `lack` KiB; *cost: in what is to be beaten, out. */
static uint32_t cheapest(struct plan_work *w, const uint32_t *list, const uint64_t *costs,
                         uint32_t n, int64_t lack, uint32_t *ret_pair, uint64_t *cost)
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
static bool add_greedily(struct plan_work *w, const uint32_t *list, const uint64_t *costs,
                         uint32_t n, int64_t lack, int64_t lack_cpu, struct eject *e)
{
    bool used[HOST_GUESTS_MAX] = {false};
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
            if (lack <= 0
                    ? costs[i] < costs[best]
                    : (worth >> 10) * (int64_t)costs[best] > (best_worth >> 10) * (int64_t)costs[i])
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

/* Guests that can only be placed as one: g and its partners, as far as they have to be placed. */
struct unit {
    uint32_t n;
    uint32_t guest[UNIT_MAX];
};

static bool in_unit(const struct unit *u, uint32_t g)
{
    for (uint32_t i = 0; i < u->n; i++)
        if (u->guest[i] == g)
            return true;
    return false;
}

static bool unit_of(const struct search *s, uint32_t g, struct unit *u)
{
    const struct plan_work *w = s->w;
    u->n = 0;
    u->guest[u->n++] = g;
    for (uint32_t done = 0; done < u->n; done++) {
        uint32_t of = u->guest[done];
        for (uint32_t i = w->rule_at[of]; i < w->rule_at[of + 1]; i++) {
            const struct ha_plan_rule *rule = &w->in->rules[w->rule_of[i]];
            if (rule->kind != HA_PLAN_TOGETHER || rule->strength == HA_PLAN_WEAK || rule->domain)
                continue;
            for (size_t k = 0; k < rule->nguests; k++) {
                uint32_t m = rule->guests[k];
                /* One without a place that is not looked for now is none of our business. */
                if (in_unit(u, m) || !required(s, m) || !(w->flags[m] & PW_WANT) ||
                    (w->at[m] == NOWHERE && !w->in_pool[m]))
                    continue;
                if (u->n == UNIT_MAX)
                    return false;
                u->guest[u->n++] = m;
            }
        }
    }
    return true;
}

/* Whom the rules forbid beside g on h. */
static bool add_conflicts(struct search *s, const struct unit *u, uint32_t g, int h,
                          struct eject *e)
{
    struct plan_work *w = s->w;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        const struct ha_plan_rule *rule = &w->in->rules[r];
        bool apart = rule->kind == HA_PLAN_APART;
        uint8_t d = w->domain[r][h];
        if (!ha_pw_hard(w, r) || (apart ? w->count[r][d] == 0 : w->count[r][d] == w->placed[r]))
            continue;
        for (size_t k = 0; k < rule->nguests; k++) {
            uint32_t m = rule->guests[k];
            w->steps++;
            if (w->at[m] != NOWHERE && (w->domain[r][w->at[m]] == d) == apart && !in_unit(u, m) &&
                !add(e, m, cost_of(s, m)))
                return false;
        }
    }
    return true;
}

/* The guests on h that could go, and what each costs; their number. */
static uint32_t candidates(struct search *s, int h, const struct unit *u, const struct eject *e,
                           uint32_t *list, uint64_t *costs)
{
    struct plan_work *w = s->w;
    uint32_t n = 0;
    for (int32_t m = w->head[h]; m >= 0 && n < HOST_GUESTS_MAX; m = w->next[m]) {
        bool known = in_unit(u, (uint32_t)m);
        for (uint32_t i = 0; i < e->n; i++)
            known |= e->guest[i] == (uint32_t)m;
        costs[n] = known ? 0 : cost_of(s, (uint32_t)m);
        if (costs[n])
            list[n++] = (uint32_t)m;
        w->steps++;
    }
    return n;
}

/* Who has to go if the unit is put on h. */
static bool choose(struct search *s, const struct unit *u, int h, struct eject *e)
{
    struct plan_work *w = s->w;
    uint32_t list[HOST_GUESTS_MAX], pair[2] = {0, 0};
    uint64_t costs[HOST_GUESTS_MAX], cost = UINT64_MAX;
    int64_t lack = -w->room[h], cpu = -w->cpu_room[h];
    *e = (struct eject){0};
    for (uint32_t i = 0; i < u->n; i++) {
        uint32_t g = u->guest[i];
        if (!(w->may[g] >> h & 1) || !add_conflicts(s, u, g, h, e))
            return false;
        lack += w->at[g] == h ? 0 : w->mem[g];
        cpu += w->at[g] == h ? 0 : w->cpu[g];
    }
    for (uint32_t i = 0; i < e->n; i++) {
        if (w->at[e->guest[i]] != h)
            continue;
        lack -= w->mem[e->guest[i]];
        cpu -= w->cpu[e->guest[i]];
    }
    if (lack <= 0 && cpu <= 0)
        return true;
    uint32_t n = candidates(s, h, u, e, list, costs);
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

static void to_pool(struct search *s, uint32_t g)
{
    if (s->w->in_pool[g])
        return; /* was placed in the meantime, as a partner, and its turn has not come yet */
    s->w->pool[s->npool++] = g;
    s->w->in_pool[g] = 1;
}

/* Puts g, with its partners, where it does least harm; those in its way are off the table, the
 * required ones that do not fit elsewhere in the pool. */
static bool push_in(struct search *s, uint32_t g)
{
    struct plan_work *w = s->w;
    struct eject e, best = {0};
    struct unit u;
    int host = NOWHERE;
    if (!unit_of(s, g, &u))
        return false;
    for (uint64_t left = w->may[g]; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        if (choose(s, &u, h, &e) && (host == NOWHERE || e.cost < best.cost)) {
            best = e;
            host = h;
        }
    }
    if (host == NOWHERE)
        return false;
    for (uint32_t i = 0; i < best.n; i++)
        ha_pw_take(w, best.guest[i]);
    for (uint32_t i = 0; i < u.n; i++)
        if (w->at[u.guest[i]] != NOWHERE && w->at[u.guest[i]] != host)
            ha_pw_take(w, u.guest[i]);
    for (uint32_t i = 0; i < u.n; i++) {
        if (w->at[u.guest[i]] != NOWHERE)
            continue;
        if (ha_pw_fits(w, u.guest[i], host))
            ha_pw_put(w, u.guest[i], host);
        else /* rules that contradict each other */
            to_pool(s, u.guest[i]);
    }
    for (uint32_t i = 0; i < best.n; i++)
        if (required(s, best.guest[i]) && !ha_pw_place(w, best.guest[i]))
            to_pool(s, best.guest[i]);
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
    uint32_t stuck = 0;
    assert(!w->trailing);
    ha_pw_save(w, w->save);
    memset(w->in_pool, 0, w->ng);
    for (size_t i = 0; i < npool; i++)
        w->in_pool[w->pool[i]] = 1;
    for (uint32_t g = 0; g < w->ng; g++)
        w->penalty[g] = 1;
    while (s.npool) {
        assert(s.npool <= w->ng);
        uint32_t g = w->pool[--s.npool];
        w->in_pool[g] = 0;
        if (w->at[g] != NOWHERE || ha_pw_place(w, g))
            continue;
        w->penalty[g]++;
        if (w->steps >= end || stuck > STUCK_MAX) {
            ha_pw_restore(w, w->save);
            return false;
        }
        if (!push_in(&s, g)) { /* nowhere, as things are: others first */
            stuck++;
            memmove(w->pool + 1, w->pool, s.npool * sizeof *w->pool);
            w->pool[0] = g;
            w->in_pool[g] = 1;
            s.npool++;
        }
        shake(&s);
    }
    return true;
}
