/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What daemon and keeper say to each other: one packet each way, orders and state. Versioned,
 * because a keeper outlives upgrades of the daemon; newer versions append. Pure. */
#ifndef XVM_KEEPER_PROTO_H
#define XVM_KEEPER_PROTO_H

#include "../libha/ha.h"
#include "../libha/keeper.h"

enum {
    XVM_KEEPER_PACKET_MAX = 8192,
    XVM_KEEPER_PATH_MAX = 1024,
};

struct xvm_keeper_state {
    ha_node self;
    struct ha_uuid boot;
    uint64_t seq_applied; /* of the orders that came by this connection; 0: none yet */
    ha_ms lease_until;
    bool armed, frozen;
    ha_ms disk_t; /* -1: none */
    struct ha_uuid disk_id;
    uint32_t disk_gen; /* 0: no lease depends on the disk */
    bool pilled;
    struct ha_peer_beat peers[HA_HOSTS_MAX];
    size_t npeers;
};

/* What the disk's process says after each good cycle. */
struct xvm_disk_word {
    ha_node self;
    struct ha_uuid boot;
    struct ha_uuid disk;
    ha_ms t; /* when the cycle began */
    bool pill;
    uint32_t loss;
    struct ha_disk_seen seen[HA_HOSTS_MAX];
    size_t nseen;
};

/* And what the keeper answers, to be written into the slot. */
struct xvm_disk_answer {
    bool bound, armed;
    ha_ms timeout_ms, watchdog_ms;
};

/* The daemon's first word: who we are, so that the keeper can answer with its state, and the
 * watchdog that the configuration names (at most XVM_KEEPER_PATH_MAX bytes with its NUL). */
size_t xvm_keeper_put_hello(unsigned char *buffer, ha_node self, const char *watchdog);
int xvm_keeper_get_hello(const unsigned char *data, size_t len, ha_node *ret_self,
                         char *ret_watchdog);
/* Length of the packet; buffer has XVM_KEEPER_PACKET_MAX bytes. */
size_t xvm_keeper_put_orders(unsigned char *buffer, ha_node self,
                             const struct ha_keeper_orders *orders);
size_t xvm_keeper_put_state(unsigned char *buffer, const struct xvm_keeper_state *state);
/* 0, or -EBADMSG. */
int xvm_keeper_get_orders(const unsigned char *data, size_t len, ha_node *ret_self,
                          struct ha_keeper_orders *ret_orders);
size_t xvm_keeper_put_word(unsigned char *buffer, const struct xvm_disk_word *word);
int xvm_keeper_get_word(const unsigned char *data, size_t len, struct xvm_disk_word *ret_word);
size_t xvm_keeper_put_answer(unsigned char *buffer, const struct xvm_disk_answer *answer);
int xvm_keeper_get_answer(const unsigned char *data, size_t len,
                          struct xvm_disk_answer *ret_answer);
int xvm_keeper_get_state(const unsigned char *data, size_t len, struct xvm_keeper_state *ret_state);

#endif
