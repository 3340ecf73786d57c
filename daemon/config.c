/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads /etc/xvm-ha.yaml: the file's bytes, its top-level sections, the timers, and the order in
 * which sections that refer to each other are read. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_internal.h"

enum {
    FILE_MAX = 8 * 1024 * 1024,
    HOUR_MS = 3600 * 1000,
    DAY_MS = 24 * HOUR_MS,
    HOST_LOSSES = 3,
    CLUSTER_LOSSES = 10,
};
#define SIXTEEN_TIB ((int64_t)16 << 30)

/* ------------------------------------------------------------------------- errors, outside */

void xvm_config_errors_done(struct xvm_config_errors *errors)
{
    if (errors->n > 0)
        free((char *)errors->v[0].file); /* one copy for all of them */
    for (size_t i = 0; i < errors->n; i++)
        errors->v[i].file = NULL;
    free(errors->v);
    *errors = (struct xvm_config_errors){0};
}

void xvm_config_errors_print(const struct xvm_config_errors *errors, FILE *to)
{
    for (size_t i = 0; i < errors->n; i++) {
        const struct ha_error *e = &errors->v[i];

        fprintf(to, "%s:", e->file);
        if (e->line > 0)
            fprintf(to, "%u:%u:", e->line, e->column);
        fprintf(to, " %s%s\n", e->code == 0 ? "warning: " : "", e->text);
    }
}

static int by_place(const void *a, const void *b)
{
    const struct ha_error *ea = a, *eb = b;

    if (ea->line != eb->line)
        return ea->line < eb->line ? -1 : 1;
    if (ea->column != eb->column)
        return ea->column < eb->column ? -1 : 1;
    return strcmp(ea->text, eb->text);
}

/* ------------------------------------------------------------------------------------ file */

static int read_all(int fd, char *buf, size_t size, size_t *ret_len)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, buf + len, size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_len = len;
    return 0;
}

static int file_fail(struct xvm_loader *l, int r)
{
    xvm_config_fail(l, 0, 0, "cannot read it: %s", strerror(-r));
    return r;
}

static int read_file(struct xvm_loader *l, char **ret_data, size_t *ret_len)
{
    struct stat st;
    char *data = NULL;
    int r = 0, fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return file_fail(l, -errno);
    if (fstat(fd, &st) < 0)
        r = file_fail(l, -errno);
    else if (!S_ISREG(st.st_mode))
        r = xvm_config_fail(l, 0, 0, "not a regular file, expected a YAML file");
    else if ((data = malloc(FILE_MAX + 1)) == NULL)
        r = xvm_config_no_room(l);
    else if ((r = read_all(fd, data, FILE_MAX + 1, ret_len)) < 0)
        r = file_fail(l, r);
    else if (*ret_len > FILE_MAX)
        r = xvm_config_fail(l, 0, 0, "too large, expected at most %d MiB", FILE_MAX >> 20);
    close(fd);
    if (r < 0)
        free(data);
    else
        *ret_data = data;
    return r;
}

uint64_t xvm_config_hash(const void *text, size_t len)
{
    const unsigned char *data = text;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++) {
        hash ^= data[i];
        hash *= 0x100000001b3u;
    }
    return hash;
}

/* -------------------------------------------------------------------------------- sections */

struct top {
    const struct xvm_node *cluster, *driver, *process, *watchdog, *timers, *fencing, *fence_devices,
        *hosts, *guest_defaults, *guests, *migration, *shared_disk, *starts, *shutdown;
    struct xvm_placement_nodes placement;
};

#define PLACING(name)                                                                              \
    {                                                                                              \
        .key = #name, .read = xvm_read_node, .offset = offsetof(struct top, placement.name)        \
    }
#define TOP(name, must)                                                                            \
    {                                                                                              \
        .key = #name, .read = xvm_read_node, .offset = offsetof(struct top, name),                 \
        .required = must                                                                           \
    }
static const struct xvm_field top_fields[] = {
    TOP(cluster, true),        TOP(driver, false),    TOP(process, false),
    TOP(watchdog, false),      TOP(timers, false),    TOP(fencing, false),
    TOP(fence_devices, false), TOP(hosts, true),      TOP(guest_defaults, false),
    TOP(guests, false),        TOP(migration, false), TOP(shared_disk, false),
    TOP(starts, false),        TOP(shutdown, false),
    PLACING(rules),            PLACING(reserve),      PLACING(failback),
    PLACING(preempt),          PLACING(rebalance),
};

#define FIELD(name) offsetof(struct ha_config, name)

static void read_cluster(struct xvm_loader *l, const struct xvm_node *node)
{
    static const struct xvm_field fields[] = {
        {.key = "name", .read = xvm_read_name, .offset = FIELD(cluster_name), .required = true},
        {.key = "suspendable_hosts", .read = xvm_read_bool, .offset = FIELD(suspendable_hosts)},
    };

    if (node != NULL)
        xvm_read_map(l, node, "`cluster`", fields, 2, l->config);
}

static void read_driver(struct xvm_loader *l, const struct xvm_node *node,
                        const struct xvm_node *process)
{
    static const struct xvm_field driver = {.key = "driver", .offset = FIELD(driver)};
    static const struct xvm_field fields[] = {
        {.key = "shared_dir", .read = xvm_read_path, .offset = FIELD(shared_dir), .required = true},
        {.key = "memory",
         .read = xvm_read_size,
         .offset = FIELD(process_memory_kib),
         .min = 1024,
         .max = SIXTEEN_TIB},
    };
    struct ha_config *c = l->config;
    bool known;

    if (node != NULL)
        xvm_read_string(l, &driver, node, &c->driver);
    known =
        c->driver != NULL && (strcmp(c->driver, "libxl") == 0 || strcmp(c->driver, "process") == 0);
    if (c->driver != NULL && !known)
        xvm_config_fail_node(l, node, "`driver` is `%.80s`, expected libxl or process", c->driver);
    if (!known) {
        free(c->driver);
        c->driver = strdup("libxl");
        if (c->driver == NULL)
            xvm_config_no_room(l);
    }
    if (l->no_room)
        return;
    if (process != NULL)
        xvm_read_map(l, process, "`process`", fields, 2, c);
    if (process != NULL && strcmp(c->driver, "process") != 0)
        xvm_config_fail_node(l, process,
                             "`process` with the driver libxl, expected it only with "
                             "`driver: process`");
    if (process == NULL && c->driver != NULL && strcmp(c->driver, "process") == 0)
        xvm_config_fail_node(l, node,
                             "`driver: process` without `process`, expected `process: "
                             "{shared_dir: /a/folder, memory: 4G}`");
}

struct watchdog_raw {
    const struct xvm_node *device;
    ha_ms timeout;
};

static void read_watchdog(struct xvm_loader *l, const struct xvm_node *node)
{
    static const struct xvm_field fields[] = {
        {.key = "device", .read = xvm_read_node, .offset = offsetof(struct watchdog_raw, device)},
        {.key = "timeout",
         .read = xvm_read_duration,
         .offset = offsetof(struct watchdog_raw, timeout),
         .min = 1000,
         .max = 3600 * 1000},
    };
    static const struct xvm_field device = {.key = "device"};
    struct watchdog_raw raw = {.timeout = l->config->timers.watchdog};
    struct ha_config *c = l->config;

    if (node != NULL)
        xvm_read_map(l, node, "`watchdog`", fields, 2, &raw);
    c->timers.watchdog = raw.timeout;
    if (raw.device == NULL) {
        /* Real guests need a host that ends by itself; processes on a developer's machine do not.
         */
        if (strcmp(c->driver, "libxl") == 0 && (c->watchdog_device = strdup("xen")) == NULL)
            xvm_config_no_room(l);
        return;
    }
    if (xvm_read_string(l, &device, raw.device, &c->watchdog_device) < 0)
        return;
    if (strcmp(c->watchdog_device, "none") == 0) {
        free(c->watchdog_device);
        c->watchdog_device = NULL;
    } else if (c->watchdog_device[0] != '/' && strcmp(c->watchdog_device, "xen") != 0) {
        xvm_config_fail_node(l, raw.device,
                             "`device` is `%.80s`, expected xen, none or the "
                             "absolute path of a watchdog device",
                             c->watchdog_device);
    }
}

/* ---------------------------------------------------------------------------------- timers */

#define TIMER(name)                                                                                \
    {                                                                                              \
        .key = #name, .read = xvm_read_duration, .offset = offsetof(struct ha_timers, name),       \
        .min = 0, .max = DAY_MS                                                                    \
    }
static const struct xvm_field timer_fields[] = {
    TIMER(beat),   TIMER(pet),           TIMER(exchange), TIMER(chair),
    TIMER(settle), TIMER(startup_grace), TIMER(lease),    TIMER(margin),
    TIMER(daemon), TIMER(fence_retry),   TIMER(duel),
};

/* Without a ring to ask: what corosync does by default with that many hosts. Two hosts are nearly
 * always two_node, which is also the stricter guess. */
static void guess_ring(struct xvm_loader *l, const struct xvm_node *hosts)
{
    size_t n = hosts != NULL && hosts->kind == XVM_NODE_MAP ? hosts->nitems / 2 : 0;

    l->guessed = true;
    l->ring = (struct xvm_ring_facts){.two_node = n == 2, .wait_for_all = n == 2};
    l->ring.token_ms = 3000 + (n > 2 && n <= HA_HOSTS_MAX ? (ha_ms)(n - 2) * 650 : 0);
    l->ring.consensus_ms = l->ring.token_ms * 12 / 10;
}

static void check_timers(struct xvm_loader *l, const struct top *top, const struct xvm_node *root)
{
    const struct ha_timers *timers = &l->config->timers;
    const struct xvm_node *at = top->timers;
    struct ha_error error = {0};
    int r;

    if (at == NULL)
        at = top->watchdog != NULL ? top->watchdog : root;
    /* What no ring at all could satisfy is wrong whatever the guess. */
    if (l->guessed && ha_timers_check(timers, 1, 1, &error) < 0) {
        xvm_config_fail_node(l, at, "%s", error.text);
        return;
    }
    r = ha_timers_check(timers, l->ring.token_ms, l->ring.consensus_ms, &error);
    if (r < 0 && l->guessed)
        xvm_config_warn_node(l, at, "with corosync's default timings: %s", error.text);
    else if (r < 0)
        xvm_config_fail_node(l, at, "%s", error.text);
}

/* --------------------------------------------------------------------------------- fencing */

struct fencing_raw {
    ha_ms check, window;
    int host_losses, cluster_losses;
};

static void read_fencing(struct xvm_loader *l, const struct xvm_node *node)
{
    static const struct xvm_field fields[] = {
        {.key = "check",
         .read = xvm_read_duration,
         .offset = offsetof(struct fencing_raw, check),
         .max = 7 * DAY_MS},
        {.key = "window",
         .read = xvm_read_duration,
         .offset = offsetof(struct fencing_raw, window),
         .min = 60 * 1000,
         .max = 7 * DAY_MS},
        {.key = "host_losses",
         .read = xvm_read_int,
         .offset = offsetof(struct fencing_raw, host_losses),
         .max = 200},
        {.key = "cluster_losses",
         .read = xvm_read_int,
         .offset = offsetof(struct fencing_raw, cluster_losses),
         .max = 10000},
    };
    struct fencing_raw raw = {.check = HOUR_MS,
                              .window = HOUR_MS,
                              .host_losses = HOST_LOSSES,
                              .cluster_losses = CLUSTER_LOSSES};

    if (node != NULL)
        xvm_read_map(l, node, "`fencing`", fields, sizeof(fields) / sizeof(fields[0]), &raw);
    if (node != NULL && raw.check > 0 && raw.check < 10 * 1000)
        xvm_config_fail_node(l, node, "`check` is %lld ms, expected at least 10s, or 0 for never",
                             (long long)raw.check);
    l->config->fencing = (struct ha_fence_policy){.host_limit = (unsigned)raw.host_losses,
                                                  .cluster_limit = (unsigned)raw.cluster_losses,
                                                  .window = raw.window,
                                                  .check = raw.check};
}

/* ------------------------------------------------------------------------------- top level */

static void read_top(struct xvm_loader *l, const struct xvm_node *root, bool have_ring)
{
    struct top top = {0};
    struct ha_config *c = l->config;

    xvm_read_map(l, root, "the file", top_fields, sizeof(top_fields) / sizeof(top_fields[0]), &top);
    if (!have_ring)
        guess_ring(l, top.hosts);
    l->fence_only =
        l->ring.two_node || l->ring.qdevice || l->ring.last_man_standing || l->ring.allow_downscale;
    c->mode = l->fence_only ? HA_MODE_FENCE_ONLY : HA_MODE_MAJORITY;
    ha_timers_default(top.hosts != NULL ? (unsigned)(top.hosts->nitems / 2) : 0, l->ring.token_ms,
                      l->ring.consensus_ms, &c->timers);
    read_cluster(l, top.cluster);
    read_driver(l, top.driver, top.process);
    if (l->no_room)
        return;
    read_watchdog(l, top.watchdog);
    if (top.timers != NULL)
        xvm_read_map(l, top.timers, "`timers`", timer_fields,
                     sizeof(timer_fields) / sizeof(timer_fields[0]), &c->timers);
    check_timers(l, &top, root);
    read_fencing(l, top.fencing);
    xvm_read_disk(l, top.shared_disk);
    if (top.fence_devices != NULL)
        xvm_read_devices(l, top.fence_devices);
    if (top.hosts != NULL)
        xvm_read_hosts(l, top.hosts);
    xvm_read_migration(l, top.migration);
    xvm_read_guests(l, top.guest_defaults, top.guests);
    xvm_read_starts(l, top.starts);
    xvm_read_shutdown(l, top.shutdown);
    if (!l->no_room)
        xvm_read_placement(l, &top.placement);
}

static int parse(struct xvm_loader *l, const char *data, size_t len, bool have_ring)
{
    struct xvm_tree tree;
    int r = xvm_tree_parse(l, data, len, &tree);

    if (r == -ENOMEM)
        xvm_config_no_room(l);
    else if (r == 0 && (tree.root == NULL || xvm_node_null(tree.root)))
        xvm_config_fail(l, 1, 1, "the file is empty, expected `cluster:`, `hosts:` and `guests:`");
    else if (r == 0)
        read_top(l, tree.root, have_ring);
    xvm_tree_done(&tree);
    return l->no_room ? -ENOMEM : l->failed ? -EINVAL : 0;
}

/* Also on success: there may be warnings. */
static void finish_errors(struct xvm_loader *l, int r)
{
    struct xvm_config_errors *errors = l->errors;

    if (errors->n > 1)
        qsort(errors->v, errors->n, sizeof(*errors->v), by_place);
    if (l->hidden > 0)
        snprintf(errors->v[errors->n - 1].text, sizeof(errors->v[0].text),
                 "and %zu more: mend these first", l->hidden + 1);
    if (r < 0 && l->no_room)
        xvm_config_fail(l, 0, 0, "out of memory");
    if (errors->n == 0)
        free(l->path);
}

int xvm_config_load(const char *path, const struct xvm_ring_facts *ring,
                    struct ha_config **ret_config, struct xvm_config_errors *ret_errors)
{
    return xvm_config_load_checked(path, ring, NULL, ret_config, ret_errors);
}

int xvm_config_load_checked(const char *path, const struct xvm_ring_facts *ring,
                            const struct xvm_config_agents *agents, struct ha_config **ret_config,
                            struct xvm_config_errors *ret_errors)
{
    struct xvm_config_errors errors = {0};
    struct xvm_loader l = {.errors = &errors};
    size_t len = 0;
    char *data = NULL;
    int r = -ENOMEM;

    if (ring != NULL)
        l.ring = *ring;
    if (agents != NULL) {
        l.agents = xvm_fence_agents_new(&agents->env);
        l.agents_strict = agents->strict;
    }
    l.path = strdup(path);
    l.config = calloc(1, sizeof(*l.config));
    if (l.path != NULL && l.config != NULL && (agents == NULL || l.agents != NULL))
        r = read_file(&l, &data, &len);
    if (r == 0) {
        l.config->hash = xvm_config_hash(data, len);
        r = parse(&l, data, len, ring != NULL);
        free(data);
    }
    finish_errors(&l, r);
    free(l.metas);
    xvm_fence_agents_free(l.agents);
    *ret_errors = errors;
    if (r < 0)
        xvm_config_free(l.config);
    else
        *ret_config = l.config;
    return r;
}

/* ------------------------------------------------------------------------------------ free */

static void free_params(struct ha_param *params, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (params[i].secret && params[i].value != NULL)
            explicit_bzero(params[i].value, strlen(params[i].value));
        free(params[i].name);
        free(params[i].value);
    }
    free(params);
}

struct ha_config *xvm_config_free(struct ha_config *config)
{
    if (config == NULL)
        return NULL;
    for (size_t i = 0; i < config->ndevices; i++) {
        free(config->devices[i].agent);
        free_params(config->devices[i].params, config->devices[i].nparams);
    }
    for (size_t i = 0; i < config->nhosts; i++)
        free_params(config->hosts[i].params, config->hosts[i].nparams);
    for (size_t i = 0; i < config->nguests; i++) {
        free(config->guests[i].config_path);
        free(config->guests[i].after);
        xvm_free_probes(&config->guests[i]);
        xvm_free_guest_lists(&config->guests[i]);
    }
    xvm_free_placement(config);
    free(config->devices);
    free(config->hosts);
    free(config->guests);
    free(config->driver);
    free(config->shared_dir);
    free(config->watchdog_device);
    free(config->migration.authkey);
    free(config->disk.path);
    free(config);
    return NULL;
}
