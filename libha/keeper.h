/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's core: beats, echoes, the lease, when to pet the watchdog (PROTOCOL.md, LEASE,
 * KEEPER, rules 17-20 and the cut of rule 21). As pure as ha.h: events in, actions out; the keeper
 * process and the simulator drive it alike. Fixed memory: after ha_keeper_init nothing is
 * allocated. */
#ifndef HA_KEEPER_H
#define HA_KEEPER_H

#include "guard.h"
#include "ha.h"
#include "types.h"

enum { HA_BEAT_MAX = 4096 }; /* bytes of one encoded beat */

struct ha_keeper_peer {
    ha_node node; /* 0: free slot */
    struct ha_uuid boot;
    ha_ms sent;     /* its clock: latest beat of this boot we have seen (this is what we echo) */
    ha_ms received; /* our clock: when that was; 0: never */
    ha_ms echoed;   /* our clock: latest own beat it has echoed to this boot of ours; -1: none */
    bool armed;
    uint32_t tbl;
    ha_ms lease_ms, watchdog_ms;
    ha_ms disk_ms; /* our clock: when its slot on the disk last changed; 0: never */
    struct ha_uuid disk_boot;
};

/* Public so that it can live in static, locked memory; treat as private. */
struct ha_keeper {
    enum ha_mutant mutant;
    ha_node self;
    struct ha_uuid boot;
    bool ordered; /* has orders from a daemon of this boot: without, mute and pets nothing (rule 19)
                   */
    struct ha_keeper_orders orders;
    struct ha_keeper_peer peers[HA_HOSTS_MAX];
    ha_ms last_beat;  /* when we last sent one */
    ha_ms own_latest; /* send time of the latest own beat that was delivered to us; -1: none */
    ha_ms next_pet;
    struct ha_ring ring; /* that beats are delivered in; seq 0: none */
    bool in_group;
    bool device;   /* there is a watchdog device and it is armed */
    bool disarmed; /* magic close written */
    bool beat_due;
    ha_ms since;     /* own beats sent at or after this carry the present tbl, N, X and W */
    ha_ms floor;     /* end of the lease that beats before `since` were granted */
    ha_ms quorate_t; /* FO: latest own beat delivered while quorate; -1: none */
    ha_ms next_arm, next_disarm;
    ha_ms now; /* of the last step */
    /* the shared disk; see ha_disk_bound() */
    enum ha_disk_order disk; /* KEEP: never told, so no lease */
    uint32_t disk_gen;
    ha_ms disk_ms;             /* D */
    struct ha_uuid disk_id;    /* the disk that counts, with ON */
    struct ha_uuid disk_heard; /* the one of the latest cycle */
    ha_ms disk_t;              /* start of the latest good cycle; -1: none */
    ha_ms disk_floor;          /* end of the lease from before the disk was needed */
    uint32_t pill_void;
    bool pilled;
};

/* What a keeper that is started again in the same boot has to know of its earlier life. Kept by the
 * shell in /run, written after each step. */
struct ha_keeper_memory {
    struct ha_uuid boot;
    ha_ms since;
    ha_ms lease;
    struct ha_keeper_orders orders; /* its disk part: what is in force */
    bool pilled;
};

/* Another host's slot as the disk's process saw it. */
struct ha_disk_seen {
    ha_node node;
    struct ha_uuid boot;
    ha_ms changed_ms; /* our clock: when it was last found changed; 0: never */
};

enum ha_keeper_event_type {
    HA_KEV_TICK,
    HA_KEV_RING,   /* another ring: a beat at once */
    HA_KEV_GROUP,  /* a keeper came or went: a beat at once */
    HA_KEV_BEAT,   /* a beat was delivered (own ones too) */
    HA_KEV_ORDERS, /* the daemon's orders */
    HA_KEV_DEVICE, /* the watchdog device could be armed (armed=true) or not. Arm it when a result
                      says `arm`, never before: opening a device pets it */
    HA_KEV_DISK,   /* the disk's process has done a good cycle: own slot written, all slots read */
    HA_KEV_DISCONNECTED, /* corosync gone: beats cannot be sent; the lease runs out by itself */
};

struct ha_keeper_event {
    enum ha_keeper_event_type type;
    ha_ms now;
    union {
        struct {
            ha_node from;
            const void *data;
            size_t len;
        } beat;
        const struct ha_keeper_orders *orders;
        struct ha_ring ring;
        bool armed;
        struct {
            ha_ms t;             /* when the cycle began */
            struct ha_uuid disk; /* identity of the disk */
            bool pill;           /* somebody's slot holds a poison pill for this life */
            uint32_t loss;       /* the loss it is for; of several pills the latest */
            const struct ha_disk_seen *seen;
            size_t nseen;
        } disk;
    } u;
};

/* What to do after a step. */
struct ha_keeper_result {
    bool send; /* multicast `beat` */
    unsigned char beat[HA_BEAT_MAX];
    size_t beat_len;
    bool pet;     /* pet the watchdog now */
    bool disarm;  /* write the magic close: empty and ordered to, or frozen. If it cannot be written:
                     HA_KEV_DEVICE, armed, and it is petted on and tried again */
    bool die;     /* a poison pill: have the watchdog reset this host as soon as it can */
    bool arm;     /* (re)arm: there is no armed device and orders want one */
    bool changed; /* tell the daemon (HA_EV_KEEPER) */
};

void ha_keeper_init(struct ha_keeper *k, ha_node self, const struct ha_uuid *boot,
                    enum ha_mutant mutant);
/* After init: goes on from an earlier life in this boot. memory NULL, or of another boot: nothing
 * is known of it, so echoes of beats sent before `now` grant nothing. Without this call they count
 * by the first orders (right only if those never changed). */
void ha_keeper_restore(struct ha_keeper *k, const struct ha_keeper_memory *memory, ha_ms now);
void ha_keeper_remember(const struct ha_keeper *k, struct ha_keeper_memory *ret_memory);
/* Takes one event. Bad or foreign bytes in a beat are ignored. ret_result is filled completely. */
void ha_keeper_step(struct ha_keeper *k, const struct ha_keeper_event *event,
                    struct ha_keeper_result *ret_result);
/* End of the lease: it holds while now < this. INT64_MIN: none. Rule 17. */
ha_ms ha_keeper_lease(const struct ha_keeper *k);
/* Whether the watchdog may be petted (or armed) at `now`: asked again right before each write. */
bool ha_keeper_may_pet(const struct ha_keeper *k, ha_ms now);
/* Whether the lease rests on beats with the present W: only then may a device take a longer W. */
bool ha_keeper_settled(const struct ha_keeper *k);
/* When the keeper wants HA_KEV_TICK at the latest. */
ha_ms ha_keeper_deadline(const struct ha_keeper *k);
/* Fills the keeper part of an HA_EV_KEEPER event; peers must have room for HA_HOSTS_MAX. */
void ha_keeper_state(const struct ha_keeper *k, struct ha_event *ret_event,
                     struct ha_peer_beat *ret_peers);

#endif
