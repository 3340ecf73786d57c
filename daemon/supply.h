/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions on their way: made here and offered to the cluster, fetched from the hosts that have them,
 * and starts that wait until theirs is here. */
#ifndef XVM_SUPPLY_H
#define XVM_SUPPLY_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"

struct xvm_supply;

struct xvm_supply_sink {
    /* A definition was made on this host, and is on its disk. */
    void (*defined)(void *user, const struct ha_definition *definition);
    /* A start that waited can go on (its definition is here), or fails: `why` not NULL. */
    void (*release)(void *user, const struct ha_action *action, const char *why);
    /* May anybody need these bytes? */
    bool (*needed)(void *user, const struct ha_uuid *hash);
    /* Bytes that were asked for are here. */
    void (*arrived)(void *user, const struct ha_uuid *hash);
};

/* Bytes that nobody needed for `keep_ms` are deleted (0: a day). 0 or a negative errno. From now on
 * the sink is called, always from the loop. */
int xvm_supply_new(sd_event *loop, const char *state_dir, ha_ms keep_ms,
                   const struct xvm_supply_sink *sink, void *user, struct xvm_supply **ret_supply);
struct xvm_supply *xvm_supply_free(struct xvm_supply *supply);

/* The driver made these bytes from the guest's configuration file. */
void xvm_supply_made(struct xvm_supply *supply, const char *guest, const void *bytes, size_t len,
                     uint64_t need_kib, uint8_t flags);
/* For drivers to which a configuration file, as it is, is the definition: reads them all. */
void xvm_supply_read_files(struct xvm_supply *supply, const struct ha_config *config);
/* HA_ACT_DEFINITION. */
void xvm_supply_want(struct xvm_supply *supply, const struct ha_uuid *hash);
/* True: the action is a start whose definition is not here yet; the sink hears of it. */
bool xvm_supply_hold(struct xvm_supply *supply, const struct ha_action *action);
/* Where that definition is on this host. Malloc'd; NULL: no memory. */
char *xvm_supply_path(const struct xvm_supply *supply, const struct ha_uuid *hash);

/* Any bytes that other hosts will ask for: 0 and their hash, -EFBIG (XVM_BLOB_MAX), or another
 * negative errno. */
int xvm_supply_keep(struct xvm_supply *supply, const void *bytes, size_t len,
                    struct ha_uuid *ret_hash);
/* Malloc'd. 0; -ENOENT: not here; or another negative errno. */
int xvm_supply_get(const struct xvm_supply *supply, const struct ha_uuid *hash, void **ret_bytes,
                   size_t *ret_len);

#endif
