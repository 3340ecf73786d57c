/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner from outside: checks an instance, gets the memory in one piece, and calls the parts
 * in turn: fill, calm, polish, steps, tolerate. */
#include "plan_work.h"

#include <errno.h>
#include <stdlib.h>

#include "wire.h"

enum {
    EFFORT = 1500000,       /* elementary steps: some milliseconds */
    EFFORT_SMALL = 6000000, /* where the optimum is within reach */
    SMALL = 1000,           /* hosts times guests */
    ROUNDS = 3, /* more attempts to find a placement that can be reached by live moves */
    ROUNDS_SMALL = 9,
};

static const uint64_t memory_max_kib = UINT64_C(1) << 40;

/* ------------------------------------------------------------------------------- the instance */

static int bad(struct ha_error *error, const char *what, const char *name, const char *why)
{
    *error = (struct ha_error){.code = -EINVAL};
    ha_say(error->text, sizeof error->text, "%s %s: %s", what, name, why);
    return -EINVAL;
}

static int check_guest(const struct ha_plan_instance *in, const struct ha_plan_guest *g,
                       struct ha_error *error)
{
    if (g->memory_kib == 0 || g->memory_kib > memory_max_kib)
        return bad(error, "guest", g->name, "memory out of range");
    if (g->on != HA_PLAN_NONE && (g->on < 0 || (size_t)g->on >= in->nhosts))
        return bad(error, "guest", g->name, "runs on a host that there is not");
    for (size_t i = 0; i < g->nneeds; i++)
        if (g->needs[i] >= in->nlabels)
            return bad(error, "guest", g->name, "needs a label that there is not");
    for (size_t i = 0; i < g->nprefer; i++)
        if (g->prefer[i].host >= in->nhosts)
            return bad(error, "guest", g->name, "prefers a host that there is not");
    return 0;
}

static int check_rule(const struct ha_plan_instance *in, size_t r, struct ha_error *error)
{
    const struct ha_plan_rule *rule = &in->rules[r];
    char number[16];
    ha_say(number, sizeof number, "%u", (unsigned)r);
    if (rule->nguests > UINT16_MAX)
        return bad(error, "rule", number, "too many guests");
    for (size_t i = 0; i < rule->nguests; i++)
        if (rule->guests[i] >= in->nguests)
            return bad(error, "rule", number, "names a guest that there is not");
    for (size_t h = 0; rule->domain && h < in->nhosts; h++)
        if (rule->domain[h] >= HA_HOSTS_MAX)
            return bad(error, "rule", number, "has a failure domain out of range");
    return 0;
}

int ha_plan_check(const struct ha_plan_instance *in, struct ha_error *ret_error)
{
    if (in->nhosts > HA_HOSTS_MAX)
        return bad(ret_error, "hosts", "", "more than 64");
    if (in->nguests > HA_GUESTS_MAX)
        return bad(ret_error, "guests", "", "more than 8192");
    for (size_t h = 0; h < in->nhosts; h++)
        if (in->hosts[h].memory_kib > memory_max_kib)
            return bad(ret_error, "host", in->hosts[h].name, "memory out of range");
    for (size_t g = 0; g < in->nguests; g++)
        if (check_guest(in, &in->guests[g], ret_error) < 0)
            return -EINVAL;
    for (size_t r = 0; r < in->nrules; r++)
        if (check_rule(in, r, ret_error) < 0)
            return -EINVAL;
    return 0;
}

/* --------------------------------------------------------------------------------- the rounds */

struct made {
    struct ha_plan plan;
    struct plan_work work;
};

enum {
    COLD = 1,       /* in attempt.cold: has to be stopped and started on the way */
    WAS_FROZEN = 2, /* was not moved live in that attempt */
};

static bool is_small(const struct ha_plan_instance *in)
{
    return in->nhosts * in->nguests <= SMALL;
}

static uint64_t effort(const struct ha_plan_instance *in)
{
    if (in->effort)
        return in->effort;
    return is_small(in) ? EFFORT_SMALL : EFFORT;
}

/* Which guests run, and where; the steps to it in the plan. The number of guests that could not be
 * moved live as meant, marked in `cold`. */
static size_t plan_once(struct plan_work *w, struct ha_plan *plan, int16_t *target, uint8_t *cold)
{
    w->limit = w->steps + effort(w->in);
    ha_pw_fill(w);
    ha_pw_polish(w);
    ha_pw_save(w, target);
    for (uint32_t g = 0; g < w->ng; g++)
        cold[g] = w->flags[g] & PW_FROZEN ? WAS_FROZEN : 0;
    return ha_pw_steps(w, target, plan, cold);
}

/* Would it be right to stop and start those in `cold` so that `target` comes true, not `other`?
 * Only for guests that are at least as important. */
static bool worth_it(const struct plan_work *w, const int16_t *target, const int16_t *other,
                     const uint8_t *cold)
{
    uint32_t cls = 0;
    if (ha_pw_compare(w, target, other, &cls) <= 0)
        return false;
    for (uint32_t g = 0; g < w->ng; g++)
        if ((cold[g] & COLD) && (w->cls[g] > cls || (w->flags[g] & PW_MUST) ||
                                 (w->cls[g] == cls && w->in->preempt != HA_PLAN_PREEMPT_MORE)))
            return false;
    return true;
}

/* Places of one attempt, and who would have to be stopped and started on the way there. */
struct attempt {
    int16_t *places;
    uint8_t *cold;
};

static void keep_attempt(const struct plan_work *w, struct attempt *to, const struct attempt *from)
{
    memcpy(to->places, from->places, w->ng * sizeof *to->places);
    memcpy(to->cold, from->cold, w->ng);
}

/* Before attempt `round`: those that were in the way are left alone, or chance is given another
 * try. */
static void vary(struct plan_work *w, int round, int rounds, const struct attempt *last)
{
    for (uint32_t g = 0; g < w->ng; g++) {
        if (round == rounds || (round % 3 != 0 && (last->cold[g] & COLD)))
            w->flags[g] |= PW_FROZEN;
        else if (round % 3 == 0)
            w->flags[g] &= (uint8_t)~PW_FROZEN;
    }
    w->random += (uint64_t)round;
}

/* A placement that can be reached by live moves: as good as `first`, if that is found. The steps
 * are in the plan. */
static void find_reachable(struct plan_work *w, struct ha_plan *plan, const struct attempt *first,
                           struct attempt *best, struct attempt *trial)
{
    bool found = false;
    uint32_t cls;
    int rounds = is_small(w->in) ? ROUNDS_SMALL : ROUNDS;
    keep_attempt(w, trial, first);
    for (int round = 1; round <= rounds; round++) {
        if (round == rounds && found)
            break;
        vary(w, round, rounds, trial);
        if (plan_once(w, plan, trial->places, trial->cold))
            continue;
        if (!found || ha_pw_compare(w, trial->places, best->places, &cls) > 0)
            keep_attempt(w, best, trial);
        found = true;
        if (ha_pw_compare(w, first->places, best->places, &cls) <= 0)
            break;
    }
    assert(found); /* in the last round nobody is moved live */
}

/* A placement and the steps to it, in attempts[0]. */
static void find(struct plan_work *w, struct ha_plan *plan, struct attempt attempts[3])
{
    struct attempt *best = &attempts[0], *first = &attempts[1], *trial = &attempts[2];
    if (!plan_once(w, plan, best->places, best->cold))
        return;
    keep_attempt(w, first, best);
    find_reachable(w, plan, first, best, trial);
    if (worth_it(w, first->places, best->places, first->cold))
        keep_attempt(w, best, first);
    for (uint32_t g = 0; g < w->ng; g++) { /* as it was in that attempt */
        bool live = w->in->migrate && w->from[g] != NOWHERE && !(best->cold[g] & WAS_FROZEN) &&
                    w->in->guests[g].move == HA_PLAN_MOVE_LIVE;
        w->flags[g] = (uint8_t)(live ? w->flags[g] | PW_LIVE : w->flags[g] & ~PW_LIVE);
    }
    ha_pw_steps(w, best->places, plan, trial->cold);
}

/* --------------------------------------------------------------------------------- the results */

static void score_hosts(const struct plan_work *w, struct ha_plan_score *score)
{
    score->emptiest = 1000;
    for (uint32_t h = 0; h < w->nh; h++) {
        if (!(w->up >> h & 1) || !w->cap[h])
            continue;
        uint32_t used =
            (uint32_t)(((w->cap[h] - w->room[h]) >> 10) * 1000 / ((w->cap[h] >> 10) + 1));
        score->fullest = used > score->fullest ? used : score->fullest;
        score->emptiest = used < score->emptiest ? used : score->emptiest;
    }
    if (score->emptiest > score->fullest)
        score->emptiest = score->fullest;
}

static void set_score(const struct plan_work *w, struct ha_plan *plan)
{
    struct ha_plan_score *score = &plan->score;
    *score = (struct ha_plan_score){0};
    for (uint32_t g = 0; g < w->ng; g++) {
        int from = w->from[g], at = w->at[g];
        bool want = w->flags[g] & PW_WANT;
        score->wanted += want;
        score->running += at != NOWHERE;
        score->started += from == NOWHERE && at != NOWHERE;
        score->preempted += want && from != NOWHERE && at == NOWHERE;
        if (at != NOWHERE)
            score->preference += ha_pw_preference(w, g, at);
    }
    for (size_t i = 0; i < plan->nactions; i++) {
        const struct ha_plan_action *a = &plan->actions[i];
        score->migrated += a->what == HA_PLAN_MIGRATE && a->reason != HA_PLAN_FOR_WAY;
        score->restarted += a->what == HA_PLAN_START && a->reason == HA_PLAN_FOR_RESTART;
    }
    for (uint32_t r = 0; r < w->nr; r++)
        score->weak_broken += !ha_pw_hard(w, r) && ha_pw_weak_broken(w, r) > 0;
    score_hosts(w, score);
}

static void set_unplaced(const struct plan_work *w, struct ha_plan *plan)
{
    for (uint32_t i = 0; i < w->ng; i++)
        if ((w->flags[w->order[i]] & PW_WANT) && w->at[w->order[i]] == NOWHERE)
            plan->unplaced[plan->nunplaced++] = w->order[i];
}

static void set_tolerates(struct plan_work *w, struct ha_plan *plan)
{
    if (plan->nunplaced) {
        plan->tolerates_exact = true;
        plan->gap = (struct ha_plan_gap){0, (int32_t)plan->unplaced[0], 0};
        return;
    }
    w->limit = w->steps + effort(w->in) / 3;
    ha_pw_tolerate(w, plan);
}

/* -------------------------------------------------------------------------------- memory */

struct layout {
    size_t place, actions, after, unplaced, places[3], cold[3], portions, work, all;
};

static size_t put_after(size_t *all, size_t bytes)
{
    size_t at = *all;
    *all += (bytes + 15) & ~(size_t)15;
    return at;
}

static struct layout lay_out(const struct ha_plan_instance *in)
{
    size_t ng = in->nguests + 1;
    struct layout l = {.all = (sizeof(struct made) + 15) & ~(size_t)15};
    l.place = put_after(&l.all, ng * sizeof(int32_t));
    l.actions = put_after(&l.all, ha_pw_actions_max(in) * sizeof(struct ha_plan_action));
    l.after = put_after(&l.all, ha_pw_after_max(in) * sizeof(uint32_t));
    l.unplaced = put_after(&l.all, ng * sizeof(uint32_t));
    for (int i = 0; i < 3; i++) {
        l.places[i] = put_after(&l.all, ng * sizeof(int16_t));
        l.cold[i] = put_after(&l.all, ng);
    }
    l.portions = put_after(&l.all, ha_pw_portions_bytes(in));
    l.work = put_after(&l.all, ha_pw_bytes(in));
    return l;
}

int ha_plan_make(const struct ha_plan_instance *in, struct ha_plan **ret_plan)
{
    struct layout l = lay_out(in);
    char *arena = calloc(1, l.all);
    if (!arena)
        return -ENOMEM;
    struct made *made = (struct made *)(void *)arena;
    struct ha_plan *plan = &made->plan;
    struct plan_work *w = &made->work;
    struct attempt attempts[3];
    plan->in = in;
    plan->arena_bytes = l.all;
    plan->place = (int32_t *)(void *)(arena + l.place);
    plan->actions = (struct ha_plan_action *)(void *)(arena + l.actions);
    plan->after = (uint32_t *)(void *)(arena + l.after);
    plan->unplaced = (uint32_t *)(void *)(arena + l.unplaced);
    ha_pw_init(w, in, arena + l.work);
    for (int i = 0; i < 3; i++)
        attempts[i] = (struct attempt){(int16_t *)(void *)(arena + l.places[i]),
                                       (uint8_t *)(arena + l.cold[i])};
    find(w, plan, attempts);
    for (uint32_t g = 0; g < w->ng; g++)
        plan->place[g] = attempts[0].places[g];
    ha_pw_after(w, plan, arena + l.portions);
    set_score(w, plan);
    set_unplaced(w, plan);
    if (!in->no_tolerates)
        set_tolerates(w, plan);
    *ret_plan = plan;
    return 0;
}

struct ha_plan *ha_plan_free(struct ha_plan *plan)
{
    free(plan); /* the first member of the arena */
    return NULL;
}
