/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is on the shared disk. Pure.
 *
 * Blocks of 4096 bytes, little endian, each with a magic, a version, the disk's identity and a
 * CRC-32C in its last four bytes: block 0                      the header: whose disk it is, which
 * host has which slot blocks 1 .. n                a slot for each host: its heartbeat, written by
 * its xvm-ha-disk only blocks n+1 .. 2n             a block for each host: the pills it has
 * written, by its agent only So every block has one writer, and nobody's write can undo another's.
 */
#ifndef XVM_DISK_FORMAT_H
#define XVM_DISK_FORMAT_H

#include "../libha/types.h"

enum {
    XVM_DISK_BLOCK = 4096,
    XVM_DISK_SLOTS_MAX = HA_HOSTS_MAX,
    XVM_DISK_BLOCKS_MAX = 1 + 2 * XVM_DISK_SLOTS_MAX,
};

struct xvm_disk_header {
    struct ha_uuid disk; /* made anew by each init */
    char cluster[HA_NAME_MAX];
    uint32_t nslots;
    ha_node nodes[XVM_DISK_SLOTS_MAX]; /* 0: free */
};

/* A host's heartbeat. node 0: never written. */
struct xvm_disk_slot {
    ha_node node;
    struct ha_uuid boot;
    struct ha_uuid writer; /* random, of that process */
    uint64_t seq;
    uint64_t wall_s;   /* time of day, for people */
    bool bound;        /* its keeper gives no lease without the disk */
    bool armed;        /* and has a watchdog armed */
    ha_ms timeout_ms;  /* D */
    ha_ms watchdog_ms; /* W */
};

enum xvm_pill_kind {
    XVM_PILL_NONE = 0,
    XVM_PILL_CLAIM, /* somebody is about to write a pill: two hosts see each other's claim, and wait
                     */
    XVM_PILL_DEATH, /* whoever reads this about its own life ends */
};

struct xvm_pill {
    enum xvm_pill_kind kind;
    ha_node node;
    struct ha_uuid boot;
    uint32_t loss;
    uint64_t nonce;
};

struct xvm_disk_pills {
    ha_node node; /* the writer */
    struct ha_uuid boot;
    struct xvm_pill pills[XVM_DISK_SLOTS_MAX]; /* by the slot of whom it is for */
};

/* Each fills a whole block. */
void xvm_disk_put_header(unsigned char *block, const struct xvm_disk_header *header);
void xvm_disk_put_slot(unsigned char *block, const struct ha_uuid *disk,
                       const struct xvm_disk_slot *slot);
void xvm_disk_put_pills(unsigned char *block, const struct ha_uuid *disk,
                        const struct xvm_disk_pills *pills);
/* 0; -ENOMSG: not ours at all; -EBADMSG: ours once, and damaged or torn; -ENOTSUP: a newer version;
 * -ESTALE: of another disk (slots, pills). */
int xvm_disk_get_header(const unsigned char *block, struct xvm_disk_header *ret_header);
int xvm_disk_get_slot(const unsigned char *block, const struct ha_uuid *disk,
                      struct xvm_disk_slot *ret_slot);
int xvm_disk_get_pills(const unsigned char *block, const struct ha_uuid *disk,
                       struct xvm_disk_pills *ret_pills);
/* The host's slot, or -1. */
int xvm_disk_slot_of(const struct xvm_disk_header *header, ha_node node);
size_t xvm_disk_size(const struct xvm_disk_header *header);

/* All of a disk, read at once and found good: nothing of it is garbage. */
struct xvm_disk_view {
    struct xvm_disk_header header;
    struct xvm_disk_slot slots[XVM_DISK_SLOTS_MAX];
    struct xvm_disk_pills pills[XVM_DISK_SLOTS_MAX];
};

/* 0 or as above; ret_why (HA_TEXT_MAX bytes) says which block. `size`: bytes at data. */
int xvm_disk_get_view(const unsigned char *data, size_t size, struct xvm_disk_view *ret_view,
                      char *ret_why);
/* The pill of that kind or a stronger one for (node, boot) with the highest loss; NULL: none.
 * *ret_by: the slot of its writer. `from`: only of that slot; -1: of any. */
const struct xvm_pill *xvm_disk_pill_for(const struct xvm_disk_view *view, ha_node node,
                                         const struct ha_uuid *boot, enum xvm_pill_kind kind,
                                         int from);

#endif
