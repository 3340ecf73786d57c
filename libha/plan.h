/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner: where every guest should run, and the steps that lead there. Pure: it reads an
 * instance and returns a plan; no clock, no floating point, the same plan for the same instance.
 *
 * What it decides, in this order:
 *  1. Hard rules hold in the result and after every step, whichever step fails: memory, virtual
 * CPUs where a limit is set, hosts that are down or being drained, allowed hosts, needed labels,
 * and rules of strength strong or delegate.
 *  2. As many guests as possible run, those of the highest priority first, then the next, ...
 *  3. As few running guests as possible are stopped, then moved.
 *  4. Weak rules, then preferences, then balance; all three by placing what has to be placed anyway
 *     (and by moving running guests only where `failback` says so).
 */
#ifndef HA_PLAN_H
#define HA_PLAN_H

#include "types.h"

enum ha_plan_state {
    HA_PLAN_UP,
    HA_PLAN_DOWN,  /* its guests are lost and have to be started elsewhere */
    HA_PLAN_DRAIN, /* its guests have to leave; they can, while they run */
};

struct ha_plan_host {
    const char *name;
    uint64_t memory_kib; /* for guests: what dom0 and the hypervisor take is not in it */
    uint32_t cpus;
    enum ha_plan_state state;
};

/* A label, and which hosts have it: bit i is hosts[i]. */
struct ha_plan_label {
    const char *name;
    uint64_t hosts;
};

struct ha_plan_preference {
    uint32_t host;
    int32_t weight; /* negative: rather not */
};

/* How a guest changes its host. */
enum ha_plan_move {
    HA_PLAN_MOVE_LIVE,   /* while it runs */
    HA_PLAN_MOVE_NORMAL, /* by stop and start: only where it has to leave, never to make room */
};

struct ha_plan_guest {
    const char *name;
    uint64_t memory_kib;
    uint32_t vcpus;
    int32_t priority; /* higher is more important */
    int32_t on;       /* index of the host it runs on (or ran, if that is down); -1: none */
    bool run;         /* wanted state */
    bool keep;        /* never stopped to make room: it was once already in this incarnation */
    bool content;     /* never moved for weak rules and preferences */
    enum ha_plan_move move;
    uint64_t allowed;      /* hosts, as bits */
    /* For texts only. `allowed` may be less than the configuration says, for a host takes none now,
     * or something is under way that holds the guest where it is. 0: no less. */
    uint64_t may;
    uint64_t unaware;      /* hosts whose configuration does not have the guest, as bits */
    const uint32_t *needs; /* labels a host must have, as indices */
    size_t nneeds;
    const struct ha_plan_preference *prefer;
    size_t nprefer;
};

enum ha_plan_kind {
    HA_PLAN_TOGETHER, /* all that run, run in one failure domain */
    HA_PLAN_APART,    /* no two run in one failure domain */
};

enum ha_plan_strength {
    HA_PLAN_STRONG,   /* holds always; together: a partner that runs stays where it is */
    HA_PLAN_WEAK,     /* holds where that costs nothing of more worth */
    HA_PLAN_DELEGATE, /* strong; together: where a guest cannot come along, its partners move, too
                       */
};

struct ha_plan_rule {
    enum ha_plan_kind kind;
    enum ha_plan_strength strength;
    const uint32_t *guests; /* indices, each once */
    size_t nguests;
    /* For each host the failure domain it is in, 0..HA_HOSTS_MAX-1; NULL: each host is its own. */
    const uint8_t *domain;
    const char *over; /* what the domains are called, for texts; NULL with domain NULL */
};

enum ha_plan_preempt {
    HA_PLAN_PREEMPT_NEVER, /* no running guest is stopped for want of room */
    HA_PLAN_PREEMPT_LOWER, /* only for one of higher priority */
    HA_PLAN_PREEMPT_MORE,  /* also if more guests of its own priority run by that */
};

struct ha_plan_instance {
    const struct ha_plan_host *hosts;
    size_t nhosts; /* at most HA_HOSTS_MAX */
    const struct ha_plan_guest *guests;
    size_t nguests; /* at most HA_GUESTS_MAX */
    const struct ha_plan_label *labels;
    size_t nlabels;
    const struct ha_plan_rule *rules;
    size_t nrules;
    unsigned reserve;       /* host failures that are to be tolerated */
    unsigned vcpus_per_cpu; /* virtual CPUs that a CPU may carry; 0: no limit */
    bool migrate;           /* running guests may be moved live to make room */
    enum ha_plan_preempt preempt;
    bool failback;      /* running guests may be moved live for weak rules and preferences */
    unsigned starts;    /* that a host does at a time; 0: 4 */
    unsigned transfers; /* live migrations that a host takes part in at a time; 0: 2 */
    uint64_t effort;    /* elementary steps of search; 0: a default that takes some milliseconds */
    bool no_tolerates;  /* nobody asks how many failures the result would bear */
};

enum ha_plan_do {
    HA_PLAN_START,
    HA_PLAN_STOP,
    HA_PLAN_MIGRATE,
    HA_PLAN_PREEMPT, /* stop for want of room */
};

enum ha_plan_reason {
    HA_PLAN_FOR_WANTED,   /* it should run (start), or should not (stop) */
    HA_PLAN_FOR_LOST,     /* its host is down */
    HA_PLAN_FOR_DRAIN,    /* its host is to be emptied */
    HA_PLAN_FOR_RULE,     /* a rule, a label or memory no longer allows where it runs */
    HA_PLAN_FOR_ROOM,     /* makes room for `for_guest` */
    HA_PLAN_FOR_WAY,      /* steps aside for a while: two guests change places */
    HA_PLAN_FOR_PARTNER,  /* goes along with `for_guest` */
    HA_PLAN_FOR_RESTART,  /* the other half of a stop and start */
    HA_PLAN_FOR_FAILBACK, /* a better place */
};

enum { HA_PLAN_NONE = -1 };

struct ha_plan_action {
    enum ha_plan_do what;
    enum ha_plan_reason reason;
    uint32_t guest;
    int32_t from, to;  /* hosts; HA_PLAN_NONE where it does not apply */
    int32_t for_guest; /* HA_PLAN_NONE: nobody in particular */
    uint32_t wave;     /* actions of a wave can be done at the same time; waves one after another */
    /* Earlier actions without which this one must not be done: plan->after[after .. + nafter], or,
     * with after_all, every earlier one. */
    uint32_t after, nafter;
    bool after_all;
};

struct ha_plan_score {
    uint32_t wanted, running;
    uint32_t started, migrated, restarted, preempted;
    uint32_t weak_broken;       /* weak rules that do not hold */
    int64_t preference;         /* weights of the places that were chosen, summed */
    uint32_t fullest, emptiest; /* hosts' memory in use, in thousandths */
};

/* What keeps the reserve from being met. */
struct ha_plan_gap {
    uint64_t hosts;       /* if these fail ... */
    int32_t guest;        /* ... this guest has no place; HA_PLAN_NONE: no gap was looked for */
    uint64_t missing_kib; /* at least this much memory more is needed; 0: not memory alone */
};

struct ha_plan {
    const struct ha_plan_instance *in; /* borrowed: outlives the plan */
    int32_t *place; /* for each guest the host it is to run on, or HA_PLAN_NONE */
    struct ha_plan_action *actions;
    size_t nactions;
    uint32_t *after;
    uint32_t *unplaced; /* guests that should run and cannot, by priority */
    size_t nunplaced;
    unsigned tolerates;
    bool tolerates_exact;
    struct ha_plan_gap gap; /* why not one failure more */
    struct ha_plan_score score;
    size_t arena_bytes; /* all memory that was used */
};

/* What an instance must fulfil (indices, sizes, limits). 0, or -EINVAL with the element in
 * ret_error->text. */
int ha_plan_check(const struct ha_plan_instance *in, struct ha_error *ret_error);

/* Makes a plan of an instance that ha_plan_check() likes. The instance must outlive the plan. 0 and
 * *ret_plan, or -ENOMEM. */
int ha_plan_make(const struct ha_plan_instance *in, struct ha_plan **ret_plan);
/* Takes NULL, returns NULL. */
struct ha_plan *ha_plan_free(struct ha_plan *plan);

/* Texts for people. `why_here`: why the guest is (to be) where it is. `why_not`: why it is not to
 * run on that host; true: nothing but the choice of another host is against that one.
 * `why_unplaced`: why nowhere, and what would change it. */
void ha_plan_why_action(const struct ha_plan *plan, size_t action, char *ret_text, size_t size);
void ha_plan_why_here(const struct ha_plan *plan, uint32_t guest, char *ret_text, size_t size);
bool ha_plan_why_not(const struct ha_plan *plan, uint32_t guest, uint32_t host, char *ret_text,
                     size_t size);
void ha_plan_why_unplaced(const struct ha_plan *plan, uint32_t guest, char *ret_text, size_t size);
/* Why not one host failure more is tolerated, and what would help. */
void ha_plan_why_tolerates(const struct ha_plan *plan, char *ret_text, size_t size);
const char *ha_plan_do_name(enum ha_plan_do what);

#endif
