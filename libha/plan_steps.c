/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way from where guests run to where they shall run: an order in which every step is allowed
 * when its turn comes. A live migration has the guest's memory on both hosts until it is done; what
 * a rule forbids at the end is forbidden on the way, too. */
#include "plan_work.h"

enum {
    ACTIONS_A_GUEST = 4,  /* a step aside, a stop, a start; one to spare */
    ASIDE_STEPS = 300000, /* for one question whether two guests could step aside */
};

enum todo {
    TODO_NOTHING,
    TODO_START,
    TODO_MIGRATE,
    TODO_MIGRATE_ASIDE, /* the same; it has stepped aside already */
    TODO_PREEMPT,
    TODO_RESTART,   /* has been stopped, has to be started */
    TODO_STOP_COLD, /* cannot be moved live, has to leave: stop and start */
};

struct steps {
    struct plan_work *w;
    struct ha_plan *plan;
    const int16_t *target;
    uint8_t *cold;
    size_t ncold, left; /* guests with something to do */
    size_t n;           /* in w->list: guests, the most important first */
};

size_t ha_pw_actions_max(const struct ha_plan_instance *in)
{
    return ACTIONS_A_GUEST * in->nguests + 1;
}

static void act(struct steps *s, enum ha_plan_do what, uint32_t g, int from, int to)
{
    struct plan_work *w = s->w;
    size_t i = s->plan->nactions++;
    assert(i < ha_pw_actions_max(w->in));
    s->plan->actions[i] = (struct ha_plan_action){
        .what = what, .guest = g, .from = from, .to = to, .for_guest = HA_PLAN_NONE};
    w->prev_action[i] = w->last_action[g];
    w->last_action[g] = (int32_t)i;
    if (from != NOWHERE)
        ha_pw_take(w, g);
    if (to != NOWHERE)
        ha_pw_put(w, g, to);
}

static void done(struct steps *s, uint32_t g)
{
    s->w->todo[g] = TODO_NOTHING;
    s->left--;
}

/* What a guest has to do. */
static enum todo task(const struct steps *s, uint32_t g)
{
    const struct plan_work *w = s->w;
    int from = w->from[g], to = s->target[g];
    if (from == to)
        return TODO_NOTHING;
    if (from == NOWHERE)
        return TODO_START;
    if (to == NOWHERE)
        return TODO_PREEMPT;
    return w->flags[g] & PW_LIVE ? TODO_MIGRATE : TODO_STOP_COLD;
}

static void begin(struct steps *s)
{
    struct plan_work *w = s->w;
    ha_pw_clear(w);
    s->plan->nactions = 0;
    for (uint32_t g = 0; g < w->ng; g++) {
        w->last_action[g] = HA_PLAN_NONE;
        if (w->from[g] != NOWHERE)
            ha_pw_put(w, g, w->from[g]);
    }
    for (size_t i = 0; i < w->ng; i++) {
        uint32_t g = w->order[i];
        w->todo[g] = (uint8_t)task(s, g);
        if (w->todo[g] == TODO_NOTHING)
            continue;
        if (w->todo[g] == TODO_PREEMPT && !(w->flags[g] & PW_WANT)) {
            w->todo[g] = TODO_NOTHING;
            act(s, HA_PLAN_STOP, g, w->from[g], NOWHERE);
            continue;
        }
        w->list[s->n++] = g;
    }
    s->left = s->n;
}

/* Starts that can be done now; true: there were some. */
static bool starts(struct steps *s)
{
    struct plan_work *w = s->w;
    bool any = false;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t g = w->list[i];
        if ((w->todo[g] != TODO_START && w->todo[g] != TODO_RESTART) ||
            !ha_pw_has_room(w, g, s->target[g]))
            continue;
        act(s, HA_PLAN_START, g, NOWHERE, s->target[g]);
        done(s, g);
        any = true;
    }
    return any;
}

static bool is_migration(const struct plan_work *w, uint32_t g)
{
    return w->todo[g] == TODO_MIGRATE || w->todo[g] == TODO_MIGRATE_ASIDE;
}

static bool migrations(struct steps *s)
{
    struct plan_work *w = s->w;
    bool any = false;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t g = w->list[i];
        if (!is_migration(w, g) || !ha_pw_has_room(w, g, s->target[g]))
            continue;
        act(s, HA_PLAN_MIGRATE, g, w->at[g], s->target[g]);
        done(s, g);
        any = true;
    }
    return any;
}

/* Does somebody wait for room on this host? */
static bool awaited(const struct steps *s, int h)
{
    const struct plan_work *w = s->w;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t g = w->list[i];
        if (w->todo[g] != TODO_NOTHING && w->todo[g] != TODO_PREEMPT && s->target[g] == h)
            return true;
    }
    return false;
}

/* Stops of guests that get no place: those in the way first, the least important first. */
static bool one_stop(struct steps *s)
{
    struct plan_work *w = s->w;
    for (int needed = 1; needed >= 0; needed--) {
        for (size_t i = s->n; i-- > 0;) {
            uint32_t g = w->list[i];
            bool cold = w->todo[g] == TODO_STOP_COLD;
            if ((w->todo[g] != TODO_PREEMPT && !cold) || (needed && !awaited(s, w->at[g])))
                continue;
            act(s, cold ? HA_PLAN_STOP : HA_PLAN_PREEMPT, g, w->at[g], NOWHERE);
            if (cold)
                w->todo[g] = TODO_RESTART;
            else
                done(s, g);
            return true;
        }
    }
    return false;
}

/* Could anybody go on? */
static bool goes_on(struct steps *s)
{
    struct plan_work *w = s->w;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t g = w->list[i];
        if ((w->todo[g] == TODO_START || w->todo[g] == TODO_RESTART || is_migration(w, g)) &&
            w->at[g] != s->target[g] && ha_pw_has_room(w, g, s->target[g]))
            return true;
    }
    return false;
}

/* Can g step aside: it moves live, and has not done so yet? */
static bool can_step(const struct steps *s, uint32_t g)
{
    const struct plan_work *w = s->w;
    if (w->last_action[g] != HA_PLAN_NONE || !(w->flags[g] & PW_LIVE) || !(w->flags[g] & PW_WANT))
        return false;
    if (w->todo[g] == TODO_MIGRATE)
        return true;
    /* It has to be able to come back. Where nobody may be stopped, guests that are against a rule or
     * too many for their host may stay as they are, and be in the way. */
    return w->todo[g] == TODO_NOTHING && s->target[g] >= 0 &&
           w->in->preempt != HA_PLAN_PREEMPT_NEVER;
}

static void shift(struct plan_work *w, uint32_t g, int h)
{
    ha_pw_take(w, g);
    ha_pw_put(w, g, h);
}

/* g goes to h for a while. */
static void aside(struct steps *s, uint32_t g, int h)
{
    struct plan_work *w = s->w;
    if (w->todo[g] == TODO_NOTHING) { /* it only makes way, and comes back */
        w->list[s->n++] = g;
        s->left++;
    }
    w->todo[g] = TODO_MIGRATE_ASIDE;
    act(s, HA_PLAN_MIGRATE, g, w->at[g], h);
    s->plan->actions[s->plan->nactions - 1].reason = HA_PLAN_FOR_WAY;
}

/* The guests of h that can step aside, into w->pool behind `at`; their number. */
static size_t steppers(const struct steps *s, int h, size_t at)
{
    const struct plan_work *w = s->w;
    size_t n = 0;
    for (int32_t g = w->head[h]; g >= 0; g = w->next[g])
        if (can_step(s, (uint32_t)g))
            w->pool[at + n++] = (uint32_t)g;
    return n;
}

/* One guest of host h goes to a third host that has room. */
static bool one_aside(struct steps *s, int h)
{
    struct plan_work *w = s->w;
    size_t n = steppers(s, h, 0);
    for (size_t i = 0; i < n; i++) {
        uint32_t g = w->pool[i];
        for (uint64_t left = w->base[g] & ~(UINT64_C(1) << h); left; left &= left - 1) {
            int to = __builtin_ctzll(left);
            if (!ha_pw_has_room(w, g, to))
                continue;
            shift(w, g, to);
            bool helps = goes_on(s);
            shift(w, g, h);
            if (!helps)
                continue;
            aside(s, g, to);
            return true;
        }
    }
    return false;
}

/* A guest of h goes to `to`, once one of those there has stepped aside. */
static bool after_another(struct steps *s, uint32_t g, int h, int to, size_t nothers,
                          const uint32_t *others)
{
    struct plan_work *w = s->w;
    for (size_t k = 0; k < nothers; k++) {
        uint32_t o = others[k];
        if (w->room[to] + w->mem[o] < w->mem[g])
            continue;
        for (uint64_t left = w->base[o] & ~(UINT64_C(1) << to); left; left &= left - 1) {
            int away = __builtin_ctzll(left);
            if (!ha_pw_has_room(w, o, away))
                continue;
            shift(w, o, away);
            bool helps = ha_pw_has_room(w, g, to);
            if (helps) {
                shift(w, g, to);
                helps = goes_on(s);
                shift(w, g, h);
            }
            shift(w, o, to);
            if (!helps)
                continue;
            aside(s, o, away);
            aside(s, g, to);
            return true;
        }
    }
    return false;
}

static bool two_aside(struct steps *s, int h)
{
    struct plan_work *w = s->w;
    uint64_t end = w->steps + ASIDE_STEPS;
    size_t n = steppers(s, h, 0);
    for (uint32_t to = 0; to < w->nh && w->steps < end; to++) {
        if ((int)to == h)
            continue;
        size_t nothers = steppers(s, (int)to, n);
        for (size_t i = 0; i < n && w->steps < end; i++) {
            uint32_t g = w->pool[i];
            w->steps += nothers + s->n;
            if ((w->base[g] >> to & 1) && !ha_pw_has_room(w, g, (int)to) &&
                after_another(s, g, h, (int)to, nothers, w->pool + n))
                return true;
        }
    }
    return false;
}

/* Guests wait for each other in a circle: one of them, or one that is not concerned, steps aside to
 * a third host where somebody waits for its room; or two do, one for the other. */
static bool step_aside(struct steps *s)
{
    struct plan_work *w = s->w;
    for (int two = 0; two <= 1; two++)
        for (uint32_t h = 0; h < w->nh; h++)
            if (awaited(s, (int)h) && (two ? two_aside(s, (int)h) : one_aside(s, (int)h)))
                return true;
    return false;
}

/* The last way out: the least important one that should have moved live is stopped and started. */
static void go_cold(struct steps *s)
{
    struct plan_work *w = s->w;
    for (size_t i = s->n; i-- > 0;) {
        uint32_t g = w->list[i];
        if (!is_migration(w, g))
            continue;
        act(s, HA_PLAN_STOP, g, w->at[g], NOWHERE);
        w->todo[g] = TODO_RESTART;
        if (!(w->flags[g] & PW_LEAVE)) {
            s->cold[g] |= 1;
            s->ncold++;
        }
        return;
    }
    assert(!"a start waits though nobody has anything to do before it");
}

size_t ha_pw_steps(struct plan_work *w, const int16_t *target, struct ha_plan *plan, uint8_t *cold)
{
    struct steps s = {.w = w, .plan = plan, .target = target, .cold = cold};
    begin(&s);
    while (s.left) {
        bool any = starts(&s);
        any |= migrations(&s);
        if (!any && !one_stop(&s) && !step_aside(&s))
            go_cold(&s);
    }
    return s.ncold;
}
