/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions of Xen guests: what a start needs when the guest's xl configuration file is on
 * another host only. A JSON object of its own with libxl's domain configuration in it:
 *
 *   {"xvm-ha-definition": 1, "guest": "web", "uuid": "...", "name": "web", "type": "pvh",
 *    "memory_kib": 530432, "vcpus": 1, "hardware": false, "config": {libxl_domain_config}}
 *
 * Its bytes are the same on every host that makes it from the same file. Which definition a guest
 * is built from is decided by the cluster (daemon/supply.h has the bytes of those, by their hash).
 * Here is the libxl driver's own memory: STATE_DIR/guests/NAME.json, made last of the guest's file
 * on this host, or, where there is no such file, what the guest was last built from. By it the
 * driver knows the guest's UUID. */
#ifndef XVM_DEFINITIONS_H
#define XVM_DEFINITIONS_H

#include "../libha/types.h"

enum {
    XVM_DEFINITION_MAX = 512 * 1024, /* bytes of one definition */
};

enum xvm_domain_type {
    XVM_TYPE_PV = 1,
    XVM_TYPE_PVH,
    XVM_TYPE_HVM,
};

/* What a guest needs, from its definition. */
struct xvm_definition {
    struct ha_uuid uuid;
    char name[256]; /* in the xl configuration file: what `xl create` would call it */
    enum xvm_domain_type type;
    uint64_t memory_kib; /* in all, with what Xen needs for it beside its own memory */
    unsigned vcpus;
    bool hardware; /* holds devices of a host (PCI, USB): it cannot move while it runs */
};

struct xvm_definitions;

/* Called from within xvm_definitions_put when the bytes are new ones. `here`: made on this host
 * from the guest's file, so others may want it. Everything is borrowed for the call. */
typedef void (*xvm_definitions_changed)(void *user, const char *guest, const void *bytes,
                                        size_t len, bool here);

/* Makes STATE_DIR/guests if it is missing. 0 or a negative errno. */
int xvm_definitions_new(const char *state_dir, struct xvm_definitions **ret_definitions);
struct xvm_definitions *xvm_definitions_free(struct xvm_definitions *definitions);
/* Adds a listener; there is room for a few. 0 or -ENOSPC. */
int xvm_definitions_listen(struct xvm_definitions *definitions, xvm_definitions_changed changed,
                           void *user);
void xvm_definitions_unlisten(struct xvm_definitions *definitions, void *user);

/* Where a guest's definition is, or would be. Malloc'd; NULL: no memory, or not a guest's name. */
char *xvm_definitions_path(const struct xvm_definitions *definitions, const char *guest);
/* The bytes, malloc'd. 0, -ENOENT, or another negative errno. */
int xvm_definitions_get(const struct xvm_definitions *definitions, const char *guest,
                        void **ret_bytes, size_t *ret_len);
/* What the guest needs. 0, -ENOENT, -EBADMSG (the file is damaged), or another negative errno. */
int xvm_definitions_facts(const struct xvm_definitions *definitions, const char *guest,
                          struct xvm_definition *ret_facts);
/* Checks the bytes and replaces the guest's definition, durably and atomically. 0, or a negative
 * errno with a sentence in ret_error->text; the old one then stays. */
int xvm_definitions_put(struct xvm_definitions *definitions, const char *guest, const void *bytes,
                        size_t len, bool here, struct ha_error *ret_error);

/* Reads a definition. `guest` NULL: any guest's. 0, or -EBADMSG with a sentence in ret_error. */
int xvm_definition_parse(const void *bytes, size_t len, const char *guest,
                         struct xvm_definition *ret_facts, struct ha_error *ret_error);
/* Why a guest cannot be moved live on hosts that do, or do not, have Xen's shadow paging (PV) and
 * hardware assisted or shadow paging (PVH, HVM); NULL: it can. */
const char *xvm_definition_not_live(const struct xvm_definition *facts, bool shadow, bool hap);

#endif
