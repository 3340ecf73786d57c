/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When it is settled how many guests of each class run: the fewest disturbances for it, then weak
 * rules, preferences and balance for those that have to be placed anyway. */
#include "plan_work.h"

enum {
    PASSES = 4,
    TRADE_MAX = 12,       /* guests that make room for one that likes their host better */
    TRADE_STEPS = 100000, /* of search for such trades: they are a luxury */
};

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

/* May it be placed anew for wishes' sake? */
static bool is_free(const struct plan_work *w, uint32_t g)
{
    bool runs = w->from[g] != NOWHERE && !(w->flags[g] & PW_LEAVE);
    bool may_go = w->in->failback && !w->in->guests[g].content && !(w->flags[g] & PW_PINNED);
    return w->at[g] != NOWHERE && (w->up >> w->at[g] & 1) && (!runs || is_moved(w, g) || may_go);
}

/* What guests gain and lose by a trade. */
struct wishes {
    int64_t weak, preference;
};

static void put_down(struct plan_work *w, uint32_t g, int h, struct wishes *sum)
{
    sum->weak += weak_cost(w, g, h);
    sum->preference += ha_pw_preference(w, g, h);
    ha_pw_put(w, g, h);
}

static void pick_up(struct plan_work *w, uint32_t g, struct wishes *sum)
{
    int h = w->at[g];
    ha_pw_take(w, g);
    sum->weak -= weak_cost(w, g, h);
    sum->preference -= ha_pw_preference(w, g, h);
}

/* Who can leave the host and likes it least, the largest of them; NOWHERE: nobody. Not one that
 * runs there: two running guests would have to step aside for each other, and seen from half way
 * going back could look better than going on, for ever. */
static int32_t least_fond(struct plan_work *w, int h)
{
    int32_t best = NOWHERE;
    for (int32_t m = w->head[h]; m >= 0; m = w->next[m]) {
        w->steps++;
        if (!is_free(w, (uint32_t)m) || (w->from[m] == h && !(w->flags[m] & PW_LEAVE)))
            continue;
        int64_t less = best < 0 ? -1
                                : ha_pw_preference(w, (uint32_t)m, h) -
                                      ha_pw_preference(w, (uint32_t)best, h);
        if (less < 0 || (less == 0 && w->mem[m] > w->mem[best]))
            best = m;
    }
    return best;
}

/* g, off the table, goes where it fits and likes it best. */
static bool settle_down(struct plan_work *w, uint32_t g, struct wishes *sum)
{
    uint64_t left = w->may[g];
    while (left && !ha_pw_fits(w, g, __builtin_ctzll(left)))
        left &= left - 1;
    if (left)
        put_down(w, g, suits(w, g, __builtin_ctzll(left), false), sum);
    return left != 0;
}

/* Guests of h that can go, until there is room for g and no weak rule is worse off; into `away`,
 * the largest first. Their number. */
static uint32_t clear_for(struct plan_work *w, uint32_t g, int h, struct wishes *sum,
                          uint32_t *away)
{
    int64_t weak = -sum->weak;
    uint32_t n = 0;
    while (n < TRADE_MAX && (!ha_pw_fits(w, g, h) || weak_cost(w, g, h) > weak)) {
        int32_t u = least_fond(w, h);
        uint32_t at = n;
        if (u < 0)
            break;
        for (; at > 0 && w->mem[away[at - 1]] < w->mem[u]; at--)
            away[at] = away[at - 1];
        away[at] = (uint32_t)u;
        n++;
        pick_up(w, (uint32_t)u, sum);
    }
    return n;
}

/* g goes to a host that it likes better and that is full, or against a rule; some of that host's
 * guests go elsewhere. All or nothing, and only if more wishes come true by it. */
static bool trade(struct plan_work *w, uint32_t g, int h)
{
    uint32_t away[TRADE_MAX];
    struct wishes sum = {0, 0};
    w->ntrail = 0;
    pick_up(w, g, &sum);
    uint32_t n = clear_for(w, g, h, &sum, away);
    bool ok = ha_pw_fits(w, g, h);
    if (ok)
        put_down(w, g, h, &sum);
    for (uint32_t i = 0; ok && i < n; i++)
        ok = settle_down(w, away[i], &sum);
    ok = ok && (sum.weak < 0 || (sum.weak == 0 && sum.preference > 0));
    if (!ok)
        ha_pw_rollback(w, 0);
    return ok;
}

static bool has_wishes(const struct plan_work *w, uint32_t g)
{
    bool wishes = w->in->guests[g].nprefer > 0;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1] && !wishes; i++)
        wishes = !ha_pw_hard(w, w->rule_of[i]);
    return wishes;
}

/* Hosts that g would like better than its own, or would if others left them. */
static uint64_t liked_better(struct plan_work *w, uint32_t g)
{
    int here = w->at[g];
    uint64_t hosts = 0;
    ha_pw_take(w, g);
    uint32_t weak_here = weak_cost(w, g, here);
    int64_t liked = ha_pw_preference(w, g, here);
    for (uint64_t left = w->may[g]; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        if (weak_cost(w, g, h) < weak_here || ha_pw_preference(w, g, h) > liked)
            hosts |= UINT64_C(1) << h;
    }
    ha_pw_put(w, g, here);
    return hosts;
}

/* Where one alone cannot improve: its place is taken by somebody who does not care. */
static void trade_all(struct plan_work *w)
{
    uint64_t end = w->steps + TRADE_STEPS;
    bool changed = true;
    w->trailing = true;
    for (int pass = 0; pass < PASSES && changed; pass++) {
        changed = false;
        for (size_t i = 0; i < w->ng && w->steps < end; i++) {
            uint32_t g = w->order[i];
            w->ntrail = 0;
            uint64_t left = has_wishes(w, g) && is_free(w, g) ? liked_better(w, g) : 0;
            for (; left && w->steps < end && !trade(w, g, __builtin_ctzll(left)); left &= left - 1)
                ;
            changed |= left != 0;
        }
    }
    w->trailing = false;
    w->ntrail = 0;
}

void ha_pw_polish(struct plan_work *w)
{
    bool changed = true;
    for (int pass = 0; pass < PASSES && changed; pass++) {
        changed = false;
        for (size_t i = 0; i < w->ng; i++) {
            uint32_t g = w->order[i];
            bool runs = w->from[g] != NOWHERE && !(w->flags[g] & PW_LEAVE);
            if (is_free(w, g))
                changed |= improve(w, g, runs && !is_moved(w, g));
        }
    }
    trade_all(w);
    use_gaps(w);
}
