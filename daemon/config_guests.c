/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `guests` section and `guest_defaults`, which have the same keys but `config` and
 * `start_after`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "config_nearest.h"

enum { DAY_MS = 24 * 3600 * 1000 };
#define SIXTEEN_TIB ((int64_t)16 << 30)

ha_node xvm_host_by_name(struct xvm_loader *l, const struct xvm_node *at)
{
    struct xvm_nearest nearest = {.wanted = at->text};

    for (size_t i = 0; i < l->config->nhosts; i++) {
        if (strcmp(l->config->hosts[i].name, at->text) == 0)
            return l->config->hosts[i].node;
        xvm_nearest_try(&nearest, l->config->hosts[i].name);
    }
    if (nearest.best != NULL)
        xvm_config_fail_node(l, at, "no host `%.80s`, expected `%s`?", at->text, nearest.best);
    else
        xvm_config_fail_node(l, at, "no host `%.80s`, expected one of `hosts`", at->text);
    return 0;
}

static int allow_host(struct xvm_loader *l, const struct xvm_node *at,
                      struct ha_guest_config *guest)
{
    ha_node node;

    if (at->kind != XVM_NODE_SCALAR)
        return xvm_config_fail_node(l, at, "%s in `hosts`, expected a host's name",
                                    xvm_node_kind_name(at));
    node = xvm_host_by_name(l, at);
    if (node == 0)
        return -EINVAL;
    for (size_t i = 0; i < guest->nallowed; i++) {
        if (guest->allowed[i] == node)
            return xvm_config_fail_node(l, at, "host `%s` twice in `hosts`", at->text);
    }
    if (guest->nallowed == HA_HOSTS_MAX)
        return xvm_config_fail_node(l, at, "too many hosts, expected at most %d", HA_HOSTS_MAX);
    guest->allowed[guest->nallowed++] = node;
    return 0;
}

static int read_allowed(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                        void *out)
{
    struct ha_guest_config *guest = out;
    int r = 0;

    guest->nallowed = 0;
    if (v->kind == XVM_NODE_SCALAR && !xvm_node_null(v)) {
        /* `hosts: all` undoes a narrower default. */
        return strcmp(v->text, "all") == 0 ? 0 : allow_host(l, v, guest);
    }
    if (xvm_check_list(l, v, f->key) < 0)
        return -EINVAL;
    if (v->nitems == 0)
        return xvm_config_fail_node(l, v,
                                    "`hosts` is empty, expected at least one host, or no "
                                    "`hosts` for all of them");
    for (size_t i = 0; i < v->nitems; i++) {
        if (allow_host(l, v->items[i], guest) < 0)
            r = -EINVAL;
        if (i >= HA_HOSTS_MAX)
            break;
    }
    return r;
}

#define FIELD(name) offsetof(struct ha_guest_config, name)

static int read_restart(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                        void *out)
{
    static const struct xvm_field fields[] = {
        {.key = "limit", .read = xvm_read_int, .offset = FIELD(restart_limit), .max = 1000},
        {.key = "window",
         .read = xvm_read_duration,
         .offset = FIELD(restart_window_ms),
         .min = 1000,
         .max = DAY_MS},
        {.key = "delay",
         .read = xvm_read_duration,
         .offset = FIELD(restart_delay_ms),
         .max = 3600 * 1000},
        {.key = "per_host", .read = xvm_read_int, .offset = FIELD(restart_per_host), .max = 1000},
    };

    return xvm_read_map(l, v, f->key, fields, 4, out);
}

static int read_managed(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                        void *out)
{
    struct ha_guest_config *guest = out;

    if (v->kind != XVM_NODE_SCALAR ||
        (strcmp(v->text, "cluster") != 0 && strcmp(v->text, "external") != 0))
        return xvm_config_fail_node(l, v, "`%s` is not understood, expected cluster or external",
                                    f->key);
    guest->external = strcmp(v->text, "external") == 0;
    return 0;
}

static int read_guard(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                      void *out)
{
    struct ha_guest_config *guest = out;

    if (v->kind != XVM_NODE_SCALAR ||
        (strcmp(v->text, "none") != 0 && strcmp(v->text, "scsi") != 0))
        return xvm_config_fail_node(l, v, "`%s` is not understood, expected none or scsi", f->key);
    guest->disk_guard = strcmp(v->text, "scsi") == 0 ? HA_GUARD_SCSI : HA_GUARD_NONE;
    return 0;
}

/* These two first: defaults have all but them. */
static const struct xvm_field guest_fields[] = {
    {.key = "config", .read = xvm_read_path, .offset = FIELD(config_path)},
    {.key = "start_after", .read = xvm_read_after},
    {.key = "memory",
     .read = xvm_read_size,
     .offset = FIELD(memory_kib),
     .min = 1,
     .max = SIXTEEN_TIB},
    {.key = "vcpus", .read = xvm_read_int, .offset = FIELD(vcpus), .min = 1, .max = 4096},
    {.key = "priority", .read = xvm_read_int, .offset = FIELD(priority), .max = 1000},
    {.key = "enabled", .read = xvm_read_bool, .offset = FIELD(enabled)},
    {.key = "hosts", .read = read_allowed},
    {.key = "stop_timeout",
     .read = xvm_read_duration,
     .offset = FIELD(stop_timeout_ms),
     .min = 1000,
     .max = DAY_MS},
    {.key = "restart", .read = read_restart},
    {.key = "move", .read = xvm_read_move},
    {.key = "labels", .read = xvm_read_guest_labels},
    {.key = "needs", .read = xvm_read_needs},
    {.key = "prefer", .read = xvm_read_prefer},
    {.key = "managed", .read = read_managed},
    {.key = "disk_guard", .read = read_guard},
    {.key = "probes", .read = xvm_read_probes},
    {.key = "on_reboot", .read = xvm_read_on_end, .offset = FIELD(on_reboot), .max = HA_ON_STOP},
    {.key = "on_poweroff",
     .read = xvm_read_on_end,
     .offset = FIELD(on_poweroff),
     .max = HA_ON_STOP},
    {.key = "on_crash",
     .read = xvm_read_on_end,
     .offset = FIELD(on_crash),
     .max = HA_ON_DUMP_STOP},
    {.key = "start_wait",
     .read = xvm_read_duration,
     .offset = FIELD(start_wait_ms),
     .max = DAY_MS},
};
enum { NFIELDS = sizeof(guest_fields) / sizeof(guest_fields[0]) };

static bool has_key(const struct xvm_node *map, const char *key)
{
    for (size_t i = 0; i + 1 < map->nitems; i += 2)
        if (strcmp(map->items[i]->text, key) == 0)
            return true;
    return false;
}

static void read_guest(struct xvm_loader *l, const struct xvm_node *key,
                       const struct xvm_node *value, const struct ha_guest_config *defaults,
                       struct ha_guest_config *guest)
{
    char what[HA_NAME_MAX + 32];

    *guest = *defaults;
    guest->probes = NULL; /* its own, or a copy */
    if (xvm_copy_guest_lists(l, guest) < 0 || xvm_check_name(l, key, "guest") < 0)
        return;
    strcpy(guest->name, key->text);
    snprintf(what, sizeof(what), "guest %s", guest->name);
    if (xvm_read_map(l, value, what, guest_fields, NFIELDS, guest) < 0)
        return;
    if (!has_key(value, "probes"))
        xvm_copy_probes(l, defaults, guest);
    if (guest->memory_kib == 0 && strcmp(l->config->driver, "libxl") != 0)
        xvm_config_fail_node(l, value,
                             "guest %s has no `memory`, expected a size: the hosts' memory is "
                             "planned by it, and only with the driver libxl its definition can tell",
                             guest->name);
    if (guest->disk_guard != HA_GUARD_NONE && strcmp(l->config->driver, "libxl") != 0)
        xvm_config_fail_node(l, value,
                             "guest %s has `disk_guard: scsi`, expected none: only the driver "
                             "libxl knows its disks",
                             guest->name);
    if (guest->config_path == NULL && strcmp(l->config->driver, "libxl") == 0)
        xvm_config_fail_node(l, value,
                             "guest %s has no `config`, expected the path of its xl "
                             "configuration",
                             guest->name);
}

static void read_all(struct xvm_loader *l, const struct xvm_node *node,
                     const struct ha_guest_config *base)
{
    size_t n = node->nitems / 2;

    if (n > HA_GUESTS_MAX) {
        xvm_config_fail_node(l, node, "%zu guests, expected at most %d", n, HA_GUESTS_MAX);
        return;
    }
    l->config->guests = calloc(n + 1, sizeof(*l->config->guests));
    if (l->config->guests == NULL) {
        xvm_config_no_room(l);
        return;
    }
    l->config->nguests = n;
    for (size_t i = 0; i < n; i++)
        read_guest(l, node->items[2 * i], node->items[2 * i + 1], base, &l->config->guests[i]);
    xvm_check_order(l, node);
}

void xvm_read_guests(struct xvm_loader *l, const struct xvm_node *defaults,
                     const struct xvm_node *node)
{
    struct ha_guest_config base = {
        .priority = 100,
        .vcpus = 1,
        .enabled = true,
        .stop_timeout_ms = 600 * 1000,
        .restart_limit = 3,
        .restart_window_ms = 600 * 1000,
        .restart_delay_ms = 5 * 1000,
        .restart_per_host = 2,
        .start_wait_ms = 600 * 1000,
    };

    if (defaults != NULL)
        xvm_read_map(l, defaults, "`guest_defaults`", guest_fields + 2, NFIELDS - 2, &base);
    if (node != NULL && xvm_check_map(l, node, "`guests`") == 0)
        read_all(l, node, &base);
    xvm_free_probes(&base);
    xvm_free_guest_lists(&base);
}
