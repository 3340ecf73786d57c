/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transport of moves, for every driver: one listener a host, one connection a transfer, and the
 * programs (xvm-ha-channel) that make it safe. A transfer gets to the driver only once the other
 * end is there and has proved that it holds the cluster's key and means the same decision.
 *
 * Source: connects to the target's address (again and again for a while: the target may be a
 * moment behind), names the migration in clear, and handshakes.
 * Target: takes connections from the cluster's hosts only, few at once, each for a short time; one
 * whose migration is not (yet) being received here is held for some seconds, then closed. Several
 * may handshake for one transfer, the first that succeeds is it; there is never a second. */
#ifndef XVM_MIGRATION_H
#define XVM_MIGRATION_H

#include <systemd/sd-event.h>

#include "channel.h"
#include "corosync.h"
#include "driver.h"

struct xvm_migration;

struct xvm_migration_env {
    sd_event *loop;
    ha_node self;
    const struct ha_config *config;         /* borrowed; replaced by set_config */
    const struct xvm_corosync_facts *facts; /* borrowed; what is in it may change */
    /* The connection stands: the driver's turn. It answers to done() itself. */
    void (*start)(void *user, const struct ha_action *action, const struct xvm_channel *channel);
    /* It did not come to that. Never called from inside a call. */
    void (*done)(void *user, uint64_t op, enum ha_result result, const char *text);
    /* At the source, about once a second; at both ends, when it has failed. Never called from
     * inside a call. */
    void (*transfer)(void *user, const struct ha_transfer *transfer);
    void *user;
};

/* Opens the listener if it can; if not, that is said in the log, tried again with each transfer,
 * and the reason why transfers fail. 0 or a negative errno. */
int xvm_migration_new(const struct xvm_migration_env *env, struct xvm_migration **ret_migration);
/* What is connected already goes on without us. */
struct xvm_migration *xvm_migration_free(struct xvm_migration *migration);
void xvm_migration_set_config(struct xvm_migration *migration, const struct ha_config *config);
/* Takes an HA_ACT_GUEST action of HA_OP_SEND or HA_OP_RECEIVE: it ends with start() or done(). */
void xvm_migration_start(struct xvm_migration *migration, const struct ha_action *action);
/* False: the driver has it. True: done() will be called. */
bool xvm_migration_cancel(struct xvm_migration *migration, uint64_t op);
/* The driver is done with it (any operation; those that are no transfers are passed over). */
void xvm_migration_ended(struct xvm_migration *migration, uint64_t op, enum ha_result result,
                         const char *text);

/* ---------------------------------------------------------------------- migration_address.c */

/* Where a host sends and receives: what the configuration says of it, else its link in the
 * configured network, else its first link. 0, or -EADDRNOTAVAIL with a sentence. */
int xvm_migration_address(const struct ha_config *config, const struct xvm_corosync_facts *facts,
                          ha_node node, struct in6_addr *ret_address, char ret_why[HA_TEXT_MAX]);
/* Text, IPv4 as such. */
void xvm_address_text(const struct in6_addr *address, char buf[HA_ADDRESS_MAX]);
/* For bind and connect; port in host order. */
socklen_t xvm_address_socket(const struct in6_addr *address, int port,
                             struct sockaddr_storage *ret_socket);
/* Before connect or listen: small buffers. What is in them when the guest is suspended has to be worked off
 * while it stands still, by a target that is as fast as the sender, or slower. 512 KiB keep 10 Gbit/s busy
 * over 0.4 ms. */
void xvm_migration_buffers(int fd);
/* Of a peer; false: not an IP address. */
bool xvm_address_of(const struct sockaddr_storage *from, struct in6_addr *ret_address);

#endif
