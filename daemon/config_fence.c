/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `fence_devices` section: agents, what they are told, and secrets that stay in files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_internal.h"

enum {
    PARAMS_MAX = 64,
    SECRET_MAX = 4096,
    HOUR_MS = 3600 * 1000,
    DELAY_MAX_MS = 600 * 1000,
};

/* --------------------------------------------------------------------------------- options */

/* Names that agents use for what nobody should read over a shoulder. */
static bool names_a_secret(const char *name)
{
    static const char *const secrets[] = {
        "password", "passwd", "snmp_priv_passwd", "secret", "token", "snmp_auth_passwd", "api_key"};

    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        if (strcmp(name, secrets[i]) == 0)
            return true;
    }
    return false;
}

/* The agent's standard input is made of name=value lines. */
static int check_param_name(struct xvm_loader *l, const struct xvm_node *key)
{
    if (key->text[0] == '\0' || strpbrk(key->text, "=# \t\r\n") != NULL)
        return xvm_config_fail_node(l, key,
                                    "option `%.80s`, expected a name without blanks, = "
                                    "and #",
                                    key->text);
    if (strcmp(key->text, "action") == 0 || strcmp(key->text, "option") == 0)
        return xvm_config_fail_node(l, key,
                                    "option `%s` is set by xvm-had itself, expected it to "
                                    "be left out",
                                    key->text);
    return 0;
}

static struct ha_param *param_add(struct xvm_loader *l, const struct xvm_node *key,
                                  struct ha_param **params, size_t *nparams)
{
    struct ha_param *grown;
    char *name;

    for (size_t i = 0; i < *nparams; i++) {
        if (strcmp((*params)[i].name, key->text) == 0) {
            xvm_config_fail_node(l, key, "`%.80s` in options and in secrets, expected it once",
                                 key->text);
            return NULL;
        }
    }
    if (*nparams >= PARAMS_MAX) {
        xvm_config_fail_node(l, key, "too many options, expected at most %d", PARAMS_MAX);
        return NULL;
    }
    grown = reallocarray(*params, *nparams + 1, sizeof(*grown));
    if (grown != NULL)
        *params = grown;
    name = strdup(key->text);
    if (grown == NULL || name == NULL) {
        free(name);
        xvm_config_no_room(l);
        return NULL;
    }
    grown[*nparams] = (struct ha_param){.name = name};
    return &grown[(*nparams)++];
}

int xvm_read_options(struct xvm_loader *l, const struct xvm_node *node, const char *owner,
                     struct ha_param **params, size_t *nparams)
{
    struct xvm_field f = {.key = ""};
    struct ha_param *p;
    int r = xvm_check_map(l, node, owner);

    for (size_t i = 0; r == 0 && i + 1 < node->nitems; i += 2) {
        const struct xvm_node *key = node->items[i];

        if (check_param_name(l, key) < 0)
            continue;
        p = param_add(l, key, params, nparams);
        if (p == NULL)
            return -EINVAL;
        if (node->items[i + 1]->kind == XVM_NODE_SCALAR)
            xvm_check_option(l, key, node->items[i + 1]->text);
        f.key = key->text;
        p->secret = names_a_secret(key->text);
        if (xvm_read_string(l, &f, node->items[i + 1], &p->value) == 0 && p->secret)
            xvm_config_warn_node(l, key,
                                 "`%s` is readable in this file, better: `secrets: {%s: "
                                 "FILE}`",
                                 key->text, key->text);
    }
    return r;
}

/* --------------------------------------------------------------------------------- secrets */

/* Whoever may write to the folder may put another file in this one's place. */
static bool private_folder(const char *path)
{
    char *folder = strndup(path, (size_t)(strrchr(path, '/') - path) + 1);
    struct stat st;
    bool good = folder != NULL && stat(folder, &st) == 0 &&
                ((st.st_mode & 022) == 0 || (st.st_mode & S_ISVTX) != 0);

    free(folder);
    return good;
}

/* Opens without waiting (a FIFO must not hang the daemon) and insists on a private regular file. */
static int open_secret(struct xvm_loader *l, const struct xvm_node *at)
{
    struct stat st;
    int fd = open(at->text, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return xvm_config_fail_node(l, at, "cannot read secret %.160s: %s", at->text,
                                    strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        xvm_config_fail_node(l, at, "secret %.160s is no regular file", at->text);
    else if (st.st_uid != 0 && st.st_uid != geteuid())
        xvm_config_fail_node(l, at, "secret %.160s belongs to user %u, expected root (chown root)",
                             at->text, (unsigned)st.st_uid);
    else if (!private_folder(at->text))
        xvm_config_fail_node(
            l, at,
            "secret %.160s lies in a folder that others may write to, expected one "
            "of root's alone (chmod go-w): it could be replaced",
            at->text);
    else if ((st.st_mode & 077) != 0)
        xvm_config_fail_node(l, at,
                             "secret %.160s has mode %04o, expected 0600 (chmod 600): "
                             "others can get at it",
                             at->text, (unsigned)(st.st_mode & 07777));
    else
        return fd;
    close(fd);
    return -EINVAL;
}

static char *read_secret(struct xvm_loader *l, const struct xvm_node *at)
{
    char buf[SECRET_MAX + 1];
    ssize_t n;
    int fd;
    char *copy = NULL;

    fd = open_secret(l, at);
    if (fd < 0)
        return NULL;
    n = read(fd, buf, sizeof(buf));
    close(fd);
    if (n < 0) {
        xvm_config_fail_node(l, at, "cannot read secret %.160s: %s", at->text, strerror(errno));
        return NULL;
    }
    if (n > 0 && buf[n - 1] == '\n')
        n--;
    if (n == 0 || n > SECRET_MAX || memchr(buf, '\n', (size_t)n) != NULL ||
        memchr(buf, '\0', (size_t)n) != NULL)
        xvm_config_fail_node(l, at, "secret %.160s, expected one line of at most %d bytes",
                             at->text, SECRET_MAX - 1);
    else if ((copy = strndup(buf, (size_t)n)) == NULL)
        xvm_config_no_room(l);
    explicit_bzero(buf, sizeof(buf));
    return copy;
}

static int read_secrets(struct xvm_loader *l, const struct xvm_node *node, const char *owner,
                        struct ha_param **params, size_t *nparams)
{
    struct xvm_field f = {.key = ""};
    int r = xvm_check_map(l, node, owner);

    for (size_t i = 0; r == 0 && i + 1 < node->nitems; i += 2) {
        const struct xvm_node *key = node->items[i], *value = node->items[i + 1];
        struct ha_param *p;
        char *path = NULL;

        f.key = key->text;
        if (check_param_name(l, key) < 0 || xvm_read_path(l, &f, value, &path) < 0)
            continue;
        free(path);
        p = param_add(l, key, params, nparams);
        if (p == NULL)
            return -EINVAL;
        xvm_check_option(l, key, NULL);
        p->secret = true;
        p->value = read_secret(l, value);
    }
    return r;
}

/* --------------------------------------------------------------------------------- devices */

struct device_raw {
    struct ha_fence_device *device;
    char *agent;
    ha_ms timeout_ms;
    ha_ms delay_ms;
    int retries;
    const struct xvm_node *verify, *options, *secrets;
};

#define FIELD(name) offsetof(struct device_raw, name)
static const struct xvm_field device_fields[] = {
    {.key = "agent", .read = xvm_read_string, .offset = FIELD(agent), .required = true},
    {.key = "options", .read = xvm_read_node, .offset = FIELD(options)},
    {.key = "secrets", .read = xvm_read_node, .offset = FIELD(secrets)},
    {.key = "timeout",
     .read = xvm_read_duration,
     .offset = FIELD(timeout_ms),
     .min = 1000,
     .max = HOUR_MS},
    {.key = "retries", .read = xvm_read_int, .offset = FIELD(retries), .max = 10},
    {.key = "delay", .read = xvm_read_duration, .offset = FIELD(delay_ms), .max = DELAY_MAX_MS},
    {.key = "verify", .read = xvm_read_node, .offset = FIELD(verify)},
};
#undef FIELD

static void check_agent(struct xvm_loader *l, const struct xvm_node *at, const char *agent)
{
    if (agent == NULL)
        return;
    if (agent[0] != '/' && strchr(agent, '/') != NULL)
        xvm_config_fail_node(l, at,
                             "agent `%.80s`, expected the name of a fence agent or an "
                             "absolute path",
                             agent);
    else if (agent[0] == '/' && l->agents == NULL && access(agent, X_OK) < 0)
        xvm_config_warn_node(l, at, "agent %.160s cannot be run on this host: %s", agent,
                             strerror(errno));
}

/* Status after off: where it can be had, unless the operator wants none. */
static void read_verify(struct xvm_loader *l, const struct xvm_node *node,
                        struct ha_fence_device *device)
{
    static const struct xvm_field field = {.key = "verify"};

    device->verify = true;
    if (node != NULL)
        (void)xvm_read_bool(l, &field, node, &device->verify);
    if (!device->verify || l->meta == NULL || (l->meta->actions & XVM_META_STATUS) != 0)
        return;
    device->verify = false;
    if (node != NULL)
        xvm_config_warn_node(l, node,
                             "`verify: true`, but %.80s has no action status: its word that a host "
                             "is off cannot be checked",
                             device->agent);
}

static void read_device(struct xvm_loader *l, const struct xvm_node *key,
                        const struct xvm_node *value, struct ha_fence_device *device)
{
    struct device_raw raw = {.timeout_ms = 20 * 1000, .retries = 1};
    char what[HA_NAME_MAX + 32];

    if (xvm_check_name(l, key, "fence device") < 0)
        return;
    if (strcmp(key->text, "self") == 0 || strcmp(key->text, "none") == 0 ||
        strcmp(key->text, "disk") == 0) {
        xvm_config_fail_node(l, key,
                             "fence device `%s`, expected another name: this one has a "
                             "meaning of its own in fence levels",
                             key->text);
        return;
    }
    strcpy(device->name, key->text);
    snprintf(what, sizeof(what), "fence device %s", device->name);
    xvm_read_map(l, value, what, device_fields, sizeof(device_fields) / sizeof(device_fields[0]),
                 &raw);
    check_agent(l, value, raw.agent);
    l->meta = xvm_find_agent(l, value, raw.agent);
    device->agent = raw.agent;
    device->timeout_ms = raw.timeout_ms;
    device->delay_ms = raw.delay_ms;
    device->retries = (unsigned)raw.retries;
    device->actions = l->meta != NULL ? l->meta->actions : 0;
    read_verify(l, raw.verify, device);
    snprintf(what, sizeof(what), "options of %s", device->name);
    if (raw.options != NULL)
        xvm_read_options(l, raw.options, what, &device->params, &device->nparams);
    snprintf(what, sizeof(what), "secrets of %s", device->name);
    if (raw.secrets != NULL)
        read_secrets(l, raw.secrets, what, &device->params, &device->nparams);
    l->metas[device - l->config->devices] = l->meta;
    l->meta = NULL;
}

void xvm_read_devices(struct xvm_loader *l, const struct xvm_node *node)
{
    size_t n;

    if (xvm_check_map(l, node, "`fence_devices`") < 0)
        return;
    n = node->nitems / 2;
    if (n > XVM_DEVICES_MAX) {
        xvm_config_fail_node(l, node, "%zu fence devices, expected at most %d", n, XVM_DEVICES_MAX);
        return;
    }
    l->config->devices = calloc(n + 1, sizeof(*l->config->devices));
    l->metas = calloc(n + 1, sizeof(struct xvm_fence_meta *));
    if (l->config->devices == NULL || l->metas == NULL) {
        xvm_config_no_room(l);
        return;
    }
    l->config->ndevices = n;
    for (size_t i = 0; i < n; i++)
        read_device(l, node->items[2 * i], node->items[2 * i + 1], &l->config->devices[i]);
}
