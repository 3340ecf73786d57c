/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Brings definitions from the hosts that have them to those that have not, in a CPG group of its own, so
 * that it never stands in the way of what the hosts agree on. What arrives is believed because of its
 * hash, not because of who sent it. */
#ifndef XVM_SPREAD_H
#define XVM_SPREAD_H

#include <systemd/sd-event.h>

#include "blobs.h"

struct xvm_spread;

/* `hash` is on this host's disk now. */
typedef void (*xvm_spread_arrived)(void *user, const struct ha_uuid *hash);

/* Joins the group and keeps joining it. 0 or a negative errno. `blobs` is borrowed. */
int xvm_spread_new(sd_event *loop, struct xvm_blobs *blobs, xvm_spread_arrived arrived, void *user,
                   struct xvm_spread **ret_spread);
struct xvm_spread *xvm_spread_free(struct xvm_spread *spread);
/* Asks for it, again and again, until it is here. 0 or -ENOMEM. */
int xvm_spread_want(struct xvm_spread *spread, const struct ha_uuid *hash);

#endif
