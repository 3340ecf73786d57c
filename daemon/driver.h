/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor boundary: one vtable, two drivers (process; libxl has its own issue). A driver does
 * what HA_ACT_GUEST asks, without ever blocking the loop: long work happens in worker processes, and
 * the answers come through the sink, always from the loop, never from inside a call. */
#ifndef XVM_DRIVER_H
#define XVM_DRIVER_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"

struct xvm_driver;

/* Where answers go. Pointers passed to a sink function are borrowed for the call. */
struct xvm_driver_sink {
    void (*done)(void *user, uint64_t op, enum ha_result result, const char *text);
    /* Complete picture, or known=false: the query failed and says nothing. Also called unasked,
     * whenever something changed. */
    void (*inventory)(void *user, bool known, const struct ha_copy *copies, size_t n,
                      uint64_t memory_kib);
    void (*exited)(void *user, const char *guest, uint64_t inc, enum ha_exit exit);
    /* A definition was made from the guest's configuration file on this host; also when it is the
     * same as before. flags: ha_def_flags. */
    void (*made)(void *user, const char *guest, const void *bytes, size_t len, uint64_t need_kib,
                 uint8_t flags);
};

struct xvm_driver_env {
    sd_event *loop;
    const struct ha_config *config; /* borrowed; replaced by set_config */
    ha_node self;
    const char *host_name;
    const char *run_dir; /* per boot, for example /run/xvm-had */
    /* Where the definition with that hash is: malloc'd, or NULL. It is there before a start that
     * needs it. */
    char *(*definition_path)(void *user, const struct ha_uuid *hash);
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
    /* Starts the operation of an HA_ACT_GUEST action. It always ends with sink->done. */
    void (*start)(struct xvm_driver *driver, const struct ha_action *action);
    /* op 0: the transfer that a worker of an earlier daemon still does for `guest`. */
    void (*cancel)(struct xvm_driver *driver, uint64_t op, const char *guest);
    /* Asks for a fresh inventory; the answer comes through the sink. */
    void (*inventory)(struct xvm_driver *driver);
};

extern const struct xvm_driver_ops xvm_driver_process;

#endif
