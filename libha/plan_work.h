/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner's table while it thinks: which guest is where, what is free, how rules stand.
 * Internal to libha/plan*.c. */
#ifndef HA_PLAN_WORK_H
#define HA_PLAN_WORK_H

#include <assert.h>
#include <string.h>

#include "plan.h"

enum { NOWHERE = -1 };

enum {
    PW_WANT = 1,    /* should run */
    PW_LIVE = 2,    /* runs and can be moved while it runs */
    PW_MUST = 4,    /* runs and must not be stopped */
    PW_PINNED = 8,  /* runs where it may and stays there, or is stopped */
    PW_LEAVE = 16,  /* runs, and has to leave its host */
    PW_FROZEN = 32, /* was found not to be movable in safety */
    PW_OUT = 64,    /* gives way: not to be placed for now */
};

/* A change that can be taken back. */
struct pw_change {
    uint32_t guest;
    int16_t was;
};

struct plan_work {
    const struct ha_plan_instance *in;
    uint32_t nh, ng, nr, nclasses;
    uint64_t up; /* hosts that take guests, as bits */
    /* for each guest */
    int64_t *mem; /* KiB */
    int64_t *cpu;
    uint64_t *may;        /* hosts it may be placed on */
    uint64_t *base;       /* the same before `live or not` was looked at */
    int16_t *from;        /* where it really runs; NOWHERE: it does not */
    int16_t *at;          /* where it is on the table */
    uint8_t *flags;       /* PW_… */
    uint32_t *cls;        /* rank of its priority, 0 the lowest */
    int32_t *next, *prev; /* the guests of a host */
    uint32_t *penalty;    /* how often it was in the way */
    /* rules of a guest: rule_of[rule_at[g] .. rule_at[g + 1]] */
    uint32_t *rule_at, *rule_of;
    /* for each rule */
    uint8_t (*domain)[HA_HOSTS_MAX];
    uint16_t (*count)[HA_HOSTS_MAX]; /* members placed in each domain */
    uint16_t *placed;
    /* for each host */
    int32_t head[HA_HOSTS_MAX];
    int64_t cap[HA_HOSTS_MAX], room[HA_HOSTS_MAX]; /* KiB; room: not used on the table */
    int64_t cpu_cap[HA_HOSTS_MAX], cpu_room[HA_HOSTS_MAX];
    int64_t room_all;        /* on hosts that are up */
    uint32_t *nclass_placed; /* guests of each class that are placed */
    /* scratch */
    uint32_t *order; /* all guests by class, highest first, then size, largest first */
    uint32_t *pool, *list;
    int32_t *last_action, *prev_action; /* of a guest; of an action, that of its guest before it */
    uint8_t *todo, *in_pool;
    uint64_t *keys;               /* pairs for sorting: 2 for each guest */
    int16_t *first, *best, *save; /* places */
    struct pw_change *trail;
    size_t ntrail, trail_size;
    bool trailing;
    uint64_t steps, limit; /* elementary steps done, and allowed */
    uint64_t random;
};

/* ---- plan_work.c */
/* Bytes of the tables for an instance, and the tables in `memory` of that size, zeroed. */
size_t ha_pw_bytes(const struct ha_plan_instance *in);
void ha_pw_init(struct plan_work *w, const struct ha_plan_instance *in, void *memory);
/* Every guest off the table. */
void ha_pw_clear(struct plan_work *w);
void ha_pw_put(struct plan_work *w, uint32_t g, int h);
void ha_pw_take(struct plan_work *w, uint32_t g);
/* Whether hard rules allow g on h with the others where they are. */
bool ha_pw_rules_ok(const struct plan_work *w, uint32_t g, int h);
/* Rules, memory, CPUs, allowed hosts. g may be on the table elsewhere. */
bool ha_pw_fits(struct plan_work *w, uint32_t g, int h);
/* The same without asking `may`: room and rules only. */
bool ha_pw_has_room(struct plan_work *w, uint32_t g, int h);
/* Takes back what happened since `mark` (= ntrail then). */
void ha_pw_rollback(struct plan_work *w, size_t mark);
void ha_pw_save(const struct plan_work *w, int16_t *ret_places);
void ha_pw_restore(struct plan_work *w, const int16_t *places);
uint32_t ha_pw_random(struct plan_work *w, uint32_t below);
/* Sorts `order` (n guests) by class, highest first, then size, largest first, then index. */
void ha_pw_sort(struct plan_work *w, uint32_t *order, size_t n);

static inline bool ha_pw_hard(const struct plan_work *w, uint32_t r)
{
    return w->in->rules[r].strength != HA_PLAN_WEAK;
}

/* The search has used up what it was allowed. */
static inline bool ha_pw_tired(const struct plan_work *w)
{
    return w->steps >= w->limit;
}

/* ---- plan_fill.c: which guests run, and where. From nothing on the table to a complete table. */
void ha_pw_fill(struct plan_work *w);
/* >0: places a are better than b by the number of guests that run, highest class first; 0: equal.
 * *ret_class: the first class that differs. */
int ha_pw_compare(const struct plan_work *w, const int16_t *a, const int16_t *b,
                  uint32_t *ret_class);

/* ---- plan_room.c: making room on a full table. */
bool ha_pw_place(struct plan_work *w, uint32_t g);
bool ha_pw_place_by_moves(struct plan_work *w, uint32_t g);
bool ha_pw_place_by_displacing(struct plan_work *w, uint32_t g);

/* ---- plan_eject.c: the long search. */
/* Finds places for the npool guests in w->pool and all that are placed and of class `cls` or
 * higher; lower ones may lose theirs. False: the table is as it was. */
bool ha_pw_eject(struct plan_work *w, size_t npool, uint32_t cls, uint64_t steps);

/* ---- plan_polish.c: fewer disturbances, then weak rules, preferences, balance. */
void ha_pw_calm(struct plan_work *w);
void ha_pw_polish(struct plan_work *w);
uint32_t ha_pw_weak_broken(const struct plan_work *w, uint32_t r);
int64_t ha_pw_preference(const struct plan_work *w, uint32_t g, int h);

/* ---- plan_steps.c: the way there. */
/* Orders the steps from where guests run to `target`. Guests that could only get there by stop and
 * start though they should have moved live are marked in `cold` (bit 0 of a byte each); their
 * number. */
size_t ha_pw_steps(struct plan_work *w, const int16_t *target, struct ha_plan *plan, uint8_t *cold);
size_t ha_pw_actions_max(const struct ha_plan_instance *in);
size_t ha_pw_after_max(const struct ha_plan_instance *in);

/* ---- plan_after.c: fills in after, wave and reason of the actions. `portions`: scratch. */
void ha_pw_after(struct plan_work *w, struct ha_plan *plan, void *portions);
size_t ha_pw_portions_bytes(const struct ha_plan_instance *in);

/* ---- plan_tolerate.c: how many host failures the table, complete, would bear. */
void ha_pw_tolerate(struct plan_work *w, struct ha_plan *plan);

#endif
