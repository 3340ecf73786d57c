/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicated facts: what a fact is, what it changes, and the two state machines. A pure function
 * of the log: equal logs give equal facts on every host. */
#ifndef HA_FACTS_H
#define HA_FACTS_H

#include "ha.h"
#include "types.h"
#include "wire.h"

/* Numbers that only grow end here: what is larger is garbage, and must not wrap around. */
#define HA_EPOCH_MAX (UINT64_MAX / 2)

/* Kinds on the wire and in the journal: never renumber, add at the end. */
enum ha_fact_kind {
    HA_FACT_FOUND = 1, /* a cluster is founded: voters and their journals */
    HA_FACT_BEGIN,     /* first fact of an epoch (rule 5) */
    HA_FACT_IN,        /* a host is (again) a synced member (rules 3, 24) */
    HA_FACT_LOST,
    HA_FACT_FENCING,
    HA_FACT_FENCE_END, /* a level ended without success, or was cancelled */
    HA_FACT_CONF,      /* confirmed dead for this loss */
    HA_FACT_OUT,       /* said goodbye and may disarm */
    HA_FACT_REGISTER,
    HA_FACT_WANT,
    HA_FACT_ASSIGN,
    HA_FACT_ADOPT,
    HA_FACT_RUN, /* the owner told running */
    HA_FACT_RELEASED,
    HA_FACT_MIG,
    HA_FACT_COMMIT,
    HA_FACT_ABORT,
    HA_FACT_CLEAR,   /* an operator, or a calm time, clears failures and quarantine */
    HA_FACT_VOTERS,  /* fence-only mode: the voters that count from here on (rule 26) */
    HA_FACT_REPLACE, /* an operator admits another machine under a known node id */
    HA_FACT_VACATED, /* the source of a committed migration holds nothing of the guest any more */
    HA_FACT_RECALL,  /* stop it where it runs, start it on `host` (a move by stop and start) */
    HA_FACT_DEFINE,  /* what it is built from; boot: hash, inc: memory in KiB, how: ha_def_flags */
    HA_FACT_ORDER, /* LOST, because an operator wants the host fenced, though it may be a member */
    HA_FACT_CALM,  /* a host's losses are forgotten: a quiet time, or an operator */
    HA_FACT_TURN,  /* fence-only, two hosts: whose turn to fence is first (level: 1 + turn) */
    HA_FACT_DISK,  /* from here on leases need the shared disk, or not (level: 1, 0; lease_ms: D;
                      boot:  identity of the disk) */
    HA_FACT_BOUND, /* a host works by that: its lease ends without the disk (loss: disk_gen,
                      lease_ms) */
    HA_FACT_PREEMPT, /* stop it to make room; it starts again when there is some. old_inc: 1 + index
                        of the guest it gives way to; 0: nobody in particular */
    HA_FACT_MAINT, /* an operator empties a host (level: ha_maint; how: ha_maint_how; name: who), or
                      that is over */
    HA_FACT_FREEZE, /* an operator: from here on nobody reacts to anything */
    HA_FACT_THAW,   /* and from here on everybody does; inc: index of the FREEZE it ends */
    HA_FACT_LOOKED, /* every host has looked round since the THAW at index inc */
    HA_FACT_CHAIR,  /* an operator: the host is the most senior one from here on */
    HA_FACT_DOWN,   /* that life of the host goes down, and is emptied for it (level 1; how:
                       HA_MAINT_RETURN: those that leave it may come back to its next life), or it
                       does not after all (level 0) */
    HA_FACT_CONFIG, /* the hosts' configuration file is another one from here on (boot: hash of its
                       bytes; inc: hash of the file that it is made from, 0: of whatever is there) */
    HA_FACT_RESTART, /* an operator: stop it where it runs, and start it again */
    HA_FACT_COUNT
};

enum { HA_TURNS = 3 }; /* two hosts take turns; the third is for changing them safely */

/* Why a host is emptied and gets no guests. */
enum ha_maint {
    HA_MAINT_NONE,
    HA_MAINT_EVACUATE, /* until it is empty */
    HA_MAINT_ON,       /* until an operator ends it */
};

enum ha_maint_how {
    HA_MAINT_RETURN = 1, /* NONE: those that had left it may come back */
    HA_MAINT_FORCE = 2,  /* who finds no place elsewhere is stopped */
};

enum ha_conf_how {
    HA_CONF_DEVICE = 1,
    HA_CONF_BOUND,
    HA_CONF_OPERATOR,
    HA_CONF_PILL, /* a poison pill on the shared disk, and the time that it takes */
};

/* Why an owner gave a guest back. */
enum ha_release {
    HA_RELEASE_STOPPED = 1, /* as asked */
    HA_RELEASE_POWEROFF,
    HA_RELEASE_REBOOT,
    HA_RELEASE_CRASH,
    HA_RELEASE_START_FAILED,
    HA_RELEASE_LEASE, /* destroyed because the lease had lapsed */
    HA_RELEASE_OTHER, /* never created: another copy of it is there */
    HA_RELEASE_PROBE, /* destroyed because its probes failed too often: counts as a crash */
};

/* It ended because something is wrong with it, or with its host. */
bool ha_is_failure(uint8_t how); /* ha_release */

struct ha_voter {
    ha_node node;
    struct ha_uuid machine, journal;
};

struct ha_fact {
    enum ha_fact_kind kind;
    ha_node host; /* IN LOST FENCING FENCE_END CONF OUT REPLACE; ASSIGN ADOPT: owner; MIG: target;
                     VOTERS: unused */
    struct ha_uuid boot;    /* that life of it */
    struct ha_uuid machine; /* IN REPLACE */
    struct ha_uuid journal; /* IN */
    struct ha_uuid cluster; /* FOUND */
    uint32_t loss, level;
    uint8_t how;    /* CONF: ha_conf_how; FENCE_END: 1 failed, 2 cancelled, 3 given
                       up (an order: the host stays); RELEASED: ha_release;
                       MIG: ha_move_kind */
    bool armed;     /* IN */
    ha_ms lease_ms, watchdog_ms; /* IN: the X and W that host works by */
    bool want_run;  /* WANT REGISTER; IN: `armed` was said with the latest THAW known */
    bool enabled;   /* WANT REGISTER */
    bool failed;    /* RELEASED: this was one failure too many */
    uint32_t guest; /* index of the guest, all guest facts */
    char name[HA_NAME_MAX]; /* REGISTER: of the guest; CONF ORDER CALM FREEZE THAW CHAIR CONFIG:
                               who, for an operator's word */
    uint64_t inc;   /* ASSIGN ADOPT RUN RELEASED; MIG: the incarnation at the target */
    uint64_t old_inc; /* ADOPT: what is on the copy now; PREEMPT: see there; MIG RECALL: 1: by the
                         planner, nobody asked for it */
    uint64_t mig;   /* MIG COMMIT ABORT */
    uint32_t tbl;   /* FOUND VOTERS */
    struct ha_voter voters[HA_HOSTS_MAX]; /* FOUND; VOTERS: nodes only */
    size_t nvoters;
};

struct ha_host_fact {
    ha_node node;
    enum ha_host_state state;
    bool voter;
    struct ha_uuid boot, machine, journal;
    uint32_t loss;     /* number of the latest loss */
    uint32_t level;    /* fence level under way or tried last */
    uint32_t rounds;   /* times all levels failed, this loss */
    bool tried;        /* a level was tried for this loss */
    uint64_t in_index; /* index of its last `in`: seniority */
    uint64_t conf_index; /* index of its last confirmation */
    bool armed;
    ha_ms lease_ms, watchdog_ms; /* the X and W it works by */
    uint8_t how;       /* of the last confirmation */
    bool ordered;      /* this loss is an operator's wish: not admitted again before it is over */
    uint8_t flaps;     /* losses since it was calm for a while */
    uint8_t turn;      /* two hosts: 1 + its turn to fence; 0: by node id */
    bool distrusted;   /* a device said off and the same life came back */
    bool lost_here;    /* this life was lost in the log as this host has it; in no snapshot */
    ha_ms disk_ms; /* this life's lease ends this long after its last look at the disk; 0: it does
                      not need the disk, or nobody knows */
    uint32_t disk_gen; /* of the decision that disk_ms follows */
    uint8_t maint;     /* ha_maint */
    bool maint_force;
    bool down, down_return; /* its present life goes down; and who leaves it for that may return */
    bool unarmed;      /* it was frozen, and has not said since that its watchdog is armed again */
};

struct ha_guest_fact {
    char name[HA_NAME_MAX];
    enum ha_guest_state state;
    bool enabled, want_run, failed, quarantined;
    bool loose;       /* nobody wanted it here for a while: someone may have started it by hand */
    uint64_t asked_index; /* of the fact since which it is wanted: who was asked before that what runs
                             there does not know of what was started by hand until then */
    bool by_mig;      /* this incarnation came by a migration: never created (rule 10) */
    bool by_adopt;    /* this incarnation is to be tagged on the copy with old_inc */
    ha_node owner;    /* 0: none */
    struct ha_uuid boot;
    uint64_t inc, old_inc;
    uint32_t restarts;
    uint32_t start_losses; /* hosts lost while it was starting there */
    uint64_t mig;          /* live migration id, 0: none */
    uint8_t mig_kind;
    ha_node mig_host;
    struct ha_uuid mig_boot;
    uint64_t mig_inc;
    ha_node left_host;     /* the source of the last migration still holds its remains; 0: no */
    struct ha_uuid left_boot;
    bool recall;           /* to be stopped, to start again on `prefer` */
    ha_node prefer;
    ha_node avoid; /* host of the last failed start */
    ha_node ended_on;       /* where it failed or rebooted last; 0: nowhere */
    uint8_t failures_there; /* in a row on that host */
    uint8_t last_release;
    struct ha_uuid def;    /* hash of its definition; zero: none yet, or none needed */
    uint64_t need_kib;     /* memory it takes, by its definition */
    uint8_t def_flags;     /* ha_def_flags */
    bool preempted;        /* stopped, or being stopped, to make room; until it starts again */
    uint32_t gave_way;     /* 1 + index of the guest it gave way to; 0: nobody in particular */
    ha_node home;          /* host that it left for its maintenance, or because it went
                              down; 0: none */
};

struct ha_facts {
    enum ha_mutant mutant;
    struct ha_uuid cluster; /* zero: nothing founded */
    uint32_t tbl;
    uint64_t next_inc, next_mig; /* never reused */
    bool disk_on;                /* leases need the shared disk */
    uint32_t disk_gen;           /* decisions about that so far */
    ha_ms disk_ms;               /* D, with disk_on */
    struct ha_uuid disk_id;      /* and which disk that is */
    bool frozen;       /* nobody reacts */
    bool looking;      /* thawed, and not every host has looked round since */
    uint64_t froze_at, thaw_at; /* index of the latest of each, 0: never */
    struct ha_uuid config_file; /* hash of the configuration file's bytes, since the latest of: */
    struct ha_config_change config_changes[HA_CONFIG_CHANGES]; /* the latest first */
    struct ha_host_fact hosts[HA_HOSTS_MAX];
    size_t nhosts;
    struct ha_guest_fact *guests;
    size_t nguests, guests_size;
};

void ha_facts_init(struct ha_facts *facts, enum ha_mutant mutant);
void ha_facts_done(struct ha_facts *facts);
/* Deep copy; -ENOMEM leaves dst usable but undefined. */
int ha_facts_copy(struct ha_facts *dst, const struct ha_facts *src);

/* Applies one fact; `index` is its place in the log. A fact that does not fit the state changes
 * nothing (it is still part of the log). 0, or -ENOMEM. */
int ha_facts_apply(struct ha_facts *facts, const struct ha_fact *fact, uint64_t index);
/* Would it change anything? What a coordinator asks before it proposes. */
bool ha_facts_fits(const struct ha_facts *facts, const struct ha_fact *fact);

void ha_fact_encode(struct ha_put *put, const struct ha_fact *fact);
/* 0, -EBADMSG for garbage, -ENOTSUP for a kind of a newer version. */
int ha_fact_decode(const void *data, size_t len, struct ha_fact *ret_fact);
void ha_facts_encode(struct ha_put *put, const struct ha_facts *facts);
/* 0, -EBADMSG for garbage, -ENOTSUP if only a newer version may read it, -ENOMEM. */
int ha_facts_decode(struct ha_get *get, struct ha_facts *facts);

struct ha_host_fact *ha_facts_host(const struct ha_facts *facts, ha_node node); /* NULL: unknown */
struct ha_guest_fact *ha_facts_guest(const struct ha_facts *facts, const char *name);
size_t ha_facts_voters(const struct ha_facts *facts); /* N */

/* The two state machines. Next state, or -1: the fact does not fit. */
int ha_host_next(enum ha_host_state state, enum ha_fact_kind kind);
int ha_guest_next(enum ha_guest_state state, enum ha_fact_kind kind);

#ifdef HA_WATCHED
/* The test that links such a build has these. */
void ha_watch_host(enum ha_host_state state, enum ha_fact_kind kind);
void ha_watch_guest(enum ha_guest_state state, enum ha_fact_kind kind);
#endif

#endif
