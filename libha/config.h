/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration as the core sees it: plain data, filled in by the daemon's YAML loader (or by a
 * test), checked before the core gets it, never changed afterwards. All pointers are owned by the
 * struct; daemon/config.h has the functions that fill and free it. */
#ifndef HA_CONFIG_H
#define HA_CONFIG_H

#include "plan.h"
#include "types.h"

/* How votes are counted (PROTOCOL.md, "Modes"). */
enum ha_mode {
    HA_MODE_MAJORITY,
    HA_MODE_FENCE_ONLY, /* two_node, qdevice, last_man_standing, allow_downscale */
};

enum ha_fence_kind {
    HA_FENCE_DEVICE, /* one or several fence agents, all must succeed */
    HA_FENCE_SELF,   /* the host's own watchdog: the bound X + W + M */
    HA_FENCE_DISK,   /* a poison pill on the shared disk: ha_disk_bound() after it was written */
};

/* name=value for a fence agent's standard input. */
struct ha_param {
    char *name;
    char *value;
    bool secret; /* never shown: read from a file, or a name that holds a secret */
};

struct ha_fence_device {
    char name[HA_NAME_MAX];
    char *agent; /* file name in the agents' folder, or an absolute path */
    struct ha_param *params;
    size_t nparams;
    ha_ms timeout_ms; /* of one call */
    unsigned retries; /* further calls after a failed one */
    bool verify;      /* ask for the status after off */
    ha_ms delay_ms;   /* wait before its first call */
    unsigned actions; /* what its agent can do, as bits of the shell's; 0: not known */
};

struct ha_fence_level {
    enum ha_fence_kind kind;
    size_t devices[4]; /* indices into ha_config.devices */
    size_t ndevices;
    ha_ms delay_ms; /* wait before the launch */
};

struct ha_host_config {
    char name[HA_NAME_MAX];
    ha_node node;
    struct ha_fence_level levels[HA_LEVELS_MAX];
    size_t nlevels;
    /* per host parameters added to each device's own (for example plug=host1) */
    struct ha_param *params;
    size_t nparams;
    char migration_address[HA_ADDRESS_MAX]; /* for the shell; "": by network, or corosync's */
};

/* How the memory of guests goes from host to host. For the shell; the core does not read it. */
struct ha_migration_config {
    bool encrypted;
    char *authkey; /* file with the cluster's key */
    char network[HA_ADDRESS_MAX]; /* "": none */
    unsigned network_bits;
    int port;
    uint64_t bandwidth_kib; /* a second, of one transfer; 0: no limit */
    ha_ms time_limit_ms;    /* of one transfer */
};

enum ha_move_fallback {
    HA_FALLBACK_NONE,   /* a move that fails leaves the guest where it is */
    HA_FALLBACK_NORMAL, /* it is then stopped, and started at the target */
};

/* A label of hosts, such as `san` or `rack=a`. */
struct ha_label {
    char name[HA_NAME_MAX];
    uint64_t hosts; /* bit i: hosts[i] of the configuration has it */
};

struct ha_preference {
    ha_node host;
    int32_t weight; /* negative: rather not */
};

/* Guests that belong together, or apart. */
struct ha_rule {
    char name[HA_NAME_MAX]; /* "": none */
    enum ha_plan_kind kind;
    enum ha_plan_strength strength;
    uint32_t *guests; /* indices into the configuration's guests, each once */
    size_t nguests;
    char over[HA_NAME_MAX];       /* the label that names failure domains; "": each host is one */
    uint8_t domain[HA_HOSTS_MAX]; /* that hosts[i] of the configuration is in */
};

/* When running guests are moved back for preferences and weak rules. */
enum ha_failback {
    HA_FAILBACK_NEVER,
    HA_FAILBACK_MAINTENANCE, /* when a host's maintenance has ended: those that had left for it */
    HA_FAILBACK_AUTO,
};

/* What the planner may do. All zero: guests are placed, and nobody is disturbed for another. */
struct ha_placement {
    unsigned reserve; /* host failures that are to be tolerated */
    enum ha_failback failback;
    enum ha_plan_preempt preempt;
    bool rebalance;     /* running guests may be moved live to make room */
    unsigned transfers; /* moves that a host takes part in at a time; 0: 2 */
};

/* A program that says whether a guest does its work (A14). */
struct ha_probe_config {
    char name[HA_NAME_MAX];
    char **argv;         /* for the shell: the program and its arguments, NULL at the end */
    ha_ms interval_ms;
    ha_ms timeout_ms;    /* of one run: it is killed then, and nobody knows */
    ha_ms grace_ms;      /* from the guest's start to its first success failures do not count */
    unsigned failures;   /* in a row, from which on the guest counts as crashed */
    unsigned unknowns;   /* the same, of runs that failed or hung; 0: hung ones never count */
};

enum { HA_PROBES_MAX = 8, HA_AFTER_MAX = 32 };

/* What follows when a guest ends by itself. */
enum ha_on_end {
    HA_ON_RESTART = 0,
    HA_ON_STOP,         /* it stays down, as if an operator had stopped it */
    HA_ON_DUMP_RESTART, /* its memory is kept in a file first */
    HA_ON_DUMP_STOP,
};

/* What keeps other hosts from writing to a guest's disks, besides that the cluster has one owner. */
enum ha_guard {
    HA_GUARD_NONE = 0,
    HA_GUARD_SCSI, /* persistent reservations on the storage */
};

/* A guest that is to run before another one is started. */
struct ha_after {
    char name[HA_NAME_MAX];
    bool healthy;   /* and its probes are to say that it is well */
    ha_ms delay_ms; /* and so much time is to have passed since */
};

struct ha_guest_config {
    char name[HA_NAME_MAX];
    char *config_path; /* xl.cfg; NULL for the process driver */
    int priority;      /* higher is more important; 0..1000, default 100 */
    uint64_t memory_kib;
    unsigned vcpus;
    bool enabled;          /* wanted state when the guest is registered */
    ha_node allowed[HA_HOSTS_MAX];
    size_t nallowed; /* 0: every host */
    ha_ms stop_timeout_ms;     /* all phases of a stop: 70 % graceful, 25 % forced */
    unsigned restart_limit;    /* restarts within restart_window_ms before it counts as failed */
    ha_ms restart_window_ms;
    ha_ms restart_delay_ms;    /* back-off after a failure; doubles up to 32 times it */
    bool external;             /* started, stopped and moved by somebody else: only guarded here */
    uint8_t move_type;         /* enum ha_move_kind, when the operator names none; 0: live */
    uint8_t move_fallback;     /* enum ha_move_fallback */
    uint32_t *needs; /* labels that a host must have, as indices into the configuration's */
    size_t nneeds;
    struct ha_preference *prefer;
    size_t nprefer;
    uint32_t *rules; /* that it is in, as indices */
    size_t nrules;
    char (*labels)[HA_NAME_MAX]; /* its own, by which rules can name it */
    size_t nlabels;
    struct ha_probe_config *probes;
    size_t nprobes;
    unsigned restart_per_host; /* failures in a row on one host, then another one; 0: any */
    uint8_t on_reboot, on_poweroff, on_crash; /* enum ha_on_end */
    uint8_t disk_guard;     /* enum ha_guard; for the shell */
    struct ha_after *after; /* what it is started after */
    size_t nafter;
    ha_ms start_wait_ms;    /* the longest that it waits for those */
};

enum { HA_DUEL_ACTION = 5000 }; /* ms from the order to power off, of two hosts' turns */

/* PROTOCOL.md, TIMERS. All durations in milliseconds. */
struct ha_timers {
    ha_ms beat;          /* b: keepers' beats */
    ha_ms pet;           /* p: how often the keeper pets the watchdog */
    ha_ms exchange;      /* T_exch */
    ha_ms chair;         /* T_chair: silence after which a coordinator loses its chair */
    ha_ms settle;        /* T_settle: hold-off after quorum was gained */
    ha_ms startup_grace; /* how long hosts that own guests but were never seen are waited for */
    ha_ms lease;         /* X */
    ha_ms watchdog;      /* W, whole seconds */
    ha_ms margin;        /* M */
    ha_ms daemon;        /* T_daemon */
    ha_ms duel;          /* two hosts: turns of fencing, counted from the last beat of the other */
    ha_ms fence_retry;   /* first back-off after all levels failed; doubles up to 16 times it */
};

/* Restraint. A loss counts until its host has been calm for a window. */
struct ha_fence_policy {
    unsigned host_limit;    /* losses from which a host gets no guests (quarantine); 0: no limit */
    unsigned cluster_limit; /* losses of all hosts from which nothing is fenced but by an operator's
                               word; 0: no limit */
    ha_ms window;
    ha_ms check;            /* how often each device is asked whether it works; 0: never. Shell's */
};

/* The shared disk: a second lease beside the keepers' (ha_disk_bound() says why it kills). */
struct ha_disk_config {
    char *path;        /* for the shell; NULL: no shared disk */
    ha_ms interval_ms; /* one cycle of writing the own slot and reading all of them */
    ha_ms timeout_ms;  /* D: the lease ends this long after the start of the last good cycle; 0: no
                          shared disk */
};

/* How many guests may be starting at once; 0: any number. */
struct ha_starts {
    unsigned per_host, cluster;
    ha_ms boot_ms; /* one that runs counts as starting for so long, or until it is healthy */
};

/* What a host does before it goes down. */
struct ha_shutdown {
    bool evacuate;    /* its guests move away first; else they are shut down at once */
    ha_ms timeout_ms; /* the whole of it */
};

struct ha_config {
    char cluster_name[HA_NAME_MAX];
    enum ha_mode mode;
    struct ha_timers timers;
    struct ha_host_config *hosts;
    size_t nhosts;
    struct ha_fence_device *devices;
    size_t ndevices;
    struct ha_guest_config *guests;
    size_t nguests;
    struct ha_label *labels;
    size_t nlabels;
    struct ha_rule *rules;
    size_t nrules;
    struct ha_placement placement;
    unsigned journal_keep; /* stable facts kept one by one, for members that fetch; 0: the default */
    struct ha_fence_policy fencing;
    struct ha_disk_config disk;
    struct ha_starts starts;
    struct ha_shutdown shutdown;
    bool suspendable_hosts; /* hosts are virtual machines that can be suspended: no bound */
    /* For the shell; the core does not read them. */
    char *driver;          /* "libxl" or "process" */
    char *shared_dir;      /* process driver: the "shared storage" */
    char *watchdog_device; /* NULL: none; a path; "xen" for the hypervisor's own */
    uint64_t process_memory_kib; /* process driver: what the host claims to have */
    struct ha_migration_config migration;
    uint64_t hash;               /* of the file's text: shows drift between hosts */
};

/* PROTOCOL.md, TIMERS: the defaults for a ring of `nhosts` with corosync's `token_ms` and
 * `consensus_ms` (its effective values). Pure. ret_timers is filled completely. */
void ha_timers_default(unsigned nhosts, ha_ms token_ms, ha_ms consensus_ms,
                       struct ha_timers *ret_timers);

/* The inequalities that make the bound safe (PROTOCOL.md, TIMERS). 0, or -EINVAL with the numbers in
 * ret_error->text. */
int ha_timers_check(const struct ha_timers *timers, ha_ms token_ms, ha_ms consensus_ms,
                    struct ha_error *ret_error);

/* How long after a poison pill was certainly on the disk its host is certainly dead or empty:
 * D + W + M. A host bound to the disk has a lease only until D after the *start* of the last cycle
 * that read every slot and found no pill for it. A cycle that starts after the pill was written
 * finds it or fails; so the lease ends at most D after the write, the watchdog is petted no more,
 * and W later the host is reset, whether it can read the disk or not. M is what clocks may differ
 * by over D + W, and never less than `margin_ms`. Pure. */
ha_ms ha_disk_bound(ha_ms timeout_ms, ha_ms watchdog_ms, ha_ms margin_ms);

/* Is the disk's timing safe and calm: D and W in range, D long enough that hosts which all lose the
 * disk agree on doing without it before anybody's lease ends, and not shorter than what the storage
 * itself takes to give up (`storage_ms`; 0: not known). 0, or -EINVAL with the numbers in
 * ret_error->text. */
int ha_disk_check(const struct ha_disk_config *disk, const struct ha_timers *timers,
                  ha_ms storage_ms, struct ha_error *ret_error);
/* The least D for these timers. */
ha_ms ha_disk_timeout_min(const struct ha_timers *timers, ha_ms interval_ms, ha_ms storage_ms);

#endif
