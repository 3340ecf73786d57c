/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core's only door: events in, actions out. Pure: no clock, no I/O, no globals, no randomness.
 *
 * The shell (daemon/), the simulator and the scenario runner all drive a `struct ha` the same way:
 *
 *   ha_new(); ha_restore() for each journal record, oldest first; HA_EV_START once;
 *   then for each thing that happens: ha_step(event) and carry out the actions in their order,
 *   and HA_EV_TICK when ha_deadline() has come.
 *
 * A daemon that exits and starts again is a new `struct ha`, restored from the journal. */
#ifndef HA_H
#define HA_H

#include "config.h"
#include "guard.h"
#include "types.h"

struct ha;

/* ------------------------------------------------------------------------------------ events */

enum ha_event_type {
    HA_EV_START,          /* first event, once */
    HA_EV_TICK,           /* nothing but the time */
    HA_EV_JOINED,         /* the daemon (re)joined the CPG group, as a new instance */
    HA_EV_DISCONNECTED,   /* corosync is gone: no ring, no quorum, until HA_EV_JOINED */
    HA_EV_GROUP,          /* CPG confchg: processes left and joined */
    HA_EV_RING,           /* CPG totem confchg: always the last call of a ring change */
    HA_EV_QUORUM,         /* verdict of votequorum, with the ring it is for */
    HA_EV_MESSAGE,        /* a multicast was delivered (own ones too) */
    HA_EV_JOURNALED,      /* everything up to this journal sequence number is durable */
    HA_EV_JOURNAL_FAILED, /* the journal cannot be written; text says why. From the failed record on
                             nothing counts as durable until an HA_ACT_REWRITE succeeds */
    HA_EV_KEEPER,         /* state of the keeper on this host */
    HA_EV_INVENTORY,      /* what the hypervisor driver sees on this host */
    HA_EV_GUEST_DONE,     /* an operation started by HA_ACT_GUEST ended */
    HA_EV_GUEST_EXIT,     /* a domain died, was powered off, rebooted; HA_EV_INVENTORY follows when
                             its backends have closed */
    HA_EV_FENCE,          /* a fence level launched by HA_ACT_FENCE ended */
    HA_EV_CLIENT,         /* an operator's command */
    HA_EV_CONFIG,         /* a new, checked configuration */
    HA_EV_DEFINITION,     /* a definition was made from a guest's configuration file on this host */
    HA_EV_SHUTDOWN,       /* the host is going down: move guests away, give up the rest, disarm */
    HA_EV_TRANSFER,       /* how a transfer of this host goes, for all hosts' status */
    HA_EV_PROBE,          /* a probe started by HA_ACT_PROBE ended */
    HA_EV_CONFIG_TAKEN,   /* HA_ACT_CONFIG is done with: the file is in use here (HA_EV_CONFIG came
                             before), or this host keeps the one that it has */
};

enum ha_def_flags {
    HA_DEF_NO_LIVE = 1, /* its kind of guest cannot move live on these hypervisors */
};

/* What a guest is built from, known by the hash of its bytes. */
struct ha_definition {
    char guest[HA_NAME_MAX];
    struct ha_uuid hash;
    uint64_t need_kib; /* memory that the host needs for it */
    uint8_t flags;     /* ha_def_flags */
    bool fresh;        /* an operator changed it here: it replaces the cluster's */
};

/* State of one copy of a guest on this host, as the driver sees it. A copy is listed as long as any
 * part of it is left: the domain in any state, a worker or save helper, an open backend. */
enum ha_copy_state {
    HA_COPY_PAUSED = 1, /* built or restored, never ran on this host */
    HA_COPY_RUNNING,    /* unpaused (blocked, idle, in shutdown count as running) */
    HA_COPY_SUSPENDED,  /* ran here, now suspended for a migration */
    HA_COPY_DYING,      /* domain dead or gone; worker or backends not yet */
};

struct ha_copy {
    char guest[HA_NAME_MAX];
    uint64_t inc;    /* incarnation written on the copy; 0: someone else started it */
    uint64_t mig;    /* migration id written on the copy; 0: none */
    enum ha_copy_state state;
    bool worker;     /* a worker or helper of this copy is alive */
    bool backends;   /* backends still open (only of interest with HA_COPY_DYING) */
};

/* Highest incarnation of a guest that this host ever created in this boot (kept by the shell in /run,
 * see HA_ACT_MARK). */
struct ha_mark {
    char guest[HA_NAME_MAX];
    uint64_t inc;
};

enum ha_exit {
    HA_EXIT_POWEROFF = 1,
    HA_EXIT_REBOOT,
    HA_EXIT_CRASH,
    HA_EXIT_KILLED, /* destroyed by someone else, or the process died */
    HA_EXIT_UNKNOWN,
};

enum ha_result {
    HA_RESULT_OK = 1,
    HA_RESULT_FAILED,  /* it certainly did not happen */
    HA_RESULT_UNKNOWN, /* timed out, killed, nonsense: nobody knows */
};

/* What a probe found out about a guest. */
enum ha_probe_result {
    HA_PROBE_HEALTHY = 1,
    HA_PROBE_UNHEALTHY,
    HA_PROBE_HUNG,  /* killed at its time limit: unknown, and too many of these count */
    HA_PROBE_NOTHING, /* it could not be run, or cannot tell: says nothing about the guest */
};

enum ha_left_reason {
    HA_LEFT_PROCESS = 1, /* left, or its process died, inside a ring */
    HA_LEFT_NODE,        /* its node left the ring; HA_EV_RING follows */
};

struct ha_left {
    struct ha_process process;
    enum ha_left_reason reason;
};

/* Last beat of another host's keeper, as this host's keeper knows it. */
struct ha_peer_beat {
    ha_node node;
    struct ha_uuid boot;
    ha_ms last_ms;  /* receipt of the latest beat, this host's clock; 0: never */
    bool armed;     /* it said that a watchdog is armed */
    uint32_t tbl;   /* votes table it used */
    ha_ms lease_ms; /* the X it used */
    ha_ms watchdog_ms; /* the W it used */
    ha_ms disk_ms;     /* when its slot on the shared disk last changed, our clock; 0: never seen */
    struct ha_uuid disk_boot; /* the life that wrote it */
};

enum ha_command {
    HA_CMD_INIT = 1,       /* found a cluster (all journals empty) */
    HA_CMD_START,          /* guest */
    HA_CMD_STOP,           /* guest */
    HA_CMD_ENABLE,         /* guest */
    HA_CMD_DISABLE,        /* guest */
    HA_CMD_CLEAR,          /* guest: forget failures and quarantine */
    HA_CMD_MOVE,           /* guest, host (may be empty), text: live | migrate | normal, force */
    HA_CMD_MOVE_CANCEL,    /* guest */
    HA_CMD_FENCE_CONFIRM,  /* host: the operator vouches that it is off */
    HA_CMD_HOST_REPLACE,   /* host: other machine under a known node id */
    HA_CMD_LINEAGE_FORCE,  /* fence-only mode: go on without the absent voters */
    HA_CMD_FENCE,          /* host: switch it off, member or not */
    HA_CMD_HOST_CLEAR,     /* host: forget its losses (end of quarantine) */
    HA_CMD_EVACUATE,       /* host: empty it; text: "force" or nothing */
    HA_CMD_MAINTENANCE_ON, /* the same, and it gets no guests until */
    HA_CMD_MAINTENANCE_OFF,
    HA_CMD_FREEZE,         /* nobody reacts to anything, until: */
    HA_CMD_THAW,
    HA_CMD_CHAIR,          /* host: it coordinates from here on */
    HA_CMD_CONFIG,         /* guest (may be empty); text: what is done, the hash of the file that it
                              is done to, as 16 hex digits, and of the new one's bytes, as 32;
                              `what` is add, remove, drop (remove, though it runs) or push */
    HA_CMD_RESTART,        /* guest: stop it, then start it where it was */
    HA_CMD_COUNT
};

/* How a transfer goes; not a fact: what was heard last. */
struct ha_transfer {
    char guest[HA_NAME_MAX];
    uint64_t mig;
    bool failed;       /* text says why */
    bool target;       /* the target says so; else the source */
    uint64_t bytes;    /* sent so far */
    uint64_t rate;     /* bytes a second, lately */
    ha_ms elapsed_ms;
    uint32_t round;    /* over the guest's memory; 0: not known */
    uint64_t left_kib; /* of this round; 0: not known */
    char text[HA_TEXT_MAX]; /* how it is protected, or why it failed */
};

struct ha_request {
    uint64_t client; /* comes back in HA_ACT_REPLY; any number but 0 */
    enum ha_command command;
    char guest[HA_NAME_MAX];
    char host[HA_NAME_MAX];
    char text[HA_NAME_MAX];
    char who[HA_NAME_MAX]; /* user name, for the record */
};

struct ha_event {
    enum ha_event_type type;
    ha_ms now;
    union {
        struct {
            ha_node node;
            struct ha_uuid boot, machine;
            struct ha_uuid fresh_journal; /* random: identity of the journal, if it is new */
            struct ha_uuid fresh_cluster; /* random: identity of a cluster founded through us */
            const struct ha_mark *marks;
            size_t nmarks;
            const struct ha_config *config; /* borrowed until HA_EV_CONFIG replaces it */
        } start;
        struct {
            uint64_t instance; /* random, never 0; new at each join */
            uint32_t pid;
        } joined;
        struct {
            const struct ha_process *members;
            size_t nmembers;
            const struct ha_left *left;
            size_t nleft;
            const struct ha_process *joined;
            size_t njoined;
        } group;
        struct {
            struct ha_ring ring;
            const ha_node *members;
            size_t nmembers;
        } ring;
        struct {
            struct ha_ring ring;
            bool quorate;
        } quorum;
        struct {
            struct ha_process from;
            const void *data;
            size_t len;
        } message;
        struct {
            uint64_t seq;
        } journaled;
        struct {
            bool connected;       /* false: no keeper; all else is then void */
            uint64_t seq_applied; /* latest HA_ACT_KEEPER it works by */
            ha_ms lease_until;    /* the lease holds while now < lease_until */
            bool armed;           /* a watchdog is armed and petted */
            ha_ms disk_t;         /* start of the last good cycle of the shared disk; -1: none */
            uint32_t
                disk_gen; /* it grants no lease without the disk, by this decision; 0: it does */
            struct ha_uuid disk_id; /* which disk that was */
            bool pilled;            /* it has read a poison pill for this life: the host will die */
            bool frozen;          /* by its orders, perhaps an earlier daemon's */
            const struct ha_peer_beat *peers;
            size_t npeers;
        } keeper;
        struct {
            bool known; /* false: the query failed or timed out; says nothing about any guest */
            const struct ha_copy *copies;
            size_t ncopies;
            uint64_t memory_kib; /* what guests of this host may use in all; 0: unknown */
            ha_ms looked; /* when the driver began to look; 0: this is how it is right now. What an
                             operation changed since is not believed from an older look */
        } inventory;
        struct {
            uint64_t op;
            enum ha_result result;
            const char *text; /* the driver's own words; may be NULL */
        } done;
        struct {
            const char *guest;
            uint64_t inc;
            enum ha_exit exit;
        } exit;
        struct {
            uint64_t id;
            enum ha_result result; /* OK: off, and verified where the agent can */
            const char *text;
        } fence;
        struct {
            uint64_t id;
            enum ha_probe_result result;
            const char *text; /* the probe's own words; may be NULL */
        } probe;
        struct {
            ha_ms limit_ms; /* until the host goes down whatever is here; 0: as configured */
        } shutdown;
        struct {
            uint64_t at;
        } taken;
        const struct ha_request *client;
        const struct ha_config *config;
        const struct ha_definition *definition;
        const struct ha_transfer *transfer;
        const char *text;
    } u;
};

/* ----------------------------------------------------------------------------------- actions */

enum ha_action_type {
    HA_ACT_SEND,         /* multicast data to the group, in order */
    HA_ACT_JOURNAL,      /* append data as one record; HA_EV_JOURNALED(seq) once durable */
    HA_ACT_REWRITE,      /* replace the journal by the records in data (each: u32 length LE, bytes),
                            atomically; HA_EV_JOURNALED(seq) once durable */
    HA_ACT_MARK,         /* remember (guest, inc) for this boot, before carrying out what follows */
    HA_ACT_KEEPER,       /* new orders for the keeper */
    HA_ACT_GUEST,        /* start an operation on a guest; HA_EV_GUEST_DONE when it ends */
    HA_ACT_GUEST_CANCEL, /* try to end an operation; it still ends with HA_EV_GUEST_DONE. Id 0: the
                            transfer that an earlier daemon's worker still does for `guest` */
    HA_ACT_FENCE,        /* run a fence level; HA_EV_FENCE when it ends */
    HA_ACT_FENCE_CANCEL, /* forget a fence whose delay has not passed yet; with `begun`, no further
                            call of a device begins either. It ends with HA_EV_FENCE FAILED; a call
                            that runs goes on and ends as it ends */
    HA_ACT_REPLY,        /* answer a client */
    HA_ACT_REPORT,       /* something an operator or the log should know */
    HA_ACT_DEFINITION,   /* have the definition with that hash at hand: a guest is built from it */
    HA_ACT_INVENTORY,    /* ask the driver for a fresh HA_EV_INVENTORY */
    HA_ACT_HALT,         /* a safety check failed: stop the daemon, leave guests alone; text why */
    HA_ACT_PROBE,        /* run a probe of a guest once; HA_EV_PROBE when it ends */
    HA_ACT_CONFIG,       /* make the file with that hash the configuration, if the one that is here
                            is of those it is made from; HA_EV_CONFIG_TAKEN ends it */
};

enum ha_op {
    HA_OP_CREATE = 1, /* build the domain, paused, incarnation `inc` on it */
    HA_OP_UNPAUSE,    /* let it run (clears the migration id on it) */
    HA_OP_SHUTDOWN,   /* ask the guest to shut down; OK = asked. The end shows as GUEST_EXIT */
    HA_OP_DESTROY,    /* end the copy (whatever its incarnation, unless inc != 0: only that one);
                         OK only when domain, workers and backends are gone */
    HA_OP_TAG,        /* adopt: write incarnation `inc` on the running copy */
    HA_OP_SEND,       /* source of a migration: send to `peer`, suspended at the end; OK = the target
                         has the complete image and the copy here is suspended */
    HA_OP_RECEIVE,    /* target: restore from `peer`, paused, `inc` and `mig` on it; OK = complete */
    HA_OP_RESUME,     /* let a suspended copy go on here (clears the migration id on it) */
};

enum ha_move_kind {
    HA_MOVE_LIVE = 1,
    HA_MOVE_MIGRATE, /* suspend, copy, resume */
    HA_MOVE_NORMAL,  /* stop and start */
};

enum ha_severity {
    HA_SEV_DEBUG,
    HA_SEV_INFO,
    HA_SEV_NOTICE,
    HA_SEV_WARNING,
    HA_SEV_ERROR,
    HA_SEV_ALERT, /* an operator should act */
};

/* What HA_ACT_REPORT is about. The shell has a fixed message id for each. Cluster-wide ones are
 * derived from stable facts, so every host reports the same. Keep the order; add at the end. */
/* clang-format off */
#define HA_REPORTS(X)                                                                    \
    X(VIEW,            "view")            /* members changed */                          \
    X(OPEN,            "open")            /* a coordinator is open */                    \
    X(QUORUM,          "quorum")          /* gained or lost */                           \
    X(SYNC,            "sync")            /* this host joined or lost the lineage */     \
    X(HOST_IN,         "host-in")                                                        \
    X(HOST_LOST,       "host-lost")                                                      \
    X(HOST_FENCING,    "host-fencing")                                                   \
    X(HOST_FENCE_FAIL, "host-fence-failed")                                              \
    X(HOST_CONFIRMED,  "host-confirmed")  /* confirmed dead */                           \
    X(HOST_OUT,        "host-out")        /* clean goodbye */                            \
    X(GUEST_REGISTER,  "guest-registered")                                               \
    X(GUEST_WANT,      "guest-want")      /* an operator's wish */                       \
    X(GUEST_ASSIGN,    "guest-assigned")                                                 \
    X(GUEST_RUNNING,   "guest-running")                                                  \
    X(GUEST_RELEASED,  "guest-released")                                                 \
    X(GUEST_ADOPT,     "guest-adopted")                                                  \
    X(GUEST_FAILED,    "guest-failed")    /* limits used up */                           \
    X(GUEST_BLOCKED,   "guest-blocked")                                                  \
    X(GUEST_ACT,       "guest-act")       /* this host does something to a copy */       \
    X(GUEST_EXIT,      "guest-exit")                                                     \
    X(MIGRATE,         "migrate")                                                        \
    X(COMMIT,          "commit")                                                         \
    X(ABORT,           "abort")                                                          \
    X(LEASE,           "lease")           /* gained, lapsed */                           \
    X(KEEPER,          "keeper")                                                         \
    X(JOURNAL,         "journal")                                                        \
    X(DRIFT,           "config-drift")                                                   \
    X(DISTRUST,        "device-distrusted")                                              \
    X(FOREIGN,         "foreign")         /* other lineage, machine or version */        \
    X(COMMAND,         "command")                                                        \
    X(QUARANTINE,      "host-quarantined") /* lost too often: gets no guests */          \
    X(FENCE_HELD,      "fence-held")      /* the budget of fences is used up */          \
    X(DEVICE,          "fence-device")    /* the shell's: a device was asked whether it works */ \
    X(SURVIVOR,        "survivor")        /* two hosts: who would survive a split */          \
    X(DISK,            "shared-disk")     /* lost, back, needed or not */     \
    X(GUEST_PREEMPT,   "guest-preempted") /* stopped to make room */                     \
    X(HOST_MAINT,      "host-maintenance") /* is emptied, or that is over */                 \
    X(GUEST_PROBE,     "guest-probe")     /* a guest's probe fails, or works again */        \
    X(CLOCK,           "clock")           /* the shell's: a host's clock is far from ours */                     \
    X(FREEZE,          "freeze")          /* frozen, thawed */
/* clang-format on */

enum ha_report {
#define X(name, text) HA_REPORT_##name,
    HA_REPORTS(X)
#undef X
        HA_REPORT_COUNT
};

/* What the keeper is to do about the shared disk. */
enum ha_disk_order {
    HA_DISK_OFF = 0, /* the lease does not need the disk */
    HA_DISK_ON,      /* it does */
    HA_DISK_KEEP, /* as it did (the daemon does not know the facts): if it never knew, no lease */
};

/* Orders for the keeper: all of them every time, the newest replaces the older ones. */
struct ha_keeper_orders {
    uint64_t seq;
    uint32_t tbl;                     /* number of the votes table; 0: none yet, no lease */
    uint32_t votes;                   /* N */
    ha_node voters[HA_HOSTS_MAX];
    size_t nvoters;
    bool fence_only;                  /* FO: the lease is own delivery + quorate ring (rule 25) */
    bool quorate;                     /* FO only: in `ring` */
    struct ha_ring ring;              /* FO only */
    ha_ms beat_ms, lease_ms, watchdog_ms;
    bool empty;                       /* nothing of any guest is on this host */
    bool disarm;                      /* a stable fact says disarmed (only obeyed when empty) */
    bool frozen;                      /* a stable fact says frozen: no watchdog, whatever is here */
    struct {
        ha_node node;
        struct ha_uuid boot;
    } cut[HA_HOSTS_MAX];              /* lives that must not be echoed (rule 21) */
    size_t ncut;
    enum ha_disk_order disk;
    uint32_t disk_gen;      /* number of the decision that `disk` follows; an older one is void */
    ha_ms disk_ms;          /* D, with ON */
    struct ha_uuid disk_id; /* with ON: no other disk counts */
    uint32_t pill_void; /* pills for losses up to this one are void: the host was admitted since */
};

struct ha_action {
    enum ha_action_type type;
    union {
        struct {
            const void *data;
            size_t len;
        } send;
        struct {
            uint64_t seq;
            const void *data;
            size_t len;
        } journal; /* JOURNAL and REWRITE */
        struct ha_mark mark;
        const struct ha_keeper_orders *keeper;
        struct {
            uint64_t op; /* names it in HA_EV_GUEST_DONE; unique for this struct ha */
            enum ha_op what;
            char guest[HA_NAME_MAX];
            uint64_t inc;
            uint64_t mig;
            ha_node peer;
            enum ha_move_kind kind;
            ha_ms until; /* CREATE, UNPAUSE, RESUME, RECEIVE: do not begin at or after this time
                            (end of the lease, own clock); 0: no limit */
            ha_ms timeout_ms;
            bool dump; /* DESTROY: write its memory to a file first, as far as that goes */
            struct ha_uuid def; /* CREATE: what it is built from; zero: its driver needs none */
        } guest;
        struct {
            char guest[HA_NAME_MAX];
            struct ha_uuid hash;
        } definition;
        struct {
            uint64_t id; /* of the operation or fence */
            char guest[HA_NAME_MAX];
            bool begun; /* FENCE_CANCEL: also what has begun goes no further */
        } cancel;
        struct {
            uint64_t id;
            ha_node node;
            struct ha_uuid boot;
            uint32_t loss;
            uint32_t level; /* index into the host's levels; HA_FENCE_DEVICE or HA_FENCE_DISK */
            ha_ms wait_ms;  /* DISK: what has to pass after the pill was written (ha_disk_bound) */
            struct ha_uuid disk_id; /* DISK: the disk that the host is bound to */
        } fence;
        struct {
            uint64_t id;
            char guest[HA_NAME_MAX];
            uint64_t inc;
            uint32_t probe; /* index into the guest's probes, by the newest HA_EV_CONFIG */
        } probe;
        struct {
            struct ha_uuid file; /* hash of its bytes */
            struct ha_config_change changes[HA_CONFIG_CHANGES]; /* the latest first: it is made from
                                                                   each of these files */
        } config;
        struct {
            uint64_t client;
            int code; /* 0 or a negative errno */
            char text[HA_TEXT_MAX];
        } reply;
        struct {
            enum ha_report what;
            enum ha_severity severity;
            ha_node node;            /* 0: none */
            char guest[HA_NAME_MAX]; /* "": none */
            char text[HA_TEXT_MAX];  /* a sentence: what and why */
        } report;
        char text[HA_TEXT_MAX]; /* HALT */
    } u;
};

/* A list of actions; reused from step to step. Everything an action points to belongs to the list and
 * lives until the next ha_step with it or ha_actions_done. Zero-initialise before first use. */
struct ha_actions {
    struct ha_action *v;
    size_t n, size;
    void **blocks; /* what the actions point to */
    size_t nblocks, blocks_size;
};

void ha_actions_done(struct ha_actions *actions);

/* ----------------------------------------------------------------------------------- the core */

/* A new core. `mutant` is obeyed only in HA_MUTABLE builds. NULL when out of memory. */
struct ha *ha_new(enum ha_mutant mutant);
struct ha *ha_free(struct ha *ha);

/* One record of the journal, oldest first, before HA_EV_START. The shell passes only records whose
 * checksum is right, up to the first torn one. -EBADMSG or -ENOTSUP: not a record this version can read (the
 * daemon must not start: "journal of a newer version"). */
int ha_restore(struct ha *ha, const void *record, size_t len);

/* Takes one event; replaces the contents of `actions` by what is to be done now, in order.
 * 0, or -ENOMEM (the daemon must exit; the journal makes that safe), or -EINVAL for an event that
 * breaks the order described at the top (a bug of the caller). */
int ha_step(struct ha *ha, const struct ha_event *event, struct ha_actions *actions);

/* When the core wants HA_EV_TICK at the latest. INT64_MAX: never. */
ha_ms ha_deadline(const struct ha *ha);

/* -------------------------------------------------------------------------------- looking in */

enum ha_phase {
    HA_PHASE_START = 0, /* before the first ring */
    HA_PHASE_EXCHANGE,  /* reports are being exchanged, or no quorum */
    HA_PHASE_OPENING,   /* an open was accepted, not yet by more than half of the votes */
    HA_PHASE_OPEN,
};

/* Replicated states of a host. Transitions: ha_host_next() in facts.c, one table. */
enum ha_host_state {
    HA_HOST_NEW = 0, /* never admitted */
    HA_HOST_IN,
    HA_HOST_LOST,
    HA_HOST_FENCING,
    HA_HOST_DEAD, /* confirmed for this loss */
    HA_HOST_OUT,  /* said goodbye, disarmed */
};

/* Replicated states of a guest. Transitions: ha_guest_next() in facts.c, one table. */
enum ha_guest_state {
    HA_GUEST_FREE = 0,  /* owner none */
    HA_GUEST_STARTING,  /* owned, not yet told running */
    HA_GUEST_RUNNING,
    HA_GUEST_MIGRATING, /* owned by the source, a migration undecided */
    HA_GUEST_ARRIVED,   /* committed, the target has not yet told running */
};

struct ha_host_status {
    ha_node node;
    const char *name; /* NULL: not in the configuration */
    enum ha_host_state state;
    struct ha_uuid boot;
    uint32_t loss;
    uint32_t fence_level;   /* with FENCING */
    bool member;            /* in the ring */
    bool daemon;            /* its daemon is in the group */
    bool synced;            /* acknowledged the current epoch */
    bool armed;
    bool coordinator;
    bool ordered;           /* with LOST and FENCING: an operator wants it off */
    bool quarantined;       /* lost too often: gets no guests */
    uint32_t flaps;         /* losses since it was calm */
    bool drift;             /* its configuration differs from ours */
    bool disk_told;         /* disk_ok is known: it told of itself in this view */
    bool disk_ok;           /* it reads and writes the shared disk */
    bool disk_bound;        /* its lease needs the disk: a poison pill ends it for certain */
    ha_ms disk_age_ms; /* since its slot on the disk was seen to change; -1: never, by this host */
    bool frozen;            /* it says that it reacts to nothing, and has no watchdog armed */
    uint64_t memory_kib, memory_used_kib;
    unsigned maintenance;   /* 0: no; 1: it is being emptied; 2: in maintenance */
    bool down;              /* it goes down, and its guests move away for that */
    unsigned leaving;       /* guests that still are to leave it for that */
    unsigned going;         /* of these, under way */
    bool arming;            /* not armed, as far as is known: its keeper has yet to say so */
    bool foreign;           /* another machine answers under its node id */
    char why[HA_TEXT_MAX * 2]; /* what it waits for and the operator's way out; "" if all is well */
};

/* What its owner told of a guest's probes. */
enum ha_health {
    HA_HEALTH_NONE = 0, /* it has no probes, or nothing was told */
    HA_HEALTH_PENDING,  /* one of them never succeeded since the guest was started */
    HA_HEALTH_GOOD,
    HA_HEALTH_BAD, /* one of them failed when it ran last */
};

/* Where a stop has got to (A8). */
enum ha_stop_phase {
    HA_STOP_NONE = 0,
    HA_STOP_WAITS,   /* for guests that come after it */
    HA_STOP_ASKED,   /* it shuts itself down */
    HA_STOP_FORCED,  /* it is being ended */
    HA_STOP_OVERDUE, /* and that does not work */
};

struct ha_guest_status {
    const char *name;
    enum ha_guest_state state;
    bool managed;  /* in the configuration of this host */
    bool external; /* by its word, somebody else starts, stops and moves it */
    bool enabled;
    bool want_run;
    bool failed;      /* restart limit used up */
    bool quarantined; /* two hosts were lost while it started */
    bool ended;       /* its owner is this host, which has no copy of it any more */
    ha_node owner;    /* 0: none */
    ha_node target;   /* of a migration; 0: none */
    uint64_t inc;
    uint64_t mig;
    int priority;
    uint64_t memory_kib;
    unsigned restarts;
    bool recalled;  /* is being stopped, to start on another host */
    bool preempted; /* was stopped, or is being stopped, to make room; starts again by itself */
    const char *gave_way; /* preempted: for which guest; NULL: for none in particular */
    bool unplaced;        /* it waits for a place: the planner knows more */
    enum ha_health health;
    enum ha_stop_phase stop;
    ha_ms stop_left_ms; /* of that phase */
    const char *probe; /* HEALTH_BAD: which one; NULL: not in this host's configuration */
    unsigned probe_failures; /* HEALTH_BAD: in a row */
    /* Of the move under way, or why the last one failed; NULL: nothing was heard. Borrowed until the
     * next step. */
    const struct ha_transfer *transfer;
    char why[HA_TEXT_MAX]; /* why it does not run, and the operator's way out; "" if all is well */
};

struct ha_status {
    enum ha_phase phase;
    struct ha_ring ring;
    bool quorate;
    struct ha_epoch epoch;
    ha_node self, coordinator; /* coordinator 0: none open */
    struct ha_key head, stable;
    uint64_t head_hash; /* hash of the log up to head */
    bool founded;       /* there is a lineage */
    bool synced;        /* this host is a synced member of an open epoch */
    bool frozen;        /* nobody reacts to anything, until an operator thaws the cluster */
    bool looking;       /* thawed, and not every host has looked round since */
    bool waiting;       /* validly waiting: no quorum, not founded, or not admitted yet */
    ha_ms lease_until;
    bool lapsed;        /* there was a lease, and it is over: this host's guests are ended */
    bool unheard;       /* nothing comes from the others, not even news: what follows may be old */
    bool keeper;
    bool armed;         /* by the keeper's word; as it was when the keeper is gone */
    bool going;         /* HA_EV_SHUTDOWN came */
    bool leaving;       /* and what is still here is being shut down */
    ha_ms leave_left_ms; /* going: until the host goes down whatever is here */
    bool empty;
    bool disk_configured, disk_on; /* there is a shared disk; leases need it now */
    ha_ms disk_age_ms;             /* since the start of our last good cycle of it; -1: none */
    bool pilled;                   /* this host has read a poison pill and is about to die */
    ha_node survivor;   /* two hosts: who would survive a split; 0: no such cluster */
    char survivor_why[HA_TEXT_MAX];
    char sentence[HA_TEXT_MAX]; /* what this daemon is doing, for STATUS= and `status` */
    size_t nhosts, nguests;
};

/* How many host failures the cluster would bear as it is now: see plan.h. */
struct ha_tolerates {
    bool known; /* false: nothing is founded yet, or there was no memory for it */
    unsigned hosts;
    bool exact; /* else it may be more */
    unsigned reserve;            /* what the configuration wants */
    char why[HA_TEXT_MAX * 2]; /* why not one more, and what would help */
};

/* Plans, where something has changed since the last call: some milliseconds in a large cluster. */
void ha_tolerates(const struct ha *ha, struct ha_tolerates *ret_tolerates);

/* Do the facts refer to bytes with that hash (a definition, the configuration file), or may they,
 * as far as this host can tell? */
bool ha_bytes_needed(const struct ha *ha, const struct ha_uuid *hash);

/* The cluster as the planner is shown it, by what this host knows; NULL: nothing is founded yet, or
 * no memory. Borrowed until the next call of this or ha_tolerates(), or the next step. */
const struct ha_plan_instance *ha_instance(const struct ha *ha);

void ha_status(const struct ha *ha, ha_ms now, struct ha_status *ret_status);
/* i < nhosts / nguests of ha_status(). Names are borrowed until the next step. */
void ha_status_host(const struct ha *ha, ha_ms now, size_t i, struct ha_host_status *ret_host);
void ha_status_guest(const struct ha *ha, ha_ms now, size_t i, struct ha_guest_status *ret_guest);

/* For checkers: the hash of the log up to index i, when this core still has that entry.
 * -ENOENT otherwise. */
int ha_log_hash(const struct ha *ha, uint64_t i, struct ha_epoch *ret_e, uint64_t *ret_hash);

/* For checkers: the stable facts' view of a guest: owner (0: none), owner's boot, incarnation.
 * -ENOENT: unknown guest. */
int ha_stable_owner(const struct ha *ha, const char *guest, ha_node *ret_owner,
                    struct ha_uuid *ret_boot, uint64_t *ret_inc);
/* For checkers: the target of a guest's move that is under way by the stable facts; 0: none.
 * -ENOENT: unknown guest. */
int ha_stable_target(const struct ha *ha, const char *guest, ha_node *ret_target);
/* For checkers: the stable state, boot and loss number of a host; -ENOENT: never heard of. */
int ha_stable_host(const struct ha *ha, ha_node node, enum ha_host_state *ret_state,
                   struct ha_uuid *ret_boot, uint32_t *ret_loss);

/* For checkers: is the host's loss an operator's order, and how often was it lost since it was calm, by
 * the stable facts; -ENOENT: never heard of. */
int ha_stable_restraint(const struct ha *ha, ha_node node, bool *ret_ordered, unsigned *ret_flaps);

const char *ha_phase_name(enum ha_phase phase);
const char *ha_stop_phase_name(enum ha_stop_phase phase);
const char *ha_health_name(enum ha_health health);
const char *ha_host_state_name(enum ha_host_state state);
const char *ha_guest_state_name(enum ha_guest_state state);
const char *ha_op_name(enum ha_op op);
const char *ha_report_name(enum ha_report what);

#endif
