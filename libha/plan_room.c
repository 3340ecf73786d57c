/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner's ways to find room for one guest: a host that has it, a host that has it once a few
 * others have moved, or a host that has it once less important guests are displaced. */
#include "plan_work.h"

enum {
    AWAY_MAX = 12,   /* guests that move for one guest at a time */
    DEEP = 2,        /* moves that need moves themselves */
    DEEP_HOSTS = 6,  /* hosts looked at on the way down */
    DEEP_GUESTS = 4, /* guests of each of them */
    HOST_GUESTS_MAX = 512,
};

/* Guests that are to be taken off the table for another one. */
struct away {
    uint32_t n;
    uint32_t guest[AWAY_MAX];
};

/* ---------------------------------------------------------------------------------- directly */

/* Memory of the partners that still have no place, and the hosts that all of them may have. */
static int64_t partners_need(const struct plan_work *w, uint32_t g, uint64_t *may)
{
    int64_t need = 0;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        const struct ha_plan_rule *rule = &w->in->rules[w->rule_of[i]];
        if (rule->kind != HA_PLAN_TOGETHER || rule->domain)
            continue;
        for (size_t k = 0; k < rule->nguests; k++) {
            uint32_t m = rule->guests[k];
            if (m == g || w->at[m] != NOWHERE || !(w->flags[m] & PW_WANT) || !w->may[m])
                continue;
            need += w->mem[m];
            if (rule->strength != HA_PLAN_WEAK)
                *may &= w->may[m];
        }
    }
    return need;
}

/* The host where the least stays free; NOWHERE: none has `need` and fits. */
static int tightest(struct plan_work *w, uint32_t g, uint64_t hosts, int64_t need)
{
    int best = NOWHERE;
    w->steps += 4;
    for (uint64_t left = hosts; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        if (w->room[h] < need || (best != NOWHERE && w->room[h] >= w->room[best]))
            continue;
        if (ha_pw_has_room(w, g, h))
            best = h;
    }
    return best;
}

/* Home, else where the least stays free, with room for partners that have no place yet. */
static int direct(struct plan_work *w, uint32_t g, uint64_t except)
{
    uint64_t hosts = w->may[g] & ~except, all;
    int home = w->from[g], h;
    if (home != NOWHERE && (hosts >> home & 1) && ha_pw_has_room(w, g, home))
        return home;
    all = hosts;
    int64_t need = w->rule_at[g] == w->rule_at[g + 1] ? 0 : partners_need(w, g, &all);
    if (need > 0) {
        h = tightest(w, g, all, w->mem[g] + need);
        if (h != NOWHERE)
            return h;
    }
    return tightest(w, g, hosts, w->mem[g]);
}

bool ha_pw_place(struct plan_work *w, uint32_t g)
{
    int h = direct(w, g, 0);
    if (h == NOWHERE)
        return false;
    ha_pw_put(w, g, h);
    return true;
}

/* ---------------------------------------------------------------------------------- by moves */

static bool moves(struct plan_work *w, uint32_t g, int depth);

static bool can_go(const struct plan_work *w, uint32_t g)
{
    return (w->may[g] & ~(UINT64_C(1) << w->at[g])) != 0;
}

/* 1: moving it disturbs a running guest that was not disturbed before. */
static int disturbs(const struct plan_work *w, uint32_t g)
{
    return w->from[g] != NOWHERE && w->from[g] == w->at[g];
}

static bool is_among(const struct away *away, uint32_t g)
{
    for (uint32_t i = 0; i < away->n; i++)
        if (away->guest[i] == g)
            return true;
    return false;
}

/* Those that rules forbid beside g on h. False: too many, or one that cannot go. */
static bool conflicts(const struct plan_work *w, uint32_t g, int h, struct away *away)
{
    away->n = 0;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        const struct ha_plan_rule *rule = &w->in->rules[r];
        uint8_t d = w->domain[r][h];
        bool apart = rule->kind == HA_PLAN_APART;
        if (!ha_pw_hard(w, r) || (apart ? w->count[r][d] == 0 : w->count[r][d] == w->placed[r]))
            continue;
        for (size_t k = 0; k < rule->nguests; k++) {
            uint32_t m = rule->guests[k];
            if (m == g || w->at[m] == NOWHERE || (w->domain[r][w->at[m]] == d) != apart ||
                is_among(away, m))
                continue;
            if (away->n == AWAY_MAX)
                return false;
            away->guest[away->n++] = m;
        }
    }
    return true;
}

/* Takes `away` off, puts g on h and finds other places for them. All or nothing. */
static bool exchange(struct plan_work *w, uint32_t g, int h, const struct away *away, int depth)
{
    size_t mark = w->ntrail;
    bool done[AWAY_MAX] = {false};
    for (uint32_t i = 0; i < away->n; i++)
        ha_pw_take(w, away->guest[i]);
    bool ok = ha_pw_fits(w, g, h);
    if (ok)
        ha_pw_put(w, g, h);
    for (uint32_t i = 0; ok && i < away->n; i++) {
        int big = NOWHERE; /* the largest first */
        for (uint32_t k = 0; k < away->n; k++)
            if (!done[k] && (big < 0 || w->mem[away->guest[k]] > w->mem[away->guest[big]]))
                big = (int)k;
        assert(big >= 0); /* one of them is left in each round */
        done[big] = true;
        ok = ha_pw_place(w, away->guest[big]) ||
             (depth > 0 && moves(w, away->guest[big], depth - 1));
    }
    if (!ok)
        ha_pw_rollback(w, mark);
    return ok;
}

/* One guest goes, to a host that has room for it: the cheapest such move anywhere. */
static bool one_move(struct plan_work *w, uint32_t g)
{
    int best = NOWHERE, best_host = NOWHERE;
    for (uint64_t left = w->may[g]; left && !ha_pw_tired(w); left &= left - 1) {
        int h = __builtin_ctzll(left);
        int64_t lack = w->mem[g] - w->room[h];
        if (!ha_pw_rules_ok(w, g, h))
            continue;
        for (int32_t m = w->head[h]; m >= 0; m = w->next[m]) {
            uint32_t u = (uint32_t)m;
            w->steps++;
            if (w->mem[u] < lack || w->cpu_room[h] + w->cpu[u] < w->cpu[g] || !can_go(w, u))
                continue;
            if (best >= 0 &&
                (disturbs(w, (uint32_t)best) < disturbs(w, u) ||
                 (disturbs(w, (uint32_t)best) == disturbs(w, u) && w->mem[best] <= w->mem[u])))
                continue;
            if (direct(w, u, UINT64_C(1) << h) == NOWHERE)
                continue;
            best = m;
            best_host = h;
        }
    }
    if (best < 0)
        return false;
    struct away away = {1, {(uint32_t)best}};
    return exchange(w, g, best_host, &away, 0);
}

/* The guests of a host that can go, the largest first; their number. */
static uint32_t leavers(struct plan_work *w, int h, uint32_t *list, uint32_t max)
{
    uint32_t n = 0;
    for (int32_t m = w->head[h]; m >= 0; m = w->next[m]) {
        uint32_t u = (uint32_t)m, at;
        if (!can_go(w, u))
            continue;
        w->steps++;
        for (at = n < max ? n : max - 1; at > 0 && w->mem[list[at - 1]] < w->mem[u]; at--)
            list[at] = list[at - 1];
        if (at < max)
            list[at] = u;
        n += n < max;
    }
    return n;
}

/* Several guests go from h, the largest first, until g has room. The number of them that were not
 * disturbed before, or -1 and nothing has changed. */
static int clear_host(struct plan_work *w, uint32_t g, int h)
{
    uint32_t list[HOST_GUESTS_MAX], moved[AWAY_MAX], nmoved = 0;
    uint32_t n = leavers(w, h, list, HOST_GUESTS_MAX);
    size_t mark = w->ntrail;
    int cost = 0;
    for (uint32_t i = 0; i < n && nmoved < AWAY_MAX && w->room[h] < w->mem[g]; i++) {
        int to = direct(w, list[i], UINT64_C(1) << h);
        if (to == NOWHERE)
            continue;
        ha_pw_take(w, list[i]);
        ha_pw_put(w, list[i], to);
        moved[nmoved++] = list[i];
    }
    if (!ha_pw_fits(w, g, h)) {
        ha_pw_rollback(w, mark);
        return -1;
    }
    for (uint32_t i = nmoved; i-- > 0;) {
        uint32_t m = moved[i];
        if (w->room[h] - w->mem[m] < w->mem[g] || !ha_pw_fits(w, m, h) ||
            w->cpu_room[h] - w->cpu[m] < w->cpu[g])
            continue;
        ha_pw_take(w, m);
        ha_pw_put(w, m, h);
        moved[i] = moved[--nmoved];
    }
    for (uint32_t i = 0; i < nmoved; i++)
        cost += w->from[moved[i]] == h;
    ha_pw_put(w, g, h);
    return cost;
}

static bool several_moves(struct plan_work *w, uint32_t g)
{
    int best = NOWHERE, best_cost = 0;
    for (uint64_t left = w->may[g]; left && !ha_pw_tired(w); left &= left - 1) {
        int h = __builtin_ctzll(left);
        size_t mark = w->ntrail;
        if (!ha_pw_rules_ok(w, g, h))
            continue;
        int cost = clear_host(w, g, h);
        if (cost < 0)
            continue;
        ha_pw_rollback(w, mark);
        if (best == NOWHERE || cost < best_cost) {
            best = h;
            best_cost = cost;
        }
    }
    return best != NOWHERE && clear_host(w, g, best) >= 0;
}

/* The up to DEEP_HOSTS hosts that lack least for g. */
static uint32_t nearest(const struct plan_work *w, uint32_t g, int *hosts)
{
    uint32_t n = 0;
    for (uint64_t left = w->may[g]; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        uint32_t at = n < DEEP_HOSTS ? n : DEEP_HOSTS;
        for (; at > 0 && w->room[hosts[at - 1]] < w->room[h]; at--)
            if (at < DEEP_HOSTS)
                hosts[at] = hosts[at - 1];
        if (at < DEEP_HOSTS)
            hosts[at] = h;
        n += n < DEEP_HOSTS;
    }
    return n;
}

/* Guests in the way by a rule go, and one more for room; they may need moves themselves. */
static bool deep_moves(struct plan_work *w, uint32_t g, int depth)
{
    int hosts[DEEP_HOSTS];
    uint32_t n = nearest(w, g, hosts);
    for (uint32_t i = 0; i < n && !ha_pw_tired(w); i++) {
        int h = hosts[i];
        struct away away;
        int64_t lack = w->mem[g] - w->room[h];
        if (!conflicts(w, g, h, &away))
            continue;
        bool stuck = false;
        for (uint32_t k = 0; k < away.n; k++) {
            stuck |= !can_go(w, away.guest[k]);
            lack -= w->at[away.guest[k]] == h ? w->mem[away.guest[k]] : 0;
        }
        if (stuck)
            continue;
        if (lack <= 0) {
            if (exchange(w, g, h, &away, depth))
                return true;
            continue;
        }
        uint32_t list[HOST_GUESTS_MAX], tried = 0;
        uint32_t nlist = leavers(w, h, list, HOST_GUESTS_MAX);
        for (uint32_t k = nlist; k-- > 0 && tried < DEEP_GUESTS && away.n < AWAY_MAX;) {
            struct away more = away;
            if (w->mem[list[k]] < lack || is_among(&away, list[k]))
                continue;
            tried++;
            more.guest[more.n++] = list[k];
            if (exchange(w, g, h, &more, depth))
                return true;
        }
    }
    return false;
}

static bool moves(struct plan_work *w, uint32_t g, int depth)
{
    if (!w->may[g] || w->room_all < w->mem[g] || ha_pw_tired(w))
        return false;
    return one_move(w, g) || (depth > 0 && several_moves(w, g)) || deep_moves(w, g, depth);
}

bool ha_pw_place_by_moves(struct plan_work *w, uint32_t g)
{
    bool outer = w->trailing;
    w->trailing = true;
    if (!outer)
        w->ntrail = 0;
    bool ok = moves(w, g, DEEP);
    w->trailing = outer;
    return ok;
}

/* ----------------------------------------------------------------------------- by displacing */

/* What displacing costs: the most important class that loses, how many of it, how many in all. */
struct loss {
    uint32_t cls, of_cls, all;
    int64_t kib;
};

static bool loss_less(const struct loss *a, const struct loss *b)
{
    if (a->cls != b->cls)
        return a->cls < b->cls;
    if (a->of_cls != b->of_cls)
        return a->of_cls < b->of_cls;
    return a->all != b->all ? a->all < b->all : a->kib < b->kib;
}

static bool may_lose(const struct plan_work *w, uint32_t g, uint32_t cls)
{
    return w->cls[g] < cls && !(w->flags[g] & PW_MUST);
}

/* Victims on h for g, beside those that are forced, into w->list: of the lowest classes, few, and
 * not larger than needed. Their number; 0: that cannot be. */
static uint32_t choose_victims(struct plan_work *w, uint32_t g, int h, int64_t lack,
                               const struct away *forced)
{
    uint32_t *list = w->list, n = 0, chosen = 0;
    int64_t sum = 0;
    for (int32_t m = w->head[h]; m >= 0; m = w->next[m]) {
        uint32_t u = (uint32_t)m, at = n;
        w->steps++;
        if (!may_lose(w, u, w->cls[g]) || is_among(forced, u))
            continue;
        /* highest class first, in a class the largest first */
        for (; at > 0 && (w->cls[list[at - 1]] < w->cls[u] ||
                          (w->cls[list[at - 1]] == w->cls[u] && w->mem[list[at - 1]] < w->mem[u]));
             at--)
            list[at] = list[at - 1];
        list[at] = u;
        n++;
        sum += w->mem[u];
    }
    if (sum < lack)
        return 0;
    /* Class by class from the highest: as few of it as are needed beside all that are lower. */
    for (uint32_t i = 0; i < n && lack > 0;) {
        uint32_t end = i, cls = w->cls[list[i]];
        for (; end < n && w->cls[list[end]] == cls; end++)
            sum -= w->mem[list[end]];
        for (; i < end && lack > sum; i++) {
            /* the last one that is needed: the smallest that will do */
            while (i + 1 < end && lack - w->mem[list[i + 1]] <= sum)
                i++;
            lack -= w->mem[list[i]];
            list[chosen++] = list[i];
        }
        i = end;
    }
    return lack <= 0 ? chosen : 0;
}

static uint32_t victims(struct plan_work *w, uint32_t g, int h, struct away *forced,
                        struct loss *loss)
{
    int64_t lack = w->mem[g] - w->room[h], cpu = w->cpu_room[h];
    uint32_t n = 0;
    if (!conflicts(w, g, h, forced))
        return UINT32_MAX;
    *loss = (struct loss){0};
    for (uint32_t i = 0; i < forced->n; i++) {
        if (!may_lose(w, forced->guest[i], w->cls[g]))
            return UINT32_MAX;
        if (w->at[forced->guest[i]] == h) {
            lack -= w->mem[forced->guest[i]];
            cpu += w->cpu[forced->guest[i]];
        }
    }
    if (lack > 0) {
        n = choose_victims(w, g, h, lack, forced);
        if (!n)
            return UINT32_MAX;
    }
    for (uint32_t i = 0; i < n; i++)
        cpu += w->cpu[w->list[i]];
    if (cpu < w->cpu[g])
        return UINT32_MAX;
    for (uint32_t i = 0; i < n + forced->n; i++) {
        uint32_t v = i < n ? w->list[i] : forced->guest[i - n];
        if (w->cls[v] > loss->cls || i == 0) {
            loss->cls = w->cls[v];
            loss->of_cls = 0;
        }
        loss->of_cls += w->cls[v] == loss->cls;
        loss->all++;
        loss->kib += w->mem[v];
    }
    return n;
}

bool ha_pw_place_by_displacing(struct plan_work *w, uint32_t g)
{
    struct away forced;
    struct loss loss, best_loss = {0};
    int best = NOWHERE;
    for (uint64_t left = w->may[g]; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        if (victims(w, g, h, &forced, &loss) == UINT32_MAX)
            continue;
        if (best == NOWHERE || loss_less(&loss, &best_loss)) {
            best = h;
            best_loss = loss;
        }
    }
    if (best == NOWHERE)
        return false;
    uint32_t n = victims(w, g, best, &forced, &loss);
    for (uint32_t i = 0; i < forced.n; i++)
        ha_pw_take(w, forced.guest[i]);
    for (uint32_t i = 0; i < n; i++)
        ha_pw_take(w, w->list[i]);
    ha_pw_put(w, g, best);
    return true;
}
