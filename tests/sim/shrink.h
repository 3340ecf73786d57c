/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs one schedule, and finds a shorter one that fails in the same way. */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "make.h"

struct sim_result {
    struct sim_verdict verdict;
    uint64_t hash, events;
    ha_ms virtual_ms;
};

/* Runs it here. */
void sim_run_once(const struct sim_run *run, struct sim_result *ret_result);
/* Runs it in a process of its own: a failed assertion is a result, too. */
void sim_run_apart(const struct sim_run *run, struct sim_result *ret_result);
/* Drops ops from run->plan as long as the same invariant fails, for `secs` at most. */
void sim_shrink(struct sim_run *run, const struct sim_verdict *verdict, unsigned secs);

#endif
