/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `hosts` section: node ids and the fence levels of each host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "config_nearest.h"

enum { DEVICES_A_LEVEL = 4, DELAY_MAX_MS = 600 * 1000 };

/* ---------------------------------------------------------------------------------- levels */

static int add_device(struct xvm_loader *l, const struct xvm_node *at, struct ha_fence_level *level)
{
    struct xvm_nearest nearest = {.wanted = at->text};
    size_t i;

    if (at->kind != XVM_NODE_SCALAR)
        return xvm_config_fail_node(l, at, "%s within a fence level, expected a fence device",
                                    xvm_node_kind_name(at));
    if (strcmp(at->text, "self") == 0)
        return xvm_config_fail_node(l, at,
                                    "`self` beside devices, expected it as a level of its "
                                    "own: [[ipmi-1, pdu-1], self]");
    for (i = 0; i < l->config->ndevices; i++) {
        if (strcmp(l->config->devices[i].name, at->text) == 0)
            break;
        xvm_nearest_try(&nearest, l->config->devices[i].name);
    }
    if (i == l->config->ndevices && nearest.best != NULL)
        return xvm_config_fail_node(l, at, "no fence device `%.80s`, expected `%s`?", at->text,
                                    nearest.best);
    if (i == l->config->ndevices)
        return xvm_config_fail_node(l, at,
                                    "no fence device `%.80s`, expected one of "
                                    "`fence_devices` or `self`",
                                    at->text);
    for (size_t k = 0; k < level->ndevices; k++) {
        if (level->devices[k] == i)
            return xvm_config_fail_node(l, at, "fence device `%s` twice in one level", at->text);
    }
    if (level->ndevices == DEVICES_A_LEVEL)
        return xvm_config_fail_node(l, at,
                                    "too many devices in one fence level, expected at most "
                                    "%d",
                                    DEVICES_A_LEVEL);
    level->devices[level->ndevices++] = i;
    return 0;
}

static int add_devices(struct xvm_loader *l, const struct xvm_node *node,
                       struct ha_fence_level *level)
{
    int r = 0;

    if (node->kind == XVM_NODE_SCALAR)
        return add_device(l, node, level);
    r = xvm_check_list(l, node, "fence level");
    if (r < 0)
        return r;
    if (node->nitems == 0)
        return xvm_config_fail_node(l, node,
                                    "a fence level without a device, expected at least "
                                    "one");
    for (size_t i = 0; i < node->nitems && i <= DEVICES_A_LEVEL; i++) {
        if (add_device(l, node->items[i], level) < 0)
            r = -EINVAL;
    }
    return r;
}

/* The bound proves a host dead only where nothing can let it come back unseen; say why it is not.
 */
static int check_self(struct xvm_loader *l, const struct xvm_node *at)
{
    if (l->config->watchdog_device == NULL)
        return xvm_config_fail_node(l, at,
                                    "`self` without a watchdog, expected `watchdog: {device: xen}` "
                                    "or another: nothing would end a host that hangs");
    if (l->config->suspendable_hosts)
        return xvm_config_fail_node(l, at,
                                    "`self` with `suspendable_hosts`, expected a fence device: a "
                                    "suspended host goes on later, its watchdog notwithstanding");
    if (l->fence_only && l->guessed)
        xvm_config_warn_node(l, at,
                             "`self` does not work with corosync's two_node, which two hosts "
                             "usually have: a fence device is needed then");
    else if (l->fence_only)
        return xvm_config_fail_node(l, at,
                                    "`self` with %s, expected a fence device: quorum there does "
                                    "not tell which side is alive",
                                    l->ring.two_node            ? "two_node"
                                    : l->ring.qdevice           ? "a qdevice"
                                    : l->ring.last_man_standing ? "last_man_standing"
                                                                : "allow_downscale");
    return 0;
}

/* A pill proves death only where a watchdog ends a host that cannot read it. */
static int check_disk(struct xvm_loader *l, const struct xvm_node *node)
{
    if (l->config->disk.path == NULL)
        return xvm_config_fail_node(l, node,
                                    "`disk` as a fence level without `shared_disk`, expected "
                                    "`shared_disk: {path: /dev/...}`");
    if (l->config->watchdog_device == NULL)
        return xvm_config_fail_node(
            l, node,
            "`disk` as a fence level and `watchdog: {device: none}`, expected a "
            "watchdog: it ends a host that cannot read its poison pill");
    if (l->config->suspendable_hosts)
        return xvm_config_fail_node(l, node,
                                    "`disk` as a fence level and `suspendable_hosts`, expected "
                                    "devices: a host that can be suspended does not end itself");
    return 0;
}

struct level_raw {
    const struct xvm_node *devices;
    ha_ms delay_ms;
};

static int read_level_map(struct xvm_loader *l, const struct xvm_node *node,
                          struct ha_fence_level *level)
{
    static const struct xvm_field fields[] = {
        {.key = "devices",
         .read = xvm_read_node,
         .offset = offsetof(struct level_raw, devices),
         .required = true},
        {.key = "delay",
         .read = xvm_read_duration,
         .offset = offsetof(struct level_raw, delay_ms),
         .max = DELAY_MAX_MS},
    };
    struct level_raw raw = {0};
    int r = xvm_read_map(l, node, "fence level", fields, 2, &raw);

    if (raw.devices != NULL && add_devices(l, raw.devices, level) < 0)
        r = -EINVAL;
    level->delay_ms = raw.delay_ms;
    return r;
}

static int read_level(struct xvm_loader *l, const struct xvm_node *node, bool last,
                      struct ha_fence_level *level)
{
    if (node->kind == XVM_NODE_SCALAR && strcmp(node->text, "self") == 0) {
        level->kind = HA_FENCE_SELF;
        if (!last)
            return xvm_config_fail_node(l, node,
                                        "`self` before another level, expected it last: "
                                        "it runs by the clock, beside the others");
        return check_self(l, node);
    }
    if (node->kind == XVM_NODE_SCALAR && strcmp(node->text, "disk") == 0) {
        level->kind = HA_FENCE_DISK;
        return check_disk(l, node);
    }
    if (node->kind == XVM_NODE_SCALAR && strcmp(node->text, "none") == 0)
        return xvm_config_fail_node(l, node,
                                    "`none` among fence levels, expected `fence: none` "
                                    "alone");
    level->kind = HA_FENCE_DEVICE;
    if (node->kind == XVM_NODE_MAP)
        return read_level_map(l, node, level);
    return add_devices(l, node, level);
}

static int add_level(struct xvm_loader *l, const struct xvm_node *node, bool last,
                     struct ha_host_config *host)
{
    struct ha_fence_level level = {0};
    int r = read_level(l, node, last, &level);

    if (r == 0)
        host->levels[host->nlevels++] = level;
    return r;
}

int xvm_read_levels(struct xvm_loader *l, const struct xvm_node *node, struct ha_host_config *host)
{
    int r = 0;

    if (node->kind == XVM_NODE_SCALAR && strcmp(node->text, "none") == 0) {
        xvm_config_warn_node(l, node,
                             "host %s has no fence device: when it is lost, its guests "
                             "stay blocked until `xvmhactl fence confirm %s`",
                             host->name, host->name);
        return 0;
    }
    if (node->kind == XVM_NODE_SCALAR && !xvm_node_null(node))
        return add_level(l, node, true, host);
    if (xvm_check_list(l, node, "`fence`") < 0)
        return -EINVAL;
    if (node->nitems == 0)
        return xvm_config_fail_node(l, node,
                                    "an empty list of fence levels, expected at least one "
                                    "level, or `fence: none`");
    if (node->nitems > HA_LEVELS_MAX)
        return xvm_config_fail_node(l, node, "%zu fence levels, expected at most %d", node->nitems,
                                    HA_LEVELS_MAX);
    for (size_t i = 0; i < node->nitems; i++) {
        if (add_level(l, node->items[i], i + 1 == node->nitems, host) < 0)
            r = -EINVAL;
    }
    return r;
}

/* ----------------------------------------------------------------------------------- hosts */

struct host_raw {
    int id;
    const struct xvm_node *fence, *options, *labels;
};

static const struct xvm_field host_fields[] = {
    {.key = "id",
     .read = xvm_read_int,
     .offset = offsetof(struct host_raw, id),
     .required = true,
     .min = 1,
     .max = INT32_MAX},
    {.key = "fence", .read = xvm_read_node, .offset = offsetof(struct host_raw, fence)},
    {.key = "options", .read = xvm_read_node, .offset = offsetof(struct host_raw, options)},
    {.key = "labels", .read = xvm_read_node, .offset = offsetof(struct host_raw, labels)},
};
enum { NFIELDS = sizeof(host_fields) / sizeof(host_fields[0]) };

static void check_id(struct xvm_loader *l, const struct xvm_node *at, size_t nth)
{
    const struct ha_host_config *hosts = l->config->hosts;

    for (size_t i = 0; i < nth; i++) {
        if (hosts[i].node == hosts[nth].node && hosts[nth].node != 0)
            xvm_config_fail_node(l, at, "host %s has id %u, expected another: it is that of %s",
                                 hosts[nth].name, hosts[nth].node, hosts[i].name);
    }
}

static void read_host(struct xvm_loader *l, const struct xvm_node *key,
                      const struct xvm_node *value, size_t nth)
{
    struct ha_host_config *host = &l->config->hosts[nth];
    struct host_raw raw = {0};
    char what[HA_NAME_MAX + 32];

    if (xvm_check_name(l, key, "host") < 0)
        return;
    strcpy(host->name, key->text);
    snprintf(what, sizeof(what), "host %s", host->name);
    if (xvm_read_map(l, value, what, host_fields, NFIELDS, &raw) < 0 && value->kind != XVM_NODE_MAP)
        return;
    host->node = (ha_node)raw.id;
    check_id(l, key, nth);
    if (raw.fence == NULL)
        xvm_config_fail_node(l, value,
                             "host %s has no `fence`, expected its fence levels, or "
                             "`fence: none`: guests of a lost host then stay blocked "
                             "until `xvmhactl fence confirm %s`",
                             host->name, host->name);
    else
        xvm_read_levels(l, raw.fence, host);
    snprintf(what, sizeof(what), "options of %s", host->name);
    if (raw.options != NULL)
        xvm_read_options(l, raw.options, what, &host->params, &host->nparams);
    xvm_check_host_options(l, key, raw.options, host);
    if (raw.labels != NULL)
        xvm_read_host_labels(l, raw.labels, nth);
}

void xvm_read_hosts(struct xvm_loader *l, const struct xvm_node *node)
{
    size_t n;

    if (node->kind == XVM_NODE_LIST) {
        xvm_config_fail_node(l, node,
                             "`hosts` is a list, expected a map: `hosts: {host1: {id: 1, "
                             "fence: [...]}, ...}`");
        return;
    }
    if (xvm_check_map(l, node, "`hosts`") < 0)
        return;
    n = node->nitems / 2;
    if (n == 0 || n > HA_HOSTS_MAX) {
        xvm_config_fail_node(l, node, "%zu hosts, expected 1 to %d", n, HA_HOSTS_MAX);
        return;
    }
    l->config->hosts = calloc(n, sizeof(*l->config->hosts));
    if (l->config->hosts == NULL) {
        xvm_config_no_room(l);
        return;
    }
    l->config->nhosts = n;
    for (size_t i = 0; i < n; i++)
        read_host(l, node->items[2 * i], node->items[2 * i + 1], i);
}
