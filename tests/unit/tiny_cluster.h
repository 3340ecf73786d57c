/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A few real cores in one process on an ideal network, for unit tests and fuzzers: messages arrive
 * at once, everywhere and in one order; disks, keepers and guests do at once what they are asked
 * to. */
#ifndef TINY_CLUSTER_H
#define TINY_CLUSTER_H

#include "../../libha/ha.h"

enum { TINY_HOSTS_MAX = 5, TINY_COPIES_MAX = 64 };

struct tiny_record {
    uint8_t *data;
    size_t len;
};

struct tiny_host {
    struct ha *core; /* NULL: its daemon is not running */
    struct ha_actions actions;
    uint64_t actions_hash; /* of all that the actions of its last step point to */
    ha_node node;
    uint32_t pid;
    uint64_t instance;
    unsigned life;
    bool joined;                 /* the others have been told of this process */
    struct tiny_record *journal; /* durable: outlives the daemon */
    size_t nrecords, records_size;
    struct ha_copy copies[TINY_COPIES_MAX];
    size_t ncopies;
    uint64_t orders_seq;
    ha_ms beat_ms; /* when its keeper was last heard; 0: never */
    unsigned reports[HA_REPORT_COUNT], replies;
    int reply_code;
    char reply_text[HA_TEXT_MAX];
    bool halted, mute; /* mute: what it sends is lost */
};

/* Something that waits to be delivered; messages have host NULL: they go to everybody. */
struct tiny_item {
    struct tiny_host *host;
    struct ha_event event; /* a message's data is owned by the item */
};

struct tiny {
    ha_ms now, keepers_due;
    struct tiny_host hosts[TINY_HOSTS_MAX];
    size_t nhosts;
    struct ha_config *config;
    uint64_t ring;
    struct tiny_item *items; /* a queue: from `first` on */
    size_t first, nitems, items_size;
    size_t longest; /* bytes of the longest message so far */
    size_t steps;
    /* Sees each message when it is sent; may be NULL. */
    void (*tap)(void *context, ha_node from, const void *data, size_t len);
    void *context;
};

/* Hosts 1 .. n, guests guest0000 …; no daemon runs yet. Whatever goes wrong inside ends the
 * process. */
struct tiny *tiny_new(size_t nhosts, size_t nguests);
struct tiny *tiny_free(struct tiny *t);
/* A configuration as tiny_new makes it, to be freed with tiny_config_free. */
struct ha_config *tiny_config(size_t nhosts, size_t nguests);
struct ha_config *tiny_config_free(struct ha_config *config);

struct tiny_host *tiny_host(struct tiny *t, ha_node node);
/* Starts a daemon from its journal, connects it. Call tiny_ring after the last one. */
void tiny_start(struct tiny *t, ha_node node);
/* Its daemon is gone, its journal stays. */
void tiny_stop(struct tiny *t, ha_node node);
/* Its journal is gone as well. */
void tiny_new_disk(struct tiny *t, ha_node node);
/* A new ring of all running daemons; quorate when they are more than half. */
void tiny_ring(struct tiny *t);
/* Starts all of them, founds the cluster, waits until every guest runs. */
void tiny_found(struct tiny *t);
/* One event for one host; what follows from it is queued. */
void tiny_step(struct tiny *t, struct tiny_host *h, struct ha_event event);
/* A message that looks as if `from` had sent it. */
void tiny_send(struct tiny *t, struct tiny_host *from, const void *data, size_t len);
/* Delivers what is queued, without any time passing. */
void tiny_settle(struct tiny *t);
void tiny_run(struct tiny *t, ha_ms ms);
/* An operator on that host; the answer is in reply_code and reply_text after tiny_run. */
void tiny_command(struct tiny *t, ha_node node, enum ha_command command, const char *guest,
                  const char *host);
/* The node that coordinates, when all running hosts agree on it and on the whole log; else 0. */
ha_node tiny_agreed(struct tiny *t);
/* How many hosts run a copy of the guest. */
unsigned tiny_running(const struct tiny *t, const char *guest);

#endif
