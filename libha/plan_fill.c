/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which guests run, and where: class by class of priority, highest first. Each class is placed as
 * if lower ones could be displaced; then it is the lower ones' turn with what is left. */
#include "plan_work.h"

enum {
    AGAIN = 2,  /* times that all is filled once more */
    TRIES = 24, /* guests that are tried to be dropped for two others */
    SHARE = 6,  /* of the effort that one long search may take */
};

/* ------------------------------------------------------------------------------ the start */

/* Where a guest that runs may be as long as its partners stay: on hosts that are one to all strong
 * rules that keep it together with somebody. */
static uint64_t beside_partners(const struct plan_work *w, uint32_t g)
{
    uint64_t hosts = w->base[g];
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        const struct ha_plan_rule *rule = &w->in->rules[r];
        bool partner = false;
        for (size_t k = 0; k < rule->nguests; k++)
            partner |= rule->guests[k] != g && (w->flags[rule->guests[k]] & PW_WANT);
        if (rule->kind != HA_PLAN_TOGETHER || rule->strength != HA_PLAN_STRONG || !partner)
            continue;
        for (uint32_t h = 0; h < w->nh; h++)
            if (w->domain[r][h] != w->domain[r][w->from[g]])
                hosts &= ~(UINT64_C(1) << h);
    }
    return hosts;
}

/* What a guest that runs where it may is allowed to do. */
static void settle(struct plan_work *w, uint32_t g)
{
    const struct ha_plan_guest *guest = &w->in->guests[g];
    bool live = w->in->migrate && guest->move == HA_PLAN_MOVE_LIVE && !(w->flags[g] & PW_FROZEN);
    w->may[g] = live ? beside_partners(w, g) : UINT64_C(1) << w->from[g];
    if (w->may[g] == UINT64_C(1) << w->from[g])
        w->flags[g] |= PW_PINNED;
    if (guest->keep || w->in->preempt == HA_PLAN_PREEMPT_NEVER)
        w->flags[g] |= PW_MUST;
}

/* Those that run where they may are put there. Without preemption the others are, too: nobody may
 * stop them, so they count where they are until they find a better place. */
static void start(struct plan_work *w)
{
    size_t n = 0;
    ha_pw_clear(w);
    for (uint32_t g = 0; g < w->ng; g++) {
        w->flags[g] &= PW_WANT | PW_FROZEN;
        w->may[g] = w->base[g];
        if (w->from[g] != NOWHERE && w->in->migrate && !(w->flags[g] & PW_FROZEN) &&
            w->in->guests[g].move == HA_PLAN_MOVE_LIVE)
            w->flags[g] |= PW_LIVE;
        if (w->from[g] != NOWHERE && (w->flags[g] & PW_WANT))
            w->order[n++] = g;
    }
    ha_pw_sort(w, w->order, n);
    for (int keep = 1; keep >= 0; keep--) {
        for (size_t i = 0; i < n; i++) {
            uint32_t g = w->order[i];
            if (w->in->guests[g].keep != (keep == 1))
                continue;
            if (ha_pw_fits(w, g, w->from[g])) {
                ha_pw_put(w, g, w->from[g]);
                settle(w, g);
                continue;
            }
            w->flags[g] |= PW_LEAVE;
            if (w->in->preempt == HA_PLAN_PREEMPT_NEVER) {
                w->flags[g] |= PW_MUST;
                ha_pw_put(w, g, w->from[g]);
            }
        }
    }
}

/* Without preemption: those that should leave do, if they find a place. */
static void leave(struct plan_work *w)
{
    for (size_t i = 0; i < w->ng; i++) {
        uint32_t g = w->order[i];
        if (!(w->flags[g] & PW_LEAVE) || w->at[g] == NOWHERE)
            continue;
        int was = w->at[g];
        ha_pw_take(w, g);
        if (!ha_pw_place(w, g) && !ha_pw_place_by_moves(w, g))
            ha_pw_put(w, g, was);
    }
}

/* ------------------------------------------------------------------------------ a class */

/* How many guests of the class could run if memory were in one piece and lower ones gone. */
static uint32_t bound(const struct plan_work *w, const uint32_t *members, size_t n)
{
    int64_t room = w->room_all;
    uint32_t count = 0, cls = w->cls[members[0]];
    for (uint32_t g = 0; g < w->ng; g++)
        if (w->at[g] != NOWHERE && w->cls[g] <= cls && (w->up >> w->at[g] & 1) &&
            (w->cls[g] == cls || !(w->flags[g] & PW_MUST)))
            room += w->mem[g];
    for (size_t i = n; i-- > 0;) { /* the smallest first */
        if (!w->may[members[i]] || w->mem[members[i]] > room)
            continue;
        room -= w->mem[members[i]];
        count++;
    }
    return count;
}

/* Places one more guest of the class by the long search, the smallest first. */
static bool one_more(struct plan_work *w, const uint32_t *members, size_t n, uint64_t steps)
{
    for (size_t i = n; i-- > 0 && !ha_pw_tired(w);) {
        if (w->at[members[i]] != NOWHERE || !w->may[members[i]])
            continue;
        w->pool[0] = members[i];
        if (ha_pw_eject(w, 1, w->cls[members[i]], steps))
            return true;
    }
    return false;
}

/* May this one lose its place to two others of its class? */
static bool may_drop(const struct plan_work *w, uint32_t g)
{
    return w->at[g] != NOWHERE && !(w->flags[g] & PW_MUST) &&
           (w->from[g] == NOWHERE || (w->flags[g] & PW_LEAVE) ||
            w->in->preempt == HA_PLAN_PREEMPT_MORE);
}

/* Those of the class that have no place, though some host could have them: into w->pool, the
 * smallest first. */
static size_t waiting(struct plan_work *w, const uint32_t *members, size_t n)
{
    size_t count = 0;
    for (size_t i = n; i-- > 0;)
        if (w->at[members[i]] == NOWHERE && w->may[members[i]])
            w->pool[count++] = members[i];
    return count;
}

/* How many of the n in w->pool would fit on the host of g instead of it. */
static uint32_t instead(struct plan_work *w, size_t n, uint32_t g, bool keep)
{
    int h = w->at[g];
    uint32_t count = 0;
    size_t mark = w->ntrail;
    ha_pw_take(w, g);
    for (size_t i = 0; i < n && w->mem[w->pool[i]] <= w->room[h]; i++) {
        uint32_t m = w->pool[i];
        if (!ha_pw_fits(w, m, h))
            continue;
        ha_pw_put(w, m, h);
        count++;
    }
    if (!keep)
        ha_pw_rollback(w, mark);
    return count;
}

/* Drops one guest of the class for several others of it, on the same host. */
static bool one_for_several(struct plan_work *w, const uint32_t *members, size_t n)
{
    int best = NOWHERE;
    uint32_t best_count = 1;
    size_t nwaiting = waiting(w, members, n);
    if (nwaiting < 2)
        return false;
    w->trailing = true;
    w->ntrail = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t g = members[i];
        if (!may_drop(w, g))
            continue;
        uint32_t count = instead(w, nwaiting, g, false);
        bool better = count > best_count || (count == best_count && count > 1 &&
                                             w->from[g] == NOWHERE && w->from[best] != NOWHERE);
        if (better) {
            best = (int)g;
            best_count = count;
        }
    }
    if (best != NOWHERE)
        instead(w, nwaiting, (uint32_t)best, true);
    w->trailing = false;
    w->ntrail = 0;
    return best != NOWHERE;
}

/* Drops one and finds places for two anywhere by the long search. */
static bool one_for_two(struct plan_work *w, const uint32_t *members, size_t n, uint64_t steps)
{
    uint32_t two[2], tries = 0;
    if (waiting(w, members, n) < 2)
        return false;
    two[0] = w->pool[0];
    two[1] = w->pool[1];
    for (size_t i = 0; i < n && tries < TRIES && !ha_pw_tired(w); i++) {
        uint32_t g = members[i];
        if (!may_drop(w, g) || w->mem[g] <= w->mem[two[1]])
            continue;
        int was = w->at[g];
        tries++;
        ha_pw_take(w, g);
        w->pool[0] = two[1];
        w->pool[1] = two[0];
        if (ha_pw_eject(w, 2, w->cls[g], steps))
            return true;
        ha_pw_put(w, g, was);
    }
    return false;
}

static uint32_t placed_of(const struct plan_work *w, const uint32_t *members, size_t n)
{
    return n ? w->nclass_placed[w->cls[members[0]]] : 0;
}

/* By moves, but not with all the effort there is: others come later. */
static void make_room(struct plan_work *w, const uint32_t *members, size_t n)
{
    uint64_t limit = w->limit;
    for (size_t i = 0; i < n; i++) {
        if (w->at[members[i]] != NOWHERE)
            continue;
        w->limit = w->steps + (limit > w->steps ? (limit - w->steps) / SHARE : 0);
        if (!ha_pw_place_by_moves(w, members[i]))
            ha_pw_place_by_displacing(w, members[i]);
        w->limit = limit;
    }
}

/* A guest that cannot be moved live, or not far, and has lost its place to a higher one may be
 * started again anywhere; one that is at home stays there. */
static void unpin_displaced(struct plan_work *w, const uint32_t *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t g = members[i];
        if ((w->flags[g] & (PW_PINNED | PW_OUT)) == PW_PINNED)
            w->may[g] = w->at[g] == w->from[g] ? UINT64_C(1) << w->from[g] : w->base[g];
        else if (w->at[g] == NOWHERE && w->from[g] != NOWHERE && !(w->flags[g] & PW_OUT))
            w->may[g] = w->flags[g] & PW_WANT ? w->base[g] : 0;
    }
}

static void place_class(struct plan_work *w, const uint32_t *members, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (w->at[members[i]] == NOWHERE)
            ha_pw_place(w, members[i]);
    if (!waiting(w, members, n))
        return;
    make_room(w, members, n);
    while (placed_of(w, members, n) < n && one_for_several(w, members, n))
        ;
    uint32_t most = bound(w, members, n);
    while (placed_of(w, members, n) < most && !ha_pw_tired(w)) {
        uint64_t steps = (w->limit - w->steps) / SHARE;
        if (!one_more(w, members, n, steps) && !one_for_two(w, members, n, steps / 4))
            break;
    }
}

static void fill_class(struct plan_work *w, const uint32_t *members, size_t n)
{
    unpin_displaced(w, members, n);
    place_class(w, members, n);
    unpin_displaced(w, members, n);
}

static void fill_classes(struct plan_work *w)
{
    for (size_t i = 0; i < w->ng;) {
        size_t end = i;
        while (end < w->ng && w->cls[w->order[end]] == w->cls[w->order[i]])
            end++;
        /* Those that should not run are in between: they are never placed. */
        fill_class(w, w->order + i, end - i);
        i = end;
    }
}

/* ------------------------------------------------------------------------------ the whole */

int ha_pw_compare(const struct plan_work *w, const int16_t *a, const int16_t *b,
                  uint32_t *ret_class)
{
    /* In w->order the classes are in order, highest first. */
    for (size_t i = 0; i < w->ng;) {
        int difference = 0;
        uint32_t cls = w->cls[w->order[i]];
        for (; i < w->ng && w->cls[w->order[i]] == cls; i++)
            difference += (a[w->order[i]] != NOWHERE) - (b[w->order[i]] != NOWHERE);
        if (difference) {
            *ret_class = cls;
            return difference;
        }
    }
    return 0;
}

static void first_fit(struct plan_work *w)
{
    for (size_t i = 0; i < w->ng; i++) {
        uint32_t g = w->order[i];
        for (uint32_t h = 0; h < w->nh && w->at[g] == NOWHERE && (w->flags[g] & PW_WANT); h++)
            if (ha_pw_fits(w, g, (int)h))
                ha_pw_put(w, g, (int)h);
    }
}

/* Running guests that would be stopped, moved. */
static uint32_t disturbed(const struct plan_work *w, const int16_t *places)
{
    uint32_t n = 0;
    for (uint32_t g = 0; g < w->ng; g++)
        n += w->from[g] != NOWHERE && (w->flags[g] & PW_WANT) && places[g] != w->from[g];
    return n;
}

/* Keeps the better of the table and w->best in w->best: more guests that run, fewer disturbances.
 */
static bool keep_better(struct plan_work *w)
{
    uint32_t cls;
    int more = ha_pw_compare(w, w->at, w->best, &cls);
    if (more < 0 || (more == 0 && disturbed(w, w->at) >= disturbed(w, w->best)))
        return false;
    ha_pw_save(w, w->best);
    return true;
}

static bool is_stopped(const struct plan_work *w, uint32_t g, const int16_t *places)
{
    return (w->flags[g] & PW_WANT) && w->from[g] != NOWHERE && places[g] == NOWHERE &&
           !(w->flags[g] & PW_LEAVE);
}

/* The second time it is known who gives way: with those off the table from the start, more
 * newcomers find room without anybody else having to move. */
static void fill_knowingly(struct plan_work *w)
{
    memcpy(w->save, w->best, w->ng * sizeof *w->save);
    ha_pw_restore(w, w->first);
    for (uint32_t g = 0; g < w->ng; g++) {
        if (!is_stopped(w, g, w->save))
            continue;
        if (w->at[g] != NOWHERE)
            ha_pw_take(w, g);
        w->may[g] = 0;
        w->flags[g] |= PW_OUT;
    }
    fill_classes(w);
    for (uint32_t g = 0; g < w->ng; g++) {
        if (!(w->flags[g] & PW_OUT))
            continue;
        w->flags[g] &= (uint8_t)~PW_OUT;
        w->may[g] = w->flags[g] & PW_PINNED ? UINT64_C(1) << w->from[g] : beside_partners(w, g);
    }
    fill_classes(w);
}

void ha_pw_fill(struct plan_work *w)
{
    uint32_t cls;
    uint64_t limit = w->limit, begin = w->steps;
    start(w);
    for (uint32_t g = 0; g < w->ng; g++) {
        w->order[g] = g;
        if (!(w->flags[g] & PW_WANT))
            w->may[g] = 0;
    }
    ha_pw_sort(w, w->order, w->ng);
    leave(w);
    ha_pw_save(w, w->first);
    first_fit(w);
    ha_pw_save(w, w->best);
    ha_pw_restore(w, w->first);
    w->limit = begin + (limit - begin) / 2;
    fill_classes(w);
    if (ha_pw_compare(w, w->best, w->at, &cls) > 0) {
        ha_pw_restore(w, w->best);
        fill_classes(w);
    }
    ha_pw_calm(w);
    ha_pw_save(w, w->best);
    for (int again = 0; again < AGAIN && disturbed(w, w->best); again++) {
        w->limit = w->steps + (limit - begin) / 2 / AGAIN;
        fill_knowingly(w);
        ha_pw_calm(w);
        if (!keep_better(w))
            break;
    }
    ha_pw_restore(w, w->best);
    w->limit = limit;
}
