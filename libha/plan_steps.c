/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way from where guests run to where they shall run: an order in which every step is allowed when
 * its turn comes. A live migration has the guest's memory on both hosts until it is done; what a rule
 * forbids at the end is forbidden on the way, too. */
#include "plan_work.h"

enum {
    ACTIONS_A_GUEST = 4, /* a step aside, a stop, a start; one to spare */
};

enum todo {
    TODO_NOTHING,
    TODO_START,
    TODO_MIGRATE,
    TODO_MIGRATE_ASIDE, /* the same; it has stepped aside already */
    TODO_PREEMPT,
    TODO_RESTART,  /* has been stopped, has to be started */
    TODO_STOP_COLD, /* cannot be moved live, has to leave: stop and start */
};

struct steps {
    struct plan_work *w;
    struct ha_plan *plan;
    const int8_t *target;
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

/* Guests wait for each other in a circle: one of them steps aside to a third host. */
static bool step_aside(struct steps *s)
{
    struct plan_work *w = s->w;
    for (size_t i = s->n; i-- > 0;) {
        uint32_t g = w->list[i];
        if (w->todo[g] != TODO_MIGRATE)
            continue;
        for (uint64_t left = w->base[g]; left; left &= left - 1) {
            int h = __builtin_ctzll(left), was = w->at[g];
            if (h == was || !ha_pw_has_room(w, g, h))
                continue;
            ha_pw_take(w, g);
            ha_pw_put(w, g, h);
            bool helps = goes_on(s);
            ha_pw_take(w, g);
            ha_pw_put(w, g, was);
            if (!helps)
                continue;
            act(s, HA_PLAN_MIGRATE, g, was, h);
            s->plan->actions[s->plan->nactions - 1].reason = HA_PLAN_FOR_WAY;
            w->todo[g] = TODO_MIGRATE_ASIDE;
            return true;
        }
    }
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
            s->cold[g] = 1;
            s->ncold++;
        }
        return;
    }
    assert(!"a start waits though nobody has anything to do before it");
}

size_t ha_pw_steps(struct plan_work *w, const int8_t *target, struct ha_plan *plan, uint8_t *cold)
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
