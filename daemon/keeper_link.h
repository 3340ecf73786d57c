/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's line to its keeper: orders out, state in; reconnects by itself and, where no service
 * manager does it, starts a keeper that outlives the daemon. */
#ifndef XVM_KEEPER_LINK_H
#define XVM_KEEPER_LINK_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"

struct xvm_keeper_link;

struct xvm_keeper_link_env {
    sd_event *loop;
    const char *run_dir;
    ha_node self;
    struct ha_uuid boot;
    bool spawn;
    const char *watchdog;   /* what the configuration names; NULL: none */
    const char *log_target; /* for a spawned keeper */
    /* HA_EV_KEEPER, without its time. */
    void (*event)(void *user, struct ha_event *event);
    void *user;
};

/* 0 or a negative errno. The strings are borrowed for the life of the link. */
int xvm_keeper_link_new(const struct xvm_keeper_link_env *env, struct xvm_keeper_link **ret_link);
/* Gives new orders; a keeper that is away gets the latest when it is back. */
void xvm_keeper_link_order(struct xvm_keeper_link *link, const struct ha_keeper_orders *orders);

#endif
