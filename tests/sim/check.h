/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fifteen invariants of the design, watched over a whole world. Truth is the world's own: what
 * really runs where, when beats really arrived; and a ledger of all facts that any core held
 * stable. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "world.h"

void check_new(struct sim_world *w);
void check_free(struct sim_world *w);

/* 4, 5, 6, 8: after each step of a core. */
void check_after_step(struct sim_world *w, struct sim_host *h, enum ha_event_type event);
/* 9, 14, 15: every now and then. */
void check_now_and_then(struct sim_world *w);
/* 14: at the end of the time to recover. */
void check_end(struct sim_world *w);

/* 1, 2: a copy begins to run. */
void check_runs(struct sim_world *w, const struct sim_host *h, const struct sim_copy *copy);
/* 10: a copy that holds an image is about to run. */
void check_image(struct sim_world *w, const struct sim_host *h, const struct sim_copy *copy);
/* 11: a core asks for an operation. */
void check_op_asked(struct sim_world *w, const struct sim_host *h, const struct sim_work *work);
/* 3, 6, 7, 8, 10: an operation begins. */
void check_op_begins(struct sim_world *w, const struct sim_host *h, const struct sim_work *work);
/* 9: the watchdog is given up. */
void check_disarm(struct sim_world *w, const struct sim_host *h);
/* 9: a beat arrives. */
void check_beat(struct sim_world *w, const struct sim_host *h, const struct sim_entry *entry);
/* 12, 13: fences. */
void check_fence_requested(struct sim_world *w, const struct sim_host *h,
                           const struct sim_fence *fence);
void check_fence_launched(struct sim_world *w, const struct sim_host *h,
                          const struct sim_fence *fence);
void check_fence_effect(struct sim_world *w, const struct sim_host *target,
                        const struct sim_fence *fence);
/* Some core holds it stable that the guest has an owner. */
bool check_owned(const struct sim_world *w, int guest);

/* ---------------------------------------------------- the ledger, for check.c and check_acts.c */

struct check_hash {
    struct ha_epoch e;
    uint64_t i, hash;
    bool used;
};

struct check_owner {
    uint64_t first; /* lowest index at which it was seen stable */
    uint64_t inc;
    ha_node owner;
    struct ha_uuid boot;
};

struct check_life {
    ha_node node;
    struct ha_uuid boot;
    uint32_t loss;
    bool fencing; /* somebody held it stable that it is to be fenced */
    bool lost, dead;
    uint64_t lost_at; /* lowest index at which it was seen lost */
    uint64_t dead_at; /* lowest index at which it was seen dead */
    bool by_device;   /* a device had said off when it was confirmed */
    bool back;        /* admitted again in the same life */
};

struct check_chair {
    struct ha_epoch e;
    uint8_t host;
    uint32_t life, daemon;
};

struct check_mig {
    uint64_t id;
    int guest;
    int target, source; /* host that unpaused, that resumed; -1 */
    uint64_t live_at;   /* highest stable index at which it was seen live */
    bool live, decided;
};

struct check_created {
    uint64_t inc;
    int guest;
};

struct sim_ledger {
    struct check_hash *hashes;
    size_t nhashes, size;
    uint64_t *stable; /* hash by index; 0: none yet */
    size_t nstable;
    struct check_owner *owners[SIM_GUESTS_MAX];
    size_t nowners[SIM_GUESTS_MAX], sizeowners[SIM_GUESTS_MAX];
    struct check_life *lives;
    size_t nlives, sizelives;
    struct check_life *oks; /* a device said off */
    size_t noks, sizeoks;
    struct check_chair *chairs;
    size_t nchairs, sizechairs;
    struct check_mig *migs;
    size_t nmigs, sizemigs;
    struct check_created *created;
    size_t ncreated, sizecreated;
};

#define CHECK_PUSH(list, n, size)                                                                  \
    ((n) == (size) ? ((list) = check_grow((list), &(size), sizeof(*(list)))) : (list),             \
     &(list)[(n)++])
void *check_grow(void *list, size_t *size, size_t each);
const struct check_life *check_find_life(const struct sim_world *w, ha_node node,
                                         const struct ha_uuid *boot, uint32_t loss);
bool check_same(const struct ha_uuid *a, const struct ha_uuid *b);
/* No copy that carries an incarnation is on the host in any form. */
bool check_host_empty(const struct sim_host *h);

/* check_rules.c: what the rules say about single steps */
void check_rules_after_step(struct sim_world *w, struct sim_host *h, const struct ha_status *st,
                            enum ha_event_type event);
/* A fence said that this life is over; `device`: and it was no pill. */
bool check_device_said(const struct sim_world *w, ha_node node, const struct ha_uuid *boot,
                       uint32_t loss, bool device);
/* disk.c: in the simulator's world */
void check_09_diskless_dies(struct sim_world *w, struct sim_host *h);
void check_note_left(struct sim_world *w, struct sim_host *h, const struct sim_conf *c);
void check_05_left_is_new(struct sim_world *w, const struct sim_host *h);
void check_note_ok(struct sim_world *w, const struct sim_fence *f);
void check_note_migrations(struct sim_world *w, const struct sim_host *h, uint64_t index);
void check_03_migration_stable(struct sim_world *w, const struct sim_host *h,
                               const struct sim_work *work);
void check_07_source_sure(struct sim_world *w, const struct sim_host *h,
                          const struct sim_work *work, uint64_t mig);
void check_08_proven(struct sim_world *w, const struct sim_host *h, const struct sim_host *t,
                     const struct ha_uuid *boot, uint32_t loss);
void check_09_no_lease_after_death(struct sim_world *w, const struct sim_host *h);
void check_10_one_verdict(struct sim_world *w, const struct sim_host *h, uint64_t id, bool target);
void check_11_prepared_kept(struct sim_world *w, const struct sim_host *h,
                            const struct sim_work *work);
void check_14_open(struct sim_world *w);
/* check_places.c: 16, where guests are by stable facts; a guest that is stopped to make room */
void check_16_places(struct sim_world *w, const struct sim_host *h);
bool check_is_leaving(const struct sim_host *h, const char *guest);
/* Nobody waits for room that a less important one has. NULL: all is well. */
const char *check_16_order(const struct sim_world *w, const struct sim_host *chair);
/* check_acts.c: send time of the latest beat that more than half of the hosts received. */
sim_us check_granted(const struct sim_world *w, const struct sim_host *h);

#endif
