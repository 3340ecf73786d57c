/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Corosync for the daemon: the group "xvm-had", verdicts of quorum with their rings, and the facts
 * that cmap knows. Connects and reconnects by itself; no call into a stopped corosync can hang the
 * loop. */
#ifndef XVM_COROSYNC_H
#define XVM_COROSYNC_H

#include <netinet/in.h>
#include <systemd/sd-event.h>

#include "config.h"
#include "../libha/ha.h"

struct xvm_corosync;

enum { XVM_LINKS_MAX = 8 }; /* of one node, as knet has it */

/* A node of corosync's nodelist. */
struct xvm_corosync_node {
    ha_node node;
    char name[HA_NAME_MAX]; /* "": the nodelist has none */
    /* Of its links, in their order; IPv4 as mapped IPv6, all zero: none. */
    struct in6_addr links[XVM_LINKS_MAX];
};

/* What cmap says, read at each connect. */
struct xvm_corosync_facts {
    ha_node self;
    struct xvm_ring_facts ring;
    struct xvm_corosync_node nodes[HA_HOSTS_MAX];
    size_t nnodes;
};

struct xvm_corosync_sink {
    /* Connected, before any event. Non-zero: do not use this connection (said why itself). */
    int (*connected)(void *user, const struct xvm_corosync_facts *facts);
    /* An attempt failed; text says why. Said once for each text. fatal: corosync has no quorum
     * provider, nothing would be safe with it. */
    void (*refused)(void *user, bool fatal, const char *text);
    /* HA_EV_JOINED, DISCONNECTED, GROUP, RING, QUORUM and MESSAGE, without their time. */
    void (*event)(void *user, struct ha_event *event);
};

/* Starts to connect. 0 or a negative errno. */
int xvm_corosync_new(sd_event *loop, const struct xvm_corosync_sink *sink, void *user,
                     struct xvm_corosync **ret_corosync);
/* Queues a message to the group (copied). Nothing is sent while disconnected: the core's messages
 * of an earlier instance are void. 0, -ENOTCONN, -ENOMEM, -EMSGSIZE. */
int xvm_corosync_send(struct xvm_corosync *corosync, const void *data, size_t len);

#endif
