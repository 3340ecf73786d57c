/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards a shared disk against being written by two hosts: a SCSI-3 persistent reservation of type
 * 5 (write exclusive, registrants only), which the storage itself enforces. It is the second guard;
 * the first is that the cluster has one owner for each guest, and only an owner calls
 * xvm_guard_hold().
 *
 * The commands are given by sg_persist (sg3-utils), or by mpathpersist for a multipath map. Both
 * may hang, so nothing of this is for an event loop. Every call of them has a time limit; what was
 * cut off, makes no sense or cannot be read back is a failure, never a success. */
#ifndef XVM_DISK_GUARD_H
#define XVM_DISK_GUARD_H

#include "../libha/types.h"

enum {
    XVM_GUARD_DISKS_MAX = 32,
    XVM_GUARD_PATH_MAX = 256,
    XVM_GUARD_CALL_MS = 10 * 1000,
};

struct xvm_guard {
    uint64_t key;        /* this host's: xvm_guard_key() */
    ha_ms deadline;      /* CLOCK_BOOTTIME: what has not come to its end by then is a failure */
    ha_ms call_ms;       /* one call of a program; 0: XVM_GUARD_CALL_MS */
    /* Asked before each change of what the storage holds: why it must not be made, or NULL. May be
     * NULL. */
    const char *(*refuse)(void *user);
    void *user;
    const char *sg_persist, *mpathpersist; /* NULL: found by PATH */
    const char *sysfs;                     /* NULL: /sys */
};

enum xvm_guard_kind {
    XVM_GUARD_NONE, /* nothing that a reservation can be held on */
    XVM_GUARD_SCSI,
    XVM_GUARD_MULTIPATH,
};

/* A host's key: FNV-1a (32 bits) of the cluster's name, then the node id. The same in every life of
 * the host. */
uint64_t xvm_guard_key(const char *cluster, ha_node node);

/* What a disk is, by its path. NONE with a sentence in `why`: no block device, a part of a disk (a
 * reservation is for all of it), or not SCSI. */
enum xvm_guard_kind xvm_guard_kind(const struct xvm_guard *guard, const char *path,
                                   char why[static HA_TEXT_MAX]);
/* The same for a device number. */
enum xvm_guard_kind xvm_guard_kind_of(const struct xvm_guard *guard, unsigned major, unsigned minor,
                                      char why[static HA_TEXT_MAX]);

/* All of these: 0, or a negative errno with a sentence in `why` that names the disk. */

/* Whether the disk answers questions about reservations. Changes nothing. */
int xvm_guard_probe(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                    char why[static HA_TEXT_MAX]);
/* Registers this host, takes every other key's right to write away, and holds the reservation.
 * Only for who may let the guest run. */
int xvm_guard_hold(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                   char why[static HA_TEXT_MAX]);
/* Registers this host beside the one that holds the reservation: for the target of a move. */
int xvm_guard_join(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                   char why[static HA_TEXT_MAX]);
/* For a guest that runs here already: takes the reservation if nobody has it, and nobody's right.
 * -EBUSY: another key holds it or is registered. */
int xvm_guard_adopt(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                    char why[static HA_TEXT_MAX]);
/* Releases and unregisters; nothing happens to other keys. While another one is registered, a
 * reservation that this host holds is left to it, key and all: it will be taken over in one step,
 * and at no moment is the disk without one. */
int xvm_guard_leave(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                    char why[static HA_TEXT_MAX]);

/* ------------------------------------------------------------------- what a host has guarded */

/* In a guest's directory on its host: the disks on which this host's key may be registered because
 * of it. Written before the first of them is. */
#define XVM_GUARD_FILE "guard"
#define XVM_GUARD_LEFT "guard.left" /* the copy is gone: to be unregistered */
#define XVM_GUARD_LOCK "guard.lock" /* held by who changes reservations for that guest */

struct xvm_guard_record {
    uint64_t key, inc;
    bool adopted; /* nobody was to be preempted for it */
    size_t n;
    char disks[XVM_GUARD_DISKS_MAX][XVM_GUARD_PATH_MAX];
};

/* 0, -ENOENT, -EBADMSG or another negative errno. */
int xvm_guard_read(int dir, const char *file, struct xvm_guard_record *ret_record);
int xvm_guard_write(int dir, const struct xvm_guard_record *record);
/* -ENAMETOOLONG, -ENOSPC, or -EINVAL for a path that cannot be written down. */
int xvm_guard_add(struct xvm_guard_record *record, const char *path);

#endif
