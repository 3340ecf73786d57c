/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor boundary: one vtable, two drivers (libxl, and process for tests). A driver does
 * what HA_ACT_GUEST asks, without ever blocking the loop: long work happens in worker processes, and
 * the answers come through the sink, always from the loop, never from inside a call. */
#ifndef XVM_DRIVER_H
#define XVM_DRIVER_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"
#include "definitions.h"

struct xvm_driver;

/* What a transfer goes through, ready to use: both hosts hold the cluster's key and mean the same
 * decision (daemon/migration.h says how that is made sure), and it is encrypted as configured. The
 * descriptors are borrowed for the call of start(); the worker inherits copies of them.
 *
 * What a driver's worker (send and receive, started with `--channel FD --progress FD`) has to do:
 *
 *  1. receiver: checks what can be checked without touching the guest (memory, configuration,
 *     disks), then writes the byte XVM_CHANNEL_READY;
 *  2. sender: waits for that byte before it does anything to the guest, then sends the image in a
 *     form of its own. That form says where the image ends: an end of file is never the end of an
 *     image, it may be a cut cable or somebody's doing. A live move suspends as late as it can;
 *  3. receiver: restores, and once the copy is complete, paused, with `inc` and `mig` on it (so
 *     that it is in the inventory, whatever happens to the worker), writes XVM_CHANNEL_COMPLETE
 *     and ends with OK. If it fails it leaves no copy; what it cannot remove is in the inventory;
 *  4. sender: ends with OK once it has read XVM_CHANNEL_COMPLETE, its copy suspended with `mig` on
 *     it. If the image cannot have become complete at the target it ends with FAILED (lets the
 *     guest run on if it can, or leaves it suspended), in any other case with UNKNOWN.
 *
 * Reads and writes block; the stream may be a TCP socket (kernel TLS or none) or a socket pair with
 * a relay behind it: read(2), write(2), poll(2) and shutdown(2) only. End of file, EPIPE, EIO and
 * ECONNRESET all mean that the other end is gone. SIGTERM asks the worker to stop at once: it
 * then ends with FAILED if the end of the image was not sent, else with UNKNOWN (the decision knows
 * what became of it). The worker ends, or calls shutdown(FD, SHUT_RDWR), only when it needs nothing
 * more from the other end.
 *
 * On the progress descriptor the worker may write lines, `round N LEFT_KIB\n`: the N-th pass over
 * the guest's memory (from 1), and how much is still to send in it (0: not known). */
enum {
    XVM_CHANNEL_READY = 'R',
    XVM_CHANNEL_COMPLETE = 'C',
};

struct xvm_channel {
    int stream;
    int progress; /* -1: nobody listens */
};

/* Where answers go. Pointers passed to a sink function are borrowed for the call. */
struct xvm_driver_sink {
    void (*done)(void *user, uint64_t op, enum ha_result result, const char *text);
    /* Complete picture, or known=false: the query failed and says nothing. Also called unasked,
     * whenever something changed. `looked`: when the look began; 0: it is how it is right now. */
    void (*inventory)(void *user, bool known, const struct ha_copy *copies, size_t n,
                      uint64_t memory_kib, ha_ms looked);
    void (*exited)(void *user, const char *guest, uint64_t inc, enum ha_exit exit);
    /* A definition was made from the guest's configuration file on this host; also when it is the
     * same as before. flags: ha_def_flags. */
    void (*made)(void *user, const char *guest, const void *bytes, size_t len, uint64_t need_kib,
                 uint8_t flags);
    /* Something that an operator should know; guest may be NULL. May be NULL. */
    void (*say)(void *user, enum ha_severity severity, const char *guest, const char *text);
};

struct xvm_driver_env {
    sd_event *loop;
    const struct ha_config *config; /* borrowed; replaced by set_config */
    ha_node self;
    const char *host_name;
    const char *run_dir; /* per boot, for example /run/xvm-had */
    const char *state_dir; /* for core dumps */
    /* Where the definition with that hash is: malloc'd, or NULL. It is there before a start that
     * needs it. */
    char *(*definition_path)(void *user, const struct ha_uuid *hash);
    struct xvm_definitions *definitions; /* borrowed; libxl only */
    const struct xvm_driver_sink *sink;
    void *user;
};

struct xvm_driver_ops {
    const char *name;
    /* A guest's configuration file, as it is, is its definition; else the driver makes them. */
    bool raw_definitions;
    /* Opens the driver; waits out (asynchronously) workers that an earlier daemon left behind before
     * the first inventory. 0 or a negative errno with ret_error filled. */
    int (*open)(const struct xvm_driver_env *env, struct xvm_driver **ret_driver,
                struct ha_error *ret_error);
    struct xvm_driver *(*free)(struct xvm_driver *driver); /* guests live on */
    void (*set_config)(struct xvm_driver *driver, const struct ha_config *config);
    /* Starts the operation of an HA_ACT_GUEST action. It always ends with sink->done. `channel`:
     * for HA_OP_SEND and HA_OP_RECEIVE, which are started only once the other end is there; else
     * NULL. */
    void (*start)(struct xvm_driver *driver, const struct ha_action *action,
                  const struct xvm_channel *channel);
    /* op 0: the transfer that a worker of an earlier daemon still does for `guest`. */
    void (*cancel)(struct xvm_driver *driver, uint64_t op, const char *guest);
    /* Asks for a fresh inventory; the answer comes through the sink. */
    void (*inventory)(struct xvm_driver *driver);
    /* Looks whether the guest could be started here: its definition, kernel, disks, networks,
     * memory. Answers once, from the loop, unless the driver is freed before. 0 or a negative
     * errno. May be NULL. */
    int (*check)(struct xvm_driver *driver, const char *guest,
                 void (*done)(void *user, const char *guest, bool fit, const char *text),
                 void *user);
};

extern const struct xvm_driver_ops xvm_driver_process;
extern const struct xvm_driver_ops xvm_driver_libxl;

#endif
