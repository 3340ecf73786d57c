/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many host failures a placement tolerates: after any k of them, every guest that ran on the
 * failed hosts can be started on the others, with nobody moved or stopped for it. Never more than
 * is true: a number is claimed when each set of k hosts has been tried out, or when there is so
 * much room that it does not matter where each guest goes. It is exact when a set of k + 1 was
 * shown to be too much. */
#include "plan_work.h"

enum {
    GREEDY_STEPS = 8,    /* about so many for each guest of a set of hosts */
    PROOF_STEPS = 40000, /* for the question whether one set of failures can be borne at all */
};

enum verdict {
    BORNE,
    NOT_BORNE,
    UNDECIDED,
};

struct tolerate {
    struct plan_work *w;
    struct ha_plan *plan;
    uint64_t failed;
    size_t nlost; /* in w->pool, the largest first */
    uint64_t end; /* of steps, for one proof */
};

/* -------------------------------------------------------------------------- one set of hosts */

/* Takes the guests of the failed hosts off. */
static void fail(struct tolerate *t)
{
    struct plan_work *w = t->w;
    w->ntrail = 0;
    w->trailing = true;
    t->nlost = 0;
    for (uint64_t left = t->failed; left; left &= left - 1) {
        int h = __builtin_ctzll(left);
        for (int32_t m = w->head[h]; m >= 0; m = w->next[m])
            w->pool[t->nlost++] = (uint32_t)m;
    }
    for (size_t i = 0; i < t->nlost; i++) {
        uint32_t g = w->pool[i];
        ha_pw_take(w, g);
        w->may[g] = w->base[g] & ~t->failed;
        w->from[g] = NOWHERE;
    }
    /* By size alone: what counts is that all find a place. */
    for (size_t i = 1; i < t->nlost; i++) {
        uint32_t g = w->pool[i];
        size_t at = i;
        for (; at > 0 && w->mem[w->pool[at - 1]] < w->mem[g]; at--)
            w->pool[at] = w->pool[at - 1];
        w->pool[at] = g;
    }
}

static void recover(struct tolerate *t)
{
    ha_pw_rollback(t->w, 0);
    t->w->trailing = false;
}

/* Without rules' sake it can be known at once. */
static bool hopeless(struct tolerate *t)
{
    const struct plan_work *w = t->w;
    int64_t need = 0, room = w->room_all;
    uint64_t gone = t->failed;
    /* room_all has the failed hosts in it, now empty. */
    for (; gone; gone &= gone - 1)
        room -= w->cap[__builtin_ctzll(gone)];
    for (size_t i = 0; i < t->nlost; i++) {
        need += w->mem[w->pool[i]];
        if (!w->may[w->pool[i]]) {
            t->plan->gap = (struct ha_plan_gap){t->failed, (int32_t)w->pool[i], 0};
            return true;
        }
    }
    if (need <= room)
        return false;
    t->plan->gap =
        (struct ha_plan_gap){t->failed, (int32_t)w->pool[t->nlost - 1], (uint64_t)(need - room)};
    return true;
}

static bool greedily(struct tolerate *t)
{
    struct plan_work *w = t->w;
    size_t mark = w->ntrail;
    for (size_t i = 0; i < t->nlost; i++) {
        if (ha_pw_place(w, w->pool[i]))
            continue;
        t->plan->gap = (struct ha_plan_gap){t->failed, (int32_t)w->pool[i], 0};
        ha_pw_rollback(w, mark);
        return false;
    }
    return true;
}

/* Every way there is, as long as the steps last. */
static enum verdict exhaustively(struct tolerate *t)
{
    struct plan_work *w = t->w;
    size_t depth = 0;
    int16_t *at = w->save; /* the host tried last, for each depth */
    at[0] = NOWHERE;
    while (depth < t->nlost) {
        uint32_t g = w->pool[depth];
        int h = at[depth] + 1;
        if (w->steps > t->end)
            return UNDECIDED;
        if (w->at[g] != NOWHERE)
            ha_pw_take(w, g);
        while (h < (int)w->nh && !ha_pw_fits(w, g, h))
            h++;
        if (h == (int)w->nh) {
            if (depth == 0)
                return NOT_BORNE;
            depth--;
            continue;
        }
        at[depth] = (int16_t)h;
        ha_pw_put(w, g, h);
        depth++;
        if (depth < t->nlost)
            at[depth] = NOWHERE;
    }
    return BORNE;
}

static enum verdict try_set(struct tolerate *t)
{
    struct plan_work *w = t->w;
    enum verdict verdict = BORNE;
    fail(t);
    w->steps += GREEDY_STEPS * t->nlost;
    if (hopeless(t)) {
        verdict = NOT_BORNE;
    } else if (!greedily(t)) {
        t->end = w->steps + PROOF_STEPS;
        w->trailing = false; /* nothing is to be taken back but what was lost */
        size_t lost_trail = w->ntrail;
        verdict = exhaustively(t);
        for (size_t i = 0; i < t->nlost; i++)
            if (w->at[w->pool[i]] != NOWHERE)
                ha_pw_take(w, w->pool[i]);
        w->ntrail = lost_trail;
    }
    recover(t);
    return verdict;
}

/* ------------------------------------------------------------------------- all sets of k */

/* The next k bits out of the hosts that are up, by position; false: that was the last. */
static bool next_set(uint32_t *pick, uint32_t k, uint32_t n)
{
    uint32_t i = k;
    while (i-- > 0) {
        if (pick[i] + (k - i) < n) {
            pick[i]++;
            for (uint32_t j = i + 1; j < k; j++)
                pick[j] = pick[j - 1] + 1;
            return true;
        }
    }
    return false;
}

/* Is it hopeless to look at all sets of k? */
static bool too_much_work(const struct tolerate *t, uint32_t n, uint32_t k)
{
    const struct plan_work *w = t->w;
    uint64_t sets = 1, placed = 0;
    for (uint32_t g = 0; g < w->ng; g++)
        placed += w->at[g] != NOWHERE;
    for (uint32_t i = 0; i < k; i++) {
        sets = sets * (n - i) / (i + 1);
        if (sets > w->limit)
            return true;
    }
    return w->steps + sets * (1 + placed * k / n) * GREEDY_STEPS > w->limit;
}

/* The k fullest hosts: if one set is too much, it may be this. */
static uint64_t fullest(const struct plan_work *w, uint32_t k)
{
    uint64_t set = 0;
    for (uint32_t i = 0; i < k; i++) {
        int best = NOWHERE;
        for (uint32_t h = 0; h < w->nh; h++)
            if ((w->up & ~set) >> h & 1 &&
                (best < 0 || w->cap[h] - w->room[h] > w->cap[best] - w->room[best]))
                best = (int)h;
        if (best < 0)
            break;
        set |= UINT64_C(1) << best;
    }
    return set;
}

static enum verdict try_all(struct tolerate *t, const uint32_t *hosts, uint32_t n, uint32_t k)
{
    uint32_t pick[HA_HOSTS_MAX];
    enum verdict all = BORNE;
    if (too_much_work(t, n, k)) {
        t->failed = fullest(t->w, k);
        return try_set(t) == NOT_BORNE ? NOT_BORNE : UNDECIDED;
    }
    for (uint32_t i = 0; i < k; i++)
        pick[i] = i;
    do {
        if (ha_pw_tired(t->w))
            return UNDECIDED;
        t->failed = 0;
        for (uint32_t i = 0; i < k; i++)
            t->failed |= UINT64_C(1) << hosts[pick[i]];
        enum verdict one = try_set(t);
        if (one == NOT_BORNE)
            return one;
        if (one == UNDECIDED)
            all = UNDECIDED;
    } while (next_set(pick, k, n));
    return all;
}

/* ------------------------------------------------------------------ so much room that ... */

/* The hosts that rules may forbid a guest, at most, wherever its partners are; UINT32_MAX: unknown.
 */
static uint32_t forbidden(const struct plan_work *w, uint32_t g)
{
    uint32_t n = 0;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i], largest = 0, size[HA_HOSTS_MAX] = {0};
        if (!ha_pw_hard(w, r))
            continue;
        if (w->in->rules[r].kind == HA_PLAN_TOGETHER)
            return UINT32_MAX;
        for (uint32_t h = 0; h < w->nh; h++)
            if (++size[w->domain[r][h]] > largest)
                largest = size[w->domain[r][h]];
        n += largest * (uint32_t)(w->in->rules[r].nguests - 1);
    }
    return n;
}

/* After any k failures, is there a host with room for g, wherever the others went? If there were
 * none, each host that g may have would have less free than g needs. */
static bool always_room(const struct plan_work *w, uint32_t g, const int64_t *caps,
                        const int64_t *rooms, uint32_t k)
{
    int64_t left = w->room_all;
    uint32_t x = forbidden(w, g), n = 0;
    for (uint64_t may = w->base[g] & w->up; may; may &= may - 1)
        n++;
    if (x >= n || n <= k)
        return false;
    for (uint32_t i = 0; i < k; i++)
        left -= caps[i];
    for (uint32_t i = 0; i < x; i++)
        left -= rooms[i];
    for (uint64_t other = w->up & ~w->base[g]; other; other &= other - 1)
        left -= w->room[__builtin_ctzll(other)];
    return left >= (int64_t)n * w->mem[g];
}

static void sorted_in(int64_t *list, uint32_t n, int64_t value)
{
    for (; n > 0 && list[n - 1] < value; n--)
        list[n] = list[n - 1];
    list[n] = value;
}

/* A number of failures that is surely tolerated. */
static unsigned plenty(const struct plan_work *w)
{
    int64_t caps[HA_HOSTS_MAX] = {0}, rooms[HA_HOSTS_MAX] = {0};
    uint32_t n = 0, k = 0;
    if (w->in->vcpus_per_cpu)
        return 0;
    for (uint32_t h = 0; h < w->nh; h++) {
        if (!(w->up >> h & 1))
            continue;
        sorted_in(caps, n, w->cap[h]);
        sorted_in(rooms, n, w->room[h]);
        n++;
    }
    for (; k + 1 < n; k++)
        for (uint32_t g = 0; g < w->ng; g++)
            if (w->at[g] != NOWHERE && !always_room(w, g, caps, rooms, k + 1))
                return k;
    return k;
}

/* Every set of k has enough room by sum alone? If not, which. */
static bool too_many(const struct plan_work *w, uint32_t k, struct ha_plan_gap *gap)
{
    uint64_t largest = 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < k; i++) {
        int best = NOWHERE;
        for (uint32_t h = 0; h < w->nh; h++)
            if ((w->up & ~largest) >> h & 1 && (best < 0 || w->cap[h] > w->cap[best]))
                best = (int)h;
        if (best < 0)
            return false;
        largest |= UINT64_C(1) << best;
        sum += w->cap[best];
    }
    if (sum <= w->room_all)
        return false;
    *gap = (struct ha_plan_gap){largest, HA_PLAN_NONE, (uint64_t)(sum - w->room_all)};
    return true;
}

void ha_pw_tolerate(struct plan_work *w, struct ha_plan *plan)
{
    struct tolerate t = {.w = w, .plan = plan};
    uint32_t hosts[HA_HOSTS_MAX], n = 0;
    unsigned sure = plenty(w), k = 0;
    plan->gap.guest = HA_PLAN_NONE;
    for (uint64_t left = w->up; left; left &= left - 1)
        hosts[n++] = (uint32_t)__builtin_ctzll(left);
    for (uint32_t h = 0; h < w->nh; h++)
        if (!(w->up >> h & 1) && w->head[h] >= 0)
            n = 0; /* somebody could not leave a host as he should: nothing to promise */
    plan->tolerates_exact = true;
    for (; k < n; k++) {
        if (too_many(w, k + 1, &plan->gap))
            break;
        if (k + 1 <= sure)
            continue;
        plan->gap = (struct ha_plan_gap){.guest = HA_PLAN_NONE};
        enum verdict verdict = try_all(&t, hosts, n, k + 1);
        if (verdict == BORNE)
            continue;
        plan->tolerates_exact = verdict == NOT_BORNE;
        break;
    }
    plan->tolerates = k;
}
