/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When it is settled how many guests of each class run: the fewest disturbances for it, then weak
 * rules, preferences and balance for those that have to be placed anyway. */
#include "plan_work.h"

enum { PASSES = 4 };

/* -------------------------------------------------------------------------- disturbances */

/* A running guest would be stopped while a new one of its class starts: rather the other way. */
static bool keep_running(struct plan_work *w, uint32_t stopped, const uint32_t *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t m = members[i];
        size_t mark = w->ntrail;
        if (w->at[m] == NOWHERE || w->from[m] != NOWHERE || ha_pw_tired(w))
            continue;
        w->steps++;
        if (w->mem[m] + w->room[w->from[stopped]] < w->mem[stopped] &&
            w->mem[m] + w->room[w->at[m]] < w->mem[stopped])
            continue;
        ha_pw_take(w, m);
        if (ha_pw_place(w, stopped))
            return true;
        ha_pw_rollback(w, mark);
    }
    return false;
}

static void calm_stops(struct plan_work *w)
{
    for (size_t i = 0; i < w->ng;) {
        size_t end = i;
        while (end < w->ng && w->cls[w->order[end]] == w->cls[w->order[i]])
            end++;
        for (size_t k = end; k-- > i;) { /* the smallest first */
            uint32_t g = w->order[k];
            w->ntrail = 0;
            if (w->at[g] == NOWHERE && w->from[g] != NOWHERE && (w->flags[g] & PW_WANT))
                keep_running(w, g, w->order + i, end - i);
        }
        i = end;
    }
}

static bool is_moved(const struct plan_work *w, uint32_t g)
{
    return w->at[g] != NOWHERE && w->from[g] != NOWHERE && w->from[g] != w->at[g] &&
           (w->may[g] >> w->from[g] & 1);
}

/* g goes home; somebody on its home host that costs nothing to move, or that is not at home there
 * either, goes elsewhere. */
static bool send_home(struct plan_work *w, uint32_t g)
{
    int home = w->from[g], was = w->at[g];
    size_t mark = w->ntrail;
    if (ha_pw_fits(w, g, home)) {
        ha_pw_take(w, g);
        ha_pw_put(w, g, home);
        return true;
    }
    size_t n = 0;
    for (int32_t m = w->head[home]; m >= 0; m = w->next[m])
        if (w->from[m] != home && w->room[home] + w->mem[m] >= w->mem[g])
            w->list[n++] = (uint32_t)m;
    for (size_t i = 0; i < n && !ha_pw_tired(w); i++) {
        uint32_t u = w->list[i];
        w->steps++;
        ha_pw_take(w, u);
        ha_pw_take(w, g);
        if (ha_pw_fits(w, g, home)) {
            ha_pw_put(w, g, home);
            if (ha_pw_fits(w, u, was)) {
                ha_pw_put(w, u, was);
                return true;
            }
            if (ha_pw_place(w, u))
                return true;
        }
        ha_pw_rollback(w, mark);
    }
    return false;
}

/* What has become free by moving others about. */
static void use_gaps(struct plan_work *w)
{
    for (size_t i = 0; i < w->ng; i++)
        if (w->at[w->order[i]] == NOWHERE && w->may[w->order[i]])
            ha_pw_place(w, w->order[i]);
}

void ha_pw_calm(struct plan_work *w)
{
    bool changed = true;
    uint64_t limit = w->limit;
    w->limit = w->steps + limit / 4 + 100000; /* this comes after a search that may be tired */
    w->trailing = true;
    w->ntrail = 0;
    calm_stops(w);
    for (int pass = 0; pass < PASSES && changed; pass++) {
        changed = false;
        for (size_t i = 0; i < w->ng; i++) {
            w->ntrail = 0;
            if (is_moved(w, w->order[i]))
                changed |= send_home(w, w->order[i]);
        }
    }
    w->trailing = false;
    w->ntrail = 0;
    w->limit = limit;
    use_gaps(w);
}

/* ------------------------------------------------------------------------- finer wishes */

uint32_t ha_pw_weak_broken(const struct plan_work *w, uint32_t r)
{
    uint32_t most = 0, broken = 0;
    for (uint32_t d = 0; d < HA_HOSTS_MAX; d++) {
        uint32_t n = w->count[r][d];
        if (n > most)
            most = n;
        if (n > 1)
            broken += n - 1;
    }
    return w->in->rules[r].kind == HA_PLAN_APART ? broken : w->placed[r] - most;
}

int64_t ha_pw_preference(const struct plan_work *w, uint32_t g, int h)
{
    const struct ha_plan_guest *guest = &w->in->guests[g];
    int64_t sum = 0;
    for (size_t i = 0; i < guest->nprefer; i++)
        if ((int)guest->prefer[i].host == h)
            sum += guest->prefer[i].weight;
    return sum;
}

/* Members of weak rules that are on the wrong side if g (off the table) is on h. */
static uint32_t weak_cost(const struct plan_work *w, uint32_t g, int h)
{
    uint32_t cost = 0;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i], here = w->count[r][w->domain[r][h]];
        if (!ha_pw_hard(w, r))
            cost += w->in->rules[r].kind == HA_PLAN_APART ? here : w->placed[r] - here;
    }
    return cost;
}

/* Is host a, with g, emptier by proportion than b? */
static bool emptier(const struct plan_work *w, uint32_t g, int a, int b)
{
    uint64_t used_a = (uint64_t)(w->cap[a] - w->room[a] + w->mem[g]) >> 10;
    uint64_t used_b = (uint64_t)(w->cap[b] - w->room[b] + w->mem[g]) >> 10;
    return (unsigned __int128)used_a * (uint64_t)(w->cap[b] >> 10) <
           (unsigned __int128)used_b * (uint64_t)(w->cap[a] >> 10);
}

/* The host that suits g best (g is off the table); `stay`: the one to beat. With `only_wishes`,
 * balance is no reason. */
static int suits(struct plan_work *w, uint32_t g, int stay, bool only_wishes)
{
    int best = stay;
    uint32_t best_weak = weak_cost(w, g, stay);
    int64_t best_preference = ha_pw_preference(w, g, stay);
    for (uint64_t left = w->may[g] & ~(UINT64_C(1) << stay); left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        if (w->room[h] < w->mem[g])
            continue;
        uint32_t weak = weak_cost(w, g, h);
        int64_t preference = ha_pw_preference(w, g, h);
        bool better = weak != best_weak               ? weak < best_weak
                      : preference != best_preference ? preference > best_preference
                                                      : !only_wishes && emptier(w, g, h, best);
        if (!better || !ha_pw_fits(w, g, h))
            continue;
        best = h;
        best_weak = weak;
        best_preference = preference;
    }
    return best;
}

static bool improve(struct plan_work *w, uint32_t g, bool only_wishes)
{
    int was = w->at[g];
    ha_pw_take(w, g);
    int h = suits(w, g, was, only_wishes);
    ha_pw_put(w, g, h);
    return h != was;
}

void ha_pw_polish(struct plan_work *w)
{
    bool changed = true;
    for (int pass = 0; pass < PASSES && changed; pass++) {
        changed = false;
        for (size_t i = 0; i < w->ng; i++) {
            uint32_t g = w->order[i];
            bool runs = w->from[g] != NOWHERE && !(w->flags[g] & PW_LEAVE);
            if (w->at[g] == NOWHERE || !(w->up >> w->at[g] & 1))
                continue;
            if (!runs || is_moved(w, g))
                changed |= improve(w, g, false);
            else if (w->in->failback && !(w->flags[g] & PW_PINNED))
                changed |= improve(w, g, true);
        }
    }
    use_gaps(w);
}
