/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builds what a run needs: a configuration, and a random choice of faults (a swarm). */
#ifndef SIM_MAKE_H
#define SIM_MAKE_H

#include "world.h"

/* Everything about a run but its mutant. Freed with sim_run_done. */
struct sim_run {
    struct sim_setup setup;
    struct sim_plan plan;
    unsigned hosts, guests;
};

/* The shape of a cluster in few words. */
struct sim_shape {
    unsigned hosts, guests;
    bool fence_only;
    const char *levels[SIM_HOSTS_MAX]; /* per host: d device, s self, p pill; NULL: "ds" */
    ha_ms delay_ms[SIM_HOSTS_MAX];     /* of the first level */
    unsigned fit;                      /* guests that fit on one host */
    struct ha_fence_policy fencing;
    bool disk;                         /* there is a shared disk */
    uint32_t disabled;                 /* mask of guests that nobody wants to run */
};

struct ha_config *sim_config_new(const struct sim_shape *shape, ha_ms token_ms, ha_ms consensus_ms);
struct ha_config *sim_config_free(struct ha_config *config);

/* One more probe for a guest, copied. */
void sim_give_probe(struct ha_guest_config *guest, const struct ha_probe_config *probe);

void sim_give_after(struct ha_guest_config *guest, const struct ha_after *after);

/* Which kinds of faults a swarm may use: a mask of sim_op_kind, plus these. */
enum {
    SIM_FAULT_OPS = 1 << 0,     /* operations fail, hang, lose their answer */
    SIM_FAULT_DEVICES = 1 << 1, /* fence devices do */
    SIM_FAULT_NET = 1 << 2,     /* late verdicts, stepwise merges, delays */
};
struct sim_faults {
    uint64_t kinds;
    unsigned rates;
    bool none;
};
/* "all", "none", or names of ops and ops-rates, device-rates, net-rates, with commas. 0, or -1. */
int sim_faults_parse(const char *text, struct sim_faults *ret_faults);

struct sim_options {
    unsigned hosts_lo, hosts_hi, guests;
    ha_ms secs; /* length of the faulty phase; 0: chosen by the seed */
    struct sim_faults faults;
    const char *bias; /* NULL: no directed schedule; "*": sometimes one of them */
    bool lies;
};

/* What the seed says. False: unknown bias. */
bool sim_run_make(uint64_t seed, const struct sim_options *options, struct sim_run *ret_run);
void sim_run_done(struct sim_run *run);

/* Named schedules, each aimed at one guard (directed.c). */
struct sim_directed {
    const char *name;
    const char *mutants; /* the mutants it is to catch, with spaces */
    unsigned hosts, guests;
    bool fence_only;
    const char *levels; /* of all hosts; with a p: there is a shared disk */
    bool calm;
    const char *script;
};
extern const struct sim_directed sim_directed[];
extern const size_t sim_ndirected;
const struct sim_directed *sim_directed_find(const char *name);

#endif
