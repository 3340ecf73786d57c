/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `migration` section: between which addresses, how well protected and how fast guests' memory
 * travels; and a guest's `move`: how it is moved, and what follows a move that failed. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../libha/ha.h"
#include "channel.h"
#include "config_internal.h"
#include "config_nearest.h"

#define COROSYNC_AUTHKEY "/etc/corosync/authkey"

enum {
    PORT = 7443,
    HOUR_MS = 3600 * 1000,
    BANDWIDTH_MIN_KIB = 64,
};

/* What the section's table fills in. */
struct section {
    struct ha_migration_config config;
    const struct xvm_node *address, *encryption;
};

/* --------------------------------------------------------------------------------- addresses */

static bool is_address(const char *text)
{
    unsigned char buf[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, buf) == 1 || inet_pton(AF_INET6, text, buf) == 1;
}

static int read_network(struct xvm_loader *l, const struct xvm_node *v)
{
    struct ha_migration_config *m = &l->config->migration;
    char text[HA_ADDRESS_MAX];
    const char *slash = strchr(v->text, '/');
    unsigned bits = 0;
    int end = 0;

    if (slash != NULL && (size_t)(slash - v->text) < sizeof(text) &&
        sscanf(slash, "/%3u%n", &bits, &end) == 1 && slash[end] == '\0') {
        snprintf(text, sizeof(text), "%.*s", (int)(slash - v->text), v->text);
        if (is_address(text) && bits <= (strchr(text, ':') != NULL ? 128 : 32)) {
            strcpy(m->network, text);
            m->network_bits = bits;
            return 0;
        }
    }
    return xvm_config_fail_node(l, v,
                                "`address` is `%.80s`, expected a network such as 10.1.0.0/24, in "
                                "which corosync has a link on every host, or a map with an address "
                                "for each host: {host1: 10.1.0.1, ...}",
                                v->text);
}

static struct ha_host_config *find_host(struct xvm_loader *l, const struct xvm_node *key)
{
    struct xvm_nearest nearest = {.wanted = key->text};

    for (size_t i = 0; i < l->config->nhosts; i++) {
        if (strcmp(l->config->hosts[i].name, key->text) == 0)
            return &l->config->hosts[i];
        xvm_nearest_try(&nearest, l->config->hosts[i].name);
    }
    xvm_config_fail_node(l, key, "no host `%.80s`, expected %s%s%s", key->text,
                         nearest.best != NULL ? "`" : "one of `hosts`",
                         nearest.best != NULL ? nearest.best : "",
                         nearest.best != NULL ? "`?" : "");
    return NULL;
}

static void read_addresses(struct xvm_loader *l, const struct xvm_node *v)
{
    if (xvm_check_map(l, v, "`address`") < 0)
        return;
    for (size_t i = 0; i + 1 < v->nitems; i += 2) {
        const struct xvm_node *value = v->items[i + 1];
        struct ha_host_config *host = find_host(l, v->items[i]);

        if (host == NULL)
            continue;
        if (value->kind != XVM_NODE_SCALAR || !is_address(value->text) ||
            strlen(value->text) >= sizeof(host->migration_address))
            xvm_config_fail_node(l, value, "address of host %s: expected an IPv4 or IPv6 address",
                                 host->name);
        else
            strcpy(host->migration_address, value->text);
    }
    for (size_t i = 0; i < l->config->nhosts; i++) {
        const struct ha_host_config *host = &l->config->hosts[i];

        if (host->name[0] != '\0' && host->migration_address[0] == '\0' && !l->failed)
            xvm_config_fail_node(l, v, "`address` has none for host %s, expected one for each host",
                                 host->name);
    }
}

/* ----------------------------------------------------------------------------------- section */

static void read_encryption(struct xvm_loader *l, const struct xvm_node *v)
{
    static const struct xvm_field field = {.key = "encryption"};
    struct ha_migration_config *m = &l->config->migration;
    char *text = NULL;

    if (xvm_read_string(l, &field, v, &text) < 0)
        return;
    m->encrypted = strcmp(text, "off") != 0;
    if (m->encrypted && strcmp(text, "tls") != 0)
        xvm_config_fail_node(l, v, "`encryption` is `%.80s`, expected tls or off", text);
    free(text);
}

/* A warning only: the file may be checked on another machine, and everything but moves with memory
 * works without a key. The move itself is refused. */
static void check_key(struct xvm_loader *l, const struct xvm_node *at)
{
    char why[HA_TEXT_MAX];

    if (at != NULL && l->config->migration.encrypted &&
        xvm_authkey_check(l->config->migration.authkey, why, sizeof(why)) < 0)
        xvm_config_warn_node(l, at, "%s", why);
}

#define FIELD(name) offsetof(struct section, name)

void xvm_read_migration(struct xvm_loader *l, const struct xvm_node *node)
{
    static const struct xvm_field fields[] = {
        {.key = "port", .read = xvm_read_int, .offset = FIELD(config.port), .min = 1, .max = 65535},
        {.key = "key", .read = xvm_read_path, .offset = FIELD(config.authkey)},
        {.key = "bandwidth",
         .read = xvm_read_size,
         .offset = FIELD(config.bandwidth_kib),
         .min = BANDWIDTH_MIN_KIB,
         .max = (int64_t)1 << 30},
        {.key = "time_limit",
         .read = xvm_read_duration,
         .offset = FIELD(config.time_limit_ms),
         .min = 1000,
         .max = 24 * HOUR_MS},
        {.key = "address", .read = xvm_read_node, .offset = FIELD(address)},
        {.key = "encryption", .read = xvm_read_node, .offset = FIELD(encryption)},
    };
    struct section all = {.config = {.encrypted = true, .port = PORT, .time_limit_ms = HOUR_MS}};

    if (node != NULL)
        xvm_read_map(l, node, "`migration`", fields, sizeof(fields) / sizeof(fields[0]), &all);
    if (all.config.authkey == NULL && (all.config.authkey = strdup(COROSYNC_AUTHKEY)) == NULL)
        xvm_config_no_room(l);
    l->config->migration = all.config;
    if (l->no_room)
        return;
    if (all.address != NULL && all.address->kind == XVM_NODE_SCALAR)
        read_network(l, all.address);
    else if (all.address != NULL)
        read_addresses(l, all.address);
    if (all.encryption != NULL)
        read_encryption(l, all.encryption);
    check_key(l, node);
}

/* -------------------------------------------------------------------------------------- move */

struct move_raw {
    const struct xvm_node *type, *fallback;
};

int xvm_read_move(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out)
{
    static const char *const types[] = {"live", "migrate", "normal", NULL};
    static const char *const fallbacks[] = {"none", "normal", NULL};
    static const struct xvm_field fields[] = {
        {.key = "type", .read = xvm_read_node, .offset = offsetof(struct move_raw, type)},
        {.key = "fallback", .read = xvm_read_node, .offset = offsetof(struct move_raw, fallback)},
    };
    static const char type_words[] = "live, migrate or normal";
    struct ha_guest_config *guest = out;
    struct move_raw raw = {0};
    uint8_t type = 0;
    int r = 0;

    if (v->kind == XVM_NODE_SCALAR && !xvm_node_null(v))
        raw.type = v; /* `move: live` */
    else
        r = xvm_read_map(l, v, f->key, fields, 2, &raw);
    if (r == 0 && raw.type != NULL) {
        r = xvm_read_word(l, "type", raw.type, types, type_words, &type);
        guest->move_type = (uint8_t)(HA_MOVE_LIVE + type);
    }
    if (r == 0 && raw.fallback != NULL)
        r = xvm_read_word(l, "fallback", raw.fallback, fallbacks, "none or normal",
                      &guest->move_fallback);
    return r;
}
