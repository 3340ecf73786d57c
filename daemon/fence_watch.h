/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks after the fence devices before they are needed: each is asked regularly whether it works,
 * by one host at a time, spread over the interval; and `xvmhactl fence check` asks all of them now.
 */
#ifndef XVM_FENCE_WATCH_H
#define XVM_FENCE_WATCH_H

#include <jansson.h>
#include <systemd/sd-event.h>

#include "fence_check.h"

struct xvm_fence_watch;

struct xvm_fence_watch_env {
    sd_event *loop;
    const char *agent_dir;
    ha_node self;
    void *user;
    /* NULL while there is none. */
    const struct ha *(*core)(void *user);
    const struct ha_config *(*config)(void *user);
    /* A device fails, or works again. */
    void (*report)(void *user, enum ha_report what, enum ha_severity severity, ha_node host,
                   const char *text);
    /* The result of xvm_fence_watch_now; takes over `answer`. */
    void (*answer)(void *user, uint64_t client, json_t *answer);
};

int xvm_fence_watch_new(const struct xvm_fence_watch_env *env, struct xvm_fence_watch **ret_watch);
struct xvm_fence_watch *xvm_fence_watch_free(struct xvm_fence_watch *watch);
/* Every device of every host (node 0) or of one host, now. 0: env.answer(client) comes; -EBUSY. */
int xvm_fence_watch_now(struct xvm_fence_watch *watch, ha_node node, uint64_t client);

/* For tests: when in the interval (0 … interval - 1) a device is asked for a host, and by which of
 * n members in the period-th interval. Pure, the same on every host. */
ha_ms xvm_watch_slot(ha_node host, const char *device, ha_ms interval);
size_t xvm_watch_turn(ha_node host, const char *device, uint64_t period, size_t n);

#endif
