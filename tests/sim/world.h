/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cluster of real cores in one thread and virtual time: what its parts know of each other.
 *
 * world.c  life of a world, its event loop, log and hash      net.c    corosync: rings, CPG, quorum
 * host.c   power, boot, hang, keeper, watchdog                proc.c   the daemon around a core
 * hyper.c  the hypervisor and its workers                     fence.c  fence devices
 * plan.c   what is done to the cluster, and when              check.c  the invariants
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdarg.h>

#include "libha/ha.h"
#include "libha/keeper.h"
#include "queue.h"
#include "rng.h"

enum {
    SIM_HOSTS_MAX = 8,
    SIM_GUESTS_MAX = 16,
    SIM_COPIES_MAX = 24, /* copies on one host */
    SIM_WORKS_MAX = 64,  /* operations of a host's driver under way */
    SIM_FENCES_MAX = 32, /* fence runs under way */
    SIM_LEVELS_MAX = 3,
    SIM_NO_HOST = 255,
    SIM_HOST_OF = 64,     /* + guest: whoever runs it when the op is done */
    SIM_HOST_NOT_OF = 96, /* + guest: the first host without a copy of it */
    SIM_HOST_CHAIR = 60,  /* the coordinator */
    SIM_HOST_NOT_CHAIR = 61, /* the first host that runs and is not the coordinator */
};

#define SIM_MS(ms) ((sim_us)(ms)*1000)

enum sim_event_type {
    SIM_EV_PUMP,       /* the next entry of the ring reaches a host */
    SIM_EV_ORDER,      /* a host has the token: its queue is ordered */
    SIM_EV_FORM,       /* the members of a component form a ring */
    SIM_EV_CONF,       /* a new ring is announced to the clients on a host */
    SIM_EV_QUORUM,     /* a verdict reaches a daemon; a: ring << 1 | quorate */
    SIM_EV_TICK,       /* the core's deadline */
    SIM_EV_KTICK,      /* the keeper's deadline */
    SIM_EV_KSTATE,     /* the keeper's state reaches its daemon */
    SIM_EV_KORDERS,    /* orders reach the keeper; a: struct sim_orders */
    SIM_EV_FSYNC,      /* the journal's write under way is durable */
    SIM_EV_INVENTORY,  /* the driver looks, and reports at once or later */
    SIM_EV_LOOKED,     /* it reports what it saw a while ago */
    SIM_EV_WORK_BEGIN, /* a: index of a work << 32 | its serial, also below */
    SIM_EV_WORK_END,
    SIM_EV_WORK_TIMEOUT,
    SIM_EV_WORK_ANSWER,
    SIM_EV_XFER,         /* next step of a migration, at the source's work */
    SIM_EV_LATE_SUSPEND, /* a failed save suspends the guest after all; a: copy id */
    SIM_EV_GUEST_OBEYS,  /* a guest has shut itself down as asked; a: copy id */
    SIM_EV_PROBED,       /* a probe has ended; a: guest << 56 | its id */
    SIM_EV_BACKENDS,     /* the backends of a dying copy close; a: copy id */
    SIM_EV_FENCE_LAUNCH, /* a: index of a fence run << 32 | its serial, also below */
    SIM_EV_FENCE_EFFECT,
    SIM_EV_FENCE_RESULT,
    SIM_EV_WATCHDOG,
    SIM_EV_DISK, /* a cycle of the shared disk begins; a: 1: ends */
    SIM_EV_POWER_ON,
    SIM_EV_BOOTED,
    SIM_EV_COROSYNC_START,
    SIM_EV_KEEPER_START,
    SIM_EV_DAEMON_START,
    SIM_EV_JOIN,  /* the daemon joins its group */
    SIM_EV_TAKEN, /* it has changed its configuration file, or not; a: by which fact */
    SIM_EV_PLAN,  /* a: index of an op << 1 | undo */
    SIM_EV_CHECK, /* what is checked now and then */
    SIM_EV_FOUND, /* an operator founds the cluster */
    SIM_EV_PHASE, /* faults end; a: 1 */
    SIM_EV_TYPES,
};

/* ------------------------------------------------------------------------------------ network */

enum sim_entry_kind { SIM_ENTRY_MESSAGE, SIM_ENTRY_BEAT, SIM_ENTRY_JOIN, SIM_ENTRY_LEAVE };

/* One ordered multicast of a ring. Data lives in the world's arena. */
struct sim_entry {
    enum sim_entry_kind kind;
    uint8_t sender;
    uint32_t pid;
    uint32_t reach; /* hosts that can receive it */
    sim_us sent, ordered;
    uint64_t instance;
    const void *data;
    size_t len;
};

struct sim_ring {
    uint64_t seq;
    ha_node node;
    uint32_t members;
    bool intact;
    sim_us intact_since;
    uint8_t holder; /* of the token, while broken; SIM_NO_HOST: nobody */
    sim_us holder_until;
    struct sim_entry *v;
    size_t n, size;
    struct sim_ring *next; /* all rings of the world */
};

/* A ring change as the clients on one host will be told. */
struct sim_conf {
    struct ha_ring ring;
    uint32_t members;
    struct ha_process group[SIM_HOSTS_MAX], joined[SIM_HOSTS_MAX];
    struct ha_left left[SIM_HOSTS_MAX];
    size_t ngroup, njoined, nleft;
    bool quorate;
};

/* What a daemon is told; kept while it cannot run. */
struct sim_news {
    enum ha_event_type type;
    struct sim_conf *conf;  /* GROUP, RING */
    struct ha_process from; /* MESSAGE */
    const void *data;
    size_t len;
    uint64_t id; /* seq, op, fence, instance, inc, ring */
    uint32_t pid;
    bool flag; /* quorate */
    enum ha_result result;
    enum ha_exit exit;
    enum ha_probe_result probe;
    int guest;
    const char *text;
    const struct ha_request *request;
};

/* ----------------------------------------------------------------------------------- hypervisor */

/* A configuration of one host, which has not all guests. Kept to the end: news may refer to it. */
struct sim_own {
    struct sim_own *next;
    struct ha_config config;
};

struct sim_copy {
    uint32_t id; /* 0: free */
    int guest;
    uint64_t inc, mig;
    enum ha_copy_state state;
    bool building; /* create or receive under way: nothing to unpause yet */
    bool backends;
    bool restored;  /* holds an image, did not run since */
    uint32_t image; /* version of the guest's state in that image */
    bool ran;       /* may have written to its disks */
};

enum sim_stage {
    SIM_WORK_FREE,
    SIM_WORK_QUEUED,
    SIM_WORK_RUNS,
    SIM_WORK_CLOSING, /* a destroy waits for the backends */
    SIM_WORK_ANSWERS, /* ended; the answer is on its way */
};
enum sim_outcome {
    SIM_OUT_OK,
    SIM_OUT_FAIL,    /* no effect, says so */
    SIM_OUT_LOST,    /* effect, answer UNKNOWN */
    SIM_OUT_NOTHING, /* no effect, answer UNKNOWN */
    SIM_OUT_HANG,    /* UNKNOWN at the time-out; the worker lives on, effect later or never */
    SIM_OUT_SLOW,    /* ok, but takes long */
    SIM_OUT_LATE,    /* send: UNKNOWN once suspended, but the image is on its way and arrives later */
};

/* An operation of the driver. */
struct sim_work {
    enum sim_stage stage;
    uint32_t serial;
    uint32_t daemon; /* life of the daemon that asked */
    uint64_t op, inc, mig;
    enum ha_op what;
    int guest;
    uint8_t peer;
    ha_ms until, timeout_ms;
    sim_us deadline;
    enum sim_outcome outcome;
    uint32_t copy; /* the copy it builds */
    enum ha_result result;
    bool answered;
    bool aborted;
    int xfer; /* 0: waits for its partner; 1: transfers; 2: suspended */
    bool late; /* target: the source is gone, but all of the image was on its way */
    uint32_t image; /* target: what comes with it */
};

struct sim_guest {
    const struct ha_guest_config *config;
    char name[HA_NAME_MAX];
    uint32_t version; /* of its state: one more each time it begins to run */
    sim_us touched;   /* an operator's last command about it; -1: never */
    bool deaf;        /* ignores requests to shut down */
    enum ha_probe_result sick; /* what its probes find; 0: it is well */
    unsigned ill_answers;      /* since it began to run, or a probe succeeded */
    bool by_hand;     /* an operator started it behind the cluster's back */
};

/* ------------------------------------------------------------------------------------- hosts */

/* A write to the journal under way or waiting. */
struct sim_write {
    uint64_t seq;
    bool rewrite;
    bool last; /* of the fsync under way */
    const void *data;
    size_t len;
};

struct sim_record {
    const void *data;
    size_t len;
};

struct sim_journal {
    struct sim_record *v; /* durable */
    size_t n, size;
    struct sim_write *w; /* not yet durable */
    size_t nw, sizew;
    bool busy, broken;
};

struct sim_host {
    uint8_t i;
    ha_node node;
    char name[HA_NAME_MAX];
    /* hardware */
    bool on, booted, hung;
    uint32_t life; /* counts power-ons */
    struct ha_uuid boot, machine;
    sim_us booted_at;
    ha_ms clock_base;
    int32_t drift_ppm;
    bool watchdog, armed; /* has a device; it is armed */
    sim_us petted;
    bool wd_event;
    bool fenced_off; /* the last power-off was a fence's doing */
    uint64_t frozen_life; /* 1 + the life in which its keeper had orders to freeze */
    bool stay_off;   /* until healed */
    /* corosync */
    bool cs, cs_frozen;
    uint32_t cs_life;
    struct sim_ring *ring;
    size_t ptr;
    sim_us pump_at; /* next pump event; 0: none */
    struct sim_entry *outq;
    size_t nout, sizeout;
    bool order_event, form_event;
    uint64_t ring_seq;             /* highest it has seen; on disk */
    struct sim_conf *conf;         /* announced soon */
    bool conf_missed;              /* was due while nobody could run */
    uint32_t group[SIM_HOSTS_MAX]; /* pids of the daemons' group as delivered here */
    bool wfa;                      /* two_node: all hosts were seen */
    sim_us last_rx;
    int slow_net;     /* extra delivery delay, ms */
    ha_ms verdict_ms; /* extra delay of verdicts */
    bool hold_tx, hold_rx;
    /* keeper */
    bool keeper;
    uint32_t keeper_life;
    struct ha_keeper k;
    sim_us ktick_at;
    ha_ms lease_max; /* the farthest end of lease ever granted in this boot, own clock */
    bool kstate_pending;
    struct ha_keeper_memory kmemory;
    /* shared disk */
    bool disk_lost, disk_done; /* out of reach; a cycle is under way */
    int disk_slow;             /* ms */
    ha_ms disk_t, disk_good;   /* start of the cycle under way, of the last good one; own clock */
    sim_us disk_good_at, disk_bound_at;
    bool disk_pill, dying;
    uint32_t disk_loss;
    struct ha_disk_seen disk_seen[SIM_HOSTS_MAX];
    size_t disk_nseen;
    /* daemon */
    struct ha *ha;
    uint32_t daemon_life;
    bool stuck, joined, halted;
    uint32_t told_keeper; /* life of the keeper it is connected to; 0: none */
    uint32_t pid;
    uint64_t instance;
    sim_us tick_at;
    struct sim_news *dq;
    size_t ndq, sizedq, headdq;
    bool shutdown;
    sim_us daemon_since;
    sim_us last_order; /* arrival of the latest orders on their way to the keeper */
    struct ha_mark marks[SIM_GUESTS_MAX];
    size_t nmarks;
    struct sim_journal journal;
    bool journal_fails;
    int journal_slow; /* ms */
    /* driver */
    struct sim_copy copies[SIM_COPIES_MAX];
    struct sim_work works[SIM_WORKS_MAX];
    uint64_t memory_kib;
    uint8_t files[SIM_GUESTS_MAX]; /* version of a guest's configuration file; 0: none here */
    bool unregistered[SIM_GUESTS_MAX]; /* this host's configuration does not have the guest */
    struct sim_own *own;               /* the latest such configuration first; NULL: as the world's */
    bool inv_event, inv_unknown, inv_wait;
    struct {
        bool known;
        struct ha_copy copies[SIM_COPIES_MAX];
        size_t n;
        ha_ms at; /* when the look began, own clock; 0: none is on its way */
    } look;
    struct {
        enum ha_op what; /* 0: any */
        enum sim_outcome outcome;
        unsigned times;
        int guest; /* -1: any */
    } forced;
    int backends_slow; /* ms */
    /* what the core was told last, and the checker's notes */
    struct ha_ring told_ring, told_verdict_ring, told_keeper_ring;
    bool told_quorate;
    uint32_t told_members;
    struct ha_key seen_head, seen_stable;
    bool jumped; /* it learned of many facts at once, and cannot tell which decision knew of what */
    sim_us unleased_since, rx_sent[SIM_HOSTS_MAX], quorum_gained;
    sim_us rx_seen[SIM_HOSTS_MAX]; /* the same, cut off or not */
    bool had_quorum;
    uint32_t told_group[SIM_HOSTS_MAX];
    struct ha_epoch left_in[SIM_HOSTS_MAX]; /* epoch in which a process left inside a ring */
    struct ha_epoch max_epoch;
    sim_us unquorate_since;
    sim_us stuck_at; /* when its daemon, or its messages, were last set free */
    sim_us blocked_since[SIM_GUESTS_MAX];
};

/* ------------------------------------------------------------------------------------- fencing */

struct sim_fence {
    bool used, launched, effect;
    uint32_t serial, daemon;
    uint64_t id;
    uint8_t by, target;
    struct ha_uuid boot;
    uint32_t loss, level;
    enum ha_result result;
    bool cancelled; /* no call begins any more: it only answers */
    bool again;     /* its first call failed, a second one follows */
    bool pill;      /* a level of the shared disk */
    ha_ms wait_ms;
    uint32_t by_life;
    bool coming; /* its effect is on the way */
};

/* A poison pill on the disk; serial 0: none. */
struct sim_pill {
    uint32_t serial;
    struct ha_uuid boot;
    uint32_t loss;
};

struct sim_disk_slot {
    struct ha_uuid boot;
    sim_us at; /* when it was written; 0: never */
};

enum sim_device_mode {
    SIM_DEV_OK,
    SIM_DEV_FAIL,
    SIM_DEV_HANG,
    SIM_DEV_LATE, /* reports UNKNOWN, powers off much later */
    SIM_DEV_LOST, /* powers off, reports UNKNOWN */
    SIM_DEV_LIE,  /* reports OK, does nothing */
    SIM_DEV_SLOW,
};

struct sim_device {
    enum sim_device_mode mode;
    ha_ms delay_ms; /* with SLOW */
};

/* ------------------------------------------------------------------------------------ the plan */

#define SIM_OPS(X)                                                                                 \
    X(POWER_OFF, "power-off")                                                                      \
    X(RESET, "reset")                                                                              \
    X(HANG, "hang")                                                                                \
    X(DAEMON_KILL, "daemon-kill")                                                                  \
    X(DAEMON_STUCK, "daemon-stuck")                                                                \
    X(KEEPER_KILL, "keeper-kill")                                                                  \
    X(COROSYNC_KILL, "corosync-kill")                                                              \
    X(COROSYNC_FREEZE, "corosync-freeze")                                                          \
    X(CUT, "cut")                                                                                  \
    X(SPLIT, "split")                                                                              \
    X(HEAL, "heal")                                                                                \
    X(REFORM, "reform")                                                                            \
    X(SLOW_NET, "slow-net")                                                                        \
    X(HOLD_TX, "hold-tx")                                                                          \
    X(HOLD_RX, "hold-rx")                                                                          \
    X(JOURNAL_SLOW, "journal-slow")                                                                \
    X(JOURNAL_FAIL, "journal-fail")                                                                \
    X(WIPE, "wipe")                                                                                \
    X(ALL_OFF, "all-off")                                                                          \
    X(FENCE, "fence")                                                                              \
    X(DRIVER, "driver")                                                                            \
    X(GUEST_EXIT, "guest-exit")                                                                    \
    X(HAND_START, "hand-start")                                                                    \
    X(DEAF, "guest-deaf")                                                                          \
    X(BACKENDS_SLOW, "backends-slow")                                                              \
    X(CMD, "cmd")                                                                                  \
    X(CONFIRM, "confirm")                                                                          \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(INVENTORY, "inventory-unknown")                                                              \
    X(QUORUM_FLIP, "quorum-flip")                                                                  \
    X(VERDICT_LATE, "verdict-late")                                                                \
    X(NO_WATCHDOG, "no-watchdog")                                                                  \
    X(REPLACE, "replace")                                                                          \
    X(VERDICT, "verdict")                                                                          \
    X(DEFINE, "define")                                                                            \
    X(DISK_LOST, "disk-lost")                                                                      \
    X(DISK_ALL, "disk-all-lost")                                                                   \
    X(DISK_SLOW, "disk-slow")                                                                      \
    X(SICK, "guest-sick")                                                                          \
    X(CONFIG, "config-without")

enum sim_op_kind {
#define X(name, text) SIM_OP_##name,
    SIM_OPS(X)
#undef X
        SIM_OP_COUNT
};

/* One thing done to the cluster: at a time, or when a line of the log matches. */
struct sim_op {
    enum sim_op_kind kind;
    bool undo;        /* end what an earlier op began (scripts: power-on, resume, …) */
    ha_ms at;         /* when; with a pattern: not before */
    ha_ms delay;      /* after the pattern matched */
    char pattern[96]; /* "": by time only */
    unsigned nth;     /* which match; 0 and 1: the first */
    unsigned seen;    /* matches so far */
    bool fired;
    bool after;   /* done although the faults are over */
    ha_ms dur;    /* undone after this; 0: stays */
    uint8_t host; /* index; SIM_NO_HOST: none */
    uint8_t peer;
    int guest;                   /* -1: none */
    uint8_t comp[SIM_HOSTS_MAX]; /* SPLIT */
    int arg;                     /* mode, operation, exit, command */
    int arg2;
    ha_ms val;
    char text[16]; /* kind of a move */
};

struct sim_plan {
    struct sim_op *v;
    size_t n, size;
};

void sim_plan_add(struct sim_plan *plan, const struct sim_op *op);
void sim_plan_copy(struct sim_plan *to, const struct sim_plan *from);
void sim_plan_done(struct sim_plan *plan);
/* One line of text as the script language has it. */
void sim_op_format(const struct sim_op *op, const struct ha_config *config, char *ret, size_t size);
extern const char *const sim_op_names[];

/* --------------------------------------------------------------------------------- the world */

struct sim_rates { /* permille of operations */
    uint32_t op_fail, op_lost, op_hang, op_slow;
    uint32_t fence_fail, fence_late, fence_hang, fence_lost;
    uint32_t inventory_unknown, verdict_late, merge_stepwise, crash_tail;
};

struct sim_setup {
    uint64_t seed;
    struct ha_config *config; /* borrowed */
    enum ha_mutant mutant;
    struct sim_rates rates;
    uint64_t host_memory_kib;
    uint64_t need_kib[SIM_GUESTS_MAX]; /* by the definition, where the configuration says 0 */
    uint32_t no_watchdog;              /* mask of hosts */
    ha_ms look_ms;        /* most that a look at the hypervisor takes; 0: none takes any time */
    bool no_files;        /* no host has any guest's configuration file, until `define` */
    bool lies;            /* devices may lie: doubles are then possible, the alarm is checked */
    bool scarce;          /* there may be less room than all guests need */
    bool calm;            /* scenario: small fixed delays, no chance */
    ha_ms token_ms, consensus_ms;
    ha_ms faults_ms; /* how long the plan may do harm */
    ha_ms settle_ms; /* then: time to recover; 0: no liveness check */
    ha_ms boot_ms;
    bool log;
    void (*on_log)(void *user, const char *line);
    void *user;
};

enum sim_class { SIM_FINE = 0, SIM_SAFETY = 10, SIM_LIVENESS = 20, SIM_CRASH = 30 };

struct sim_verdict {
    enum sim_class class;
    int invariant; /* number in DESIGN section 3; 0: none of them */
    ha_ms at;
    char text[600];
};

struct sim_ledger;

struct sim_world {
    const struct sim_setup *setup;
    const struct ha_config *config;
    struct sim_plan plan;
    struct sim_queue queue;
    sim_us now;
    struct sim_rng rng, net_rng, op_rng;
    uint64_t hash;
    uint64_t events;
    unsigned nhosts, nguests;
    struct sim_host *hosts; /* SIM_HOSTS_MAX of them */
    struct sim_guest guests[SIM_GUESTS_MAX];
    struct sim_fence fences[SIM_FENCES_MAX];
    struct sim_device devices[SIM_HOSTS_MAX][SIM_LEVELS_MAX];
    struct sim_pill pills[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* for whom, by whom */
    struct sim_disk_slot slots[SIM_HOSTS_MAX];
    struct sim_rng disk_rng;
    uint8_t comp[SIM_HOSTS_MAX];
    struct sim_ring *rings;
    uint32_t serial;
    struct ha_actions actions;
    bool stop, healing, founded, lied, distrusted;
    uint64_t stable_i; /* index of the latest fact that is stable anywhere */
    unsigned wiped;      /* journals, ever */
    uint32_t confirmed;  /* hosts that an operator vouched for */
    bool froze;          /* an operator froze the cluster, at least once */
    bool needs_alarm;    /* a life that a device had called off came back */
    bool device_trouble; /* a fence ended without success */
    uint8_t definitions[SIM_GUESTS_MAX]; /* newest version of the guest's file anywhere */
    uint64_t config_files; /* made by commands so far */
    bool mig_news;       /* this step said something about a migration */
    uint64_t disturbed, open_mark;
    sim_us closed_since;
    struct sim_rates rates;
    bool logging;
    bool has_triggers;
    unsigned founding, checks;
    sim_us heal_at, good_since;
    struct sim_verdict verdict;
    struct sim_ledger *ledger;
    void **arena;
    size_t narena, sizearena, arena_used;
};

struct sim_world *sim_world_new(const struct sim_setup *setup, const struct sim_plan *plan);
struct sim_world *sim_world_free(struct sim_world *w);
/* Runs to the end or to the first violation. */
void sim_world_run(struct sim_world *w);

/* world.c, for the other parts */
void *sim_alloc(struct sim_world *w, size_t len); /* lives as long as the world */
const void *sim_dup(struct sim_world *w, const void *data, size_t len);
void sim_schedule(struct sim_world *w, sim_us at, enum sim_event_type type, unsigned host,
                  uint32_t gen, uint64_t a);
void sim_log(struct sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define SIM_LOG(w, ...)                                                                            \
    do {                                                                                           \
        if ((w)->logging)                                                                          \
            sim_log((w), __VA_ARGS__);                                                             \
    } while (0)
void sim_mix(struct sim_world *w, uint64_t x);
void sim_mix_bytes(struct sim_world *w, const void *data, size_t len);
struct ha_uuid sim_uuid(struct sim_world *w);
ha_ms sim_clock(const struct sim_world *w, const struct sim_host *h);
/* World time at which the host's clock shows `ms`. */
sim_us sim_when(const struct sim_world *w, const struct sim_host *h, ha_ms ms);
int sim_guest_index(const struct sim_world *w, const char *name);
int sim_host_index(const struct sim_world *w, ha_node node);
/* Random delay in the world's time; the lower bound when calm. */
sim_us sim_delay(struct sim_world *w, sim_us lo, sim_us hi);
bool sim_chance(struct sim_world *w, uint32_t permille);
void sim_violate(struct sim_world *w, enum sim_class class, int invariant, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* net.c */
void sim_net_changed(struct sim_world *w);
void sim_net_pump(struct sim_world *w, struct sim_host *h);
void sim_net_order(struct sim_world *w, struct sim_host *h);
void sim_net_form(struct sim_world *w, struct sim_host *h);
void sim_net_conf(struct sim_world *w, struct sim_host *h);
void sim_net_quorum(struct sim_world *w, struct sim_host *h, uint64_t a);
void sim_net_send(struct sim_world *w, struct sim_host *h, enum sim_entry_kind kind,
                  const void *data, size_t len);
void sim_corosync_start(struct sim_world *w, struct sim_host *h);
void sim_corosync_stop(struct sim_world *w, struct sim_host *h);
void sim_net_reform(struct sim_world *w, struct sim_host *h);
void sim_net_kick(struct sim_world *w, struct sim_host *h);
void sim_net_verdict(struct sim_world *w, struct sim_host *h, bool quorate, sim_us delay);
bool sim_net_live(const struct sim_host *h);
bool sim_net_quorate(const struct sim_world *w, const struct sim_host *h);
void sim_net_done(struct sim_world *w);

/* host.c */
void sim_power_on(struct sim_world *w, struct sim_host *h);
void sim_power_off(struct sim_world *w, struct sim_host *h, const char *why);
void sim_booted(struct sim_world *w, struct sim_host *h);
void sim_hang(struct sim_world *w, struct sim_host *h, bool hung);
void sim_keeper_start(struct sim_world *w, struct sim_host *h);
void sim_keeper_kill(struct sim_world *w, struct sim_host *h);
void sim_keeper_event(struct sim_world *w, struct sim_host *h, const struct ha_keeper_event *event);
void sim_keeper_beat(struct sim_world *w, struct sim_host *h, const struct sim_entry *entry);
void sim_keepers_group(struct sim_world *w, const struct sim_host *h);
void sim_keeper_ring(struct sim_world *w, struct sim_host *h);
void sim_keeper_tick(struct sim_world *w, struct sim_host *h);
void sim_keeper_news(struct sim_world *w, struct sim_host *h, sim_us delay);
void sim_watchdog(struct sim_world *w, struct sim_host *h);
bool sim_awake(const struct sim_host *h); /* booted and its dom0 runs */

/* proc.c */
void sim_daemon_start(struct sim_world *w, struct sim_host *h);
void sim_daemon_kill(struct sim_world *w, struct sim_host *h, bool host_died);
void sim_daemon_stuck(struct sim_world *w, struct sim_host *h, bool stuck);
void sim_daemon_join(struct sim_world *w, struct sim_host *h);
void sim_daemon_news(struct sim_world *w, struct sim_host *h, const struct sim_news *news);
/* The host's configuration file is changed, by h->unregistered, and its daemon told to read it. */
void sim_daemon_reconfigure(struct sim_world *w, struct sim_host *h);
void sim_daemon_done(struct sim_host *h);
/* The daemon reads a guest's configuration file; `fresh`: an operator has just changed it. */
void sim_daemon_define(struct sim_world *w, struct sim_host *h, int guest, bool fresh);
void sim_daemon_tick(struct sim_world *w, struct sim_host *h);
void sim_daemon_kstate(struct sim_world *w, struct sim_host *h);
void sim_daemon_inventory(struct sim_world *w, struct sim_host *h);
void sim_daemon_looked(struct sim_world *w, struct sim_host *h);
void sim_daemon_drain(struct sim_world *w, struct sim_host *h);
void sim_daemon_command(struct sim_world *w, struct sim_host *h, enum ha_command command,
                        const char *guest, const char *host, const char *text);
void sim_orders_arrive(struct sim_world *w, struct sim_host *h, uint64_t a);

/* journal.c */
void sim_journal_append(struct sim_world *w, struct sim_host *h, uint64_t seq, bool rewrite,
                        const void *data, size_t len);
void sim_journal_fsync(struct sim_world *w, struct sim_host *h);
void sim_journal_crash(struct sim_world *w, struct sim_host *h);
void sim_journal_wipe(struct sim_host *h);
void sim_journal_fail(struct sim_world *w, struct sim_host *h, bool fails);
void sim_journal_done(struct sim_host *h);

/* work.c: operations */
void sim_work_start(struct sim_world *w, struct sim_host *h, const struct ha_action *action);
void sim_work_cancel(struct sim_world *w, struct sim_host *h, uint64_t op);
void sim_work_cancel_old(struct sim_world *w, struct sim_host *h, const char *guest);
void sim_work_event(struct sim_world *w, struct sim_host *h, const struct sim_event *event);
void sim_work_orphan(struct sim_world *w, struct sim_host *h);
bool sim_work_of(const struct sim_host *h, int guest);
/* The other end of a migration is gone. */
void sim_work_peer_lost(struct sim_world *w, unsigned lost);
/* Backends have closed: a destroy may be complete. */
void sim_work_closed(struct sim_world *w, struct sim_host *h, int guest);
void sim_work_off(struct sim_host *h);
void sim_work_heal(struct sim_world *w, struct sim_host *h);

/* hyper.c: copies */
void sim_copy_event(struct sim_world *w, struct sim_host *h, const struct sim_event *event);
struct sim_copy *sim_copy_new(struct sim_world *w, struct sim_host *h, int guest, uint64_t inc);
struct sim_copy *sim_copy_find(struct sim_host *h, uint32_t id);
void sim_copy_run(struct sim_world *w, struct sim_host *h, struct sim_copy *copy);
/* The domain ends; its backends close later. */
void sim_copy_kill(struct sim_world *w, struct sim_host *h, struct sim_copy *copy);
void sim_probe_start(struct sim_world *w, struct sim_host *h, const struct ha_action *a);
void sim_probe_event(struct sim_world *w, struct sim_host *h, uint64_t a);
void sim_guest_exit(struct sim_world *w, int guest, enum ha_exit exit);
void sim_hand_start(struct sim_world *w, struct sim_host *h, int guest);
void sim_hyper_off(struct sim_world *w, struct sim_host *h);
/* Tells the daemon soon what is there. */
void sim_inventory_soon(struct sim_world *w, struct sim_host *h);
bool sim_host_empty(const struct sim_host *h);

/* fence.c */
void sim_fence_start(struct sim_world *w, struct sim_host *h, const struct ha_action *action);
void sim_fence_cancel(struct sim_world *w, struct sim_host *h, uint64_t id, bool begun);
void sim_fence_event(struct sim_world *w, struct sim_host *h, const struct sim_event *event);

/* disk.c */
void sim_disk_boot(struct sim_world *w, struct sim_host *h);
void sim_disk_event(struct sim_world *w, struct sim_host *h, uint64_t a);
void sim_disk_die(struct sim_world *w, struct sim_host *h);
bool sim_pill_write(struct sim_world *w, const struct sim_fence *f);
bool sim_pill_there(const struct sim_world *w, const struct sim_fence *f);

/* plan.c */
void sim_plan_start(struct sim_world *w);
void sim_plan_event(struct sim_world *w, uint64_t a);
void sim_plan_match(struct sim_world *w, const char *line);
/* Faults end: everything is repaired. */
void sim_plan_heal(struct sim_world *w);
void sim_plan_end_maintenance(struct sim_world *w, struct sim_host *chair);

#endif
