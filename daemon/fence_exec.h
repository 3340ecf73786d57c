/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs fence agents (any program that speaks the ClusterLabs fence agent API) for one fence level:
 * off on every device of the level, then status to verify where asked, with time limits and
 * retries; a time-out kills the agent's whole process group. Never blocks the loop. */
#ifndef XVM_FENCE_EXEC_H
#define XVM_FENCE_EXEC_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"

struct xvm_fencer;

typedef void (*xvm_fence_done)(void *user, uint64_t id, enum ha_result result, const char *text);

/* agent_dir: where agents named without a slash live (default /usr/sbin). */
int xvm_fencer_new(sd_event *loop, const struct ha_config *config, const char *agent_dir,
                   xvm_fence_done done, void *user, struct xvm_fencer **ret_fencer);
struct xvm_fencer *xvm_fencer_free(struct xvm_fencer *fencer);
void xvm_fencer_set_config(struct xvm_fencer *fencer, const struct ha_config *config);
/* Launches level `level` of host `node`, after the level's delay. The answer comes from the loop.
 * OK only if every device said off (already off counts), and status said off where asked. A failed
 * call is HA_RESULT_FAILED only when the agent said so itself; time-outs, signals and nonsense are
 * HA_RESULT_UNKNOWN. */
void xvm_fencer_launch(struct xvm_fencer *fencer, uint64_t id, ha_node node, uint32_t level);
/* A level of the shared disk: xvm-ha-disk writes a pill for that life and waits. The strings are
 * copied. */
struct xvm_fence_pill {
    ha_node self;
    struct ha_uuid boot, target_boot, disk;
    uint32_t loss;
    ha_ms wait_ms;
    const char *run_dir;
};
void xvm_fencer_pill(struct xvm_fencer *fencer, uint64_t id, ha_node node, uint32_t level,
                     const struct xvm_fence_pill *pill);
/* Forgets a launch whose delay has not passed yet; with `begun`, from here on no device is told to
 * switch off for it: not again, not the next device of the level. What runs goes on to its end, and
 * its answer comes. True: nothing runs, and the answer is HA_RESULT_FAILED (or UNKNOWN, after a
 * call that said nothing clear). */
bool xvm_fencer_cancel(struct xvm_fencer *fencer, uint64_t id, bool begun);

#endif
