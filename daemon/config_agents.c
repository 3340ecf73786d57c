/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks fence devices against what their agents say about themselves: unknown and missing options,
 * values that cannot be, old names, what must never be asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config_internal.h"
#include "config_nearest.h"

const struct xvm_fence_meta *xvm_find_agent(struct xvm_loader *l, const struct xvm_node *at,
                                            const char *agent)
{
    const struct xvm_fence_meta *meta = NULL;
    char why[XVM_META_WHY] = "";
    int r;

    if (l->agents == NULL || agent == NULL || (agent[0] != '/' && strchr(agent, '/') != NULL))
        return NULL;
    r = xvm_fence_agents_get(l->agents, agent, &meta, why);
    if (r == -ENOMEM) {
        xvm_config_no_room(l);
    } else if (r < 0) {
        const char *expected = r == -ENOENT
                                   ? "expected the file name of an installed fence agent (package "
                                     "fence-agents) or an absolute path"
                                   : "expected the metadata of a ClusterLabs fence agent; try "
                                     "`echo action=metadata |` it by hand";

        if (l->agents_strict)
            xvm_config_fail_node(l, at, "agent `%.80s`: %s, %s", agent, why, expected);
        else
            xvm_config_warn_node(l, at, "agent `%.80s`: %s, %s", agent, why, expected);
    } else if ((meta->actions & XVM_META_OFF) == 0) {
        xvm_config_fail_node(l, at,
                             "agent `%.80s` has no action off, expected one that can switch a host "
                             "off: a restart proves nothing",
                             agent);
    }
    return meta;
}

/* --------------------------------------------------------------------------------- one option */

static void unknown_option(struct xvm_loader *l, const struct xvm_node *key)
{
    struct xvm_nearest nearest = {.wanted = key->text};
    const struct xvm_meta_param *p;

    for (size_t i = 0; i < l->meta->nparams; i++) {
        if (!l->meta->params[i].deprecated)
            xvm_nearest_try(&nearest, l->meta->params[i].name);
    }
    p = nearest.best != NULL ? xvm_fence_meta_param(l->meta, nearest.best) : NULL;
    if (p != NULL)
        xvm_config_fail_node(l, key, "%.64s has no option `%.64s`, expected `%.64s`? (%.120s)",
                             l->meta->agent, key->text, p->name, p->text ? p->text : "");
    else
        xvm_config_fail_node(l, key,
                             "%.64s has no option `%.64s`, expected one of those that `man %.64s` "
                             "lists",
                             l->meta->agent, key->text, l->meta->agent);
}

static bool is_number(const char *text)
{
    char *end;

    errno = 0;
    (void)strtod(text, &end);
    return errno == 0 && end != text && *end == '\0';
}

static bool is_boolean(const char *text)
{
    static const char *const known[] = {"0", "1", "yes", "no", "true", "false", "on", "off"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(known[i], text) == 0)
            return true;
    }
    return false;
}

static bool is_choice(const struct xvm_meta_param *p, const char *text)
{
    for (size_t i = 0; i < p->nchoices; i++) {
        if (strcmp(p->choices[i], text) == 0)
            return true;
    }
    return p->nchoices == 0;
}

static void check_value(struct xvm_loader *l, const struct xvm_node *key,
                        const struct xvm_meta_param *p, const char *value)
{
    const char *type = p->type != NULL ? p->type : "";
    const char *expected = NULL;
    char choices[120] = "";

    if ((strcmp(type, "integer") == 0 || strcmp(type, "second") == 0) && !is_number(value))
        expected = "a number";
    else if (strcmp(type, "boolean") == 0 && !is_boolean(value))
        expected = "1 or 0";
    else if (strcmp(type, "select") == 0 && !is_choice(p, value)) {
        size_t n = (size_t)snprintf(choices, sizeof(choices), "one of:");

        for (size_t i = 0; i < p->nchoices && n < sizeof(choices); i++)
            n += (size_t)snprintf(choices + n, sizeof(choices) - n, " %s", p->choices[i]);
        expected = choices;
    }
    if (expected != NULL)
        xvm_config_fail_node(l, key, "option `%.64s` is `%.40s`, expected %s (%.120s)", key->text,
                             value, expected, p->text ? p->text : "");
}

void xvm_check_option(struct xvm_loader *l, const struct xvm_node *key, const char *value)
{
    const struct xvm_meta_param *p, *now;

    /* whatever the agent: a cycle is on again before anybody could see that it was off */
    if (value != NULL && strcmp(key->text, "method") == 0 && strcmp(value, "cycle") == 0)
        xvm_config_fail_node(
            l, key,
            "option `method` is `cycle`, expected `onoff`: a host that is switched "
            "on again at once was never seen to be off");
    if (l->meta == NULL)
        return;
    p = xvm_fence_meta_param(l->meta, key->text);
    if (p == NULL) {
        unknown_option(l, key);
        return;
    }
    now = xvm_fence_meta_successor(l->meta, key->text);
    if (now != NULL)
        xvm_config_warn_node(l, key, "option `%.64s` is an old name in %.64s, better: `%.64s`",
                             key->text, l->meta->agent, now->name);
    else if (p->deprecated)
        xvm_config_warn_node(l, key, "option `%.64s` is deprecated in %.64s", key->text,
                             l->meta->agent);
    if (value != NULL)
        check_value(l, key, p, value);
}

/* -------------------------------------------------------------------------------------- hosts */

static bool given(const struct ha_fence_device *device, const struct ha_host_config *host,
                  const char *name)
{
    for (size_t i = 0; name != NULL && i < device->nparams; i++) {
        if (strcmp(device->params[i].name, name) == 0)
            return true;
    }
    for (size_t i = 0; name != NULL && i < host->nparams; i++) {
        if (strcmp(host->params[i].name, name) == 0)
            return true;
    }
    return false;
}

static void check_required(struct xvm_loader *l, const struct xvm_node *at, size_t device,
                           const struct ha_host_config *host)
{
    const struct ha_fence_device *d = &l->config->devices[device];
    const struct xvm_fence_meta *meta = l->metas[device];

    for (size_t i = 0; meta != NULL && i < meta->nparams; i++) {
        const struct xvm_meta_param *p = &meta->params[i];

        /* an old name is needed only if no new one took its place */
        if (!p->required || strcmp(p->name, "action") == 0 ||
            (p->deprecated && xvm_fence_meta_successor(meta, p->name) != NULL) ||
            (p->fallback != NULL && p->fallback[0] != '\0') || given(d, host, p->name) ||
            given(d, host, p->obsoletes))
            continue;
        xvm_config_fail_node(l, at,
                             "fence device %s (%.64s) has no option `%.64s` for host %s, expected "
                             "it among the options of the device or of the host (%.100s)",
                             d->name, meta->agent, p->name, host->name, p->text ? p->text : "");
    }
}

static bool suits_one(const struct xvm_loader *l, const struct ha_host_config *host,
                      const char *name, const struct xvm_fence_meta **ret_known)
{
    for (size_t i = 0; i < host->nlevels; i++) {
        for (size_t k = 0; k < host->levels[i].ndevices; k++) {
            const struct xvm_fence_meta *meta = l->metas[host->levels[i].devices[k]];

            if (meta == NULL || xvm_fence_meta_param(meta, name) != NULL)
                return true; /* or nobody knows */
            *ret_known = meta;
        }
    }
    return false;
}

void xvm_check_host_options(struct xvm_loader *l, const struct xvm_node *at,
                            const struct xvm_node *options, const struct ha_host_config *host)
{
    bool seen[XVM_DEVICES_MAX] = {false};

    if (l->agents == NULL || l->metas == NULL)
        return;
    for (size_t i = 0; options != NULL && options->kind == XVM_NODE_MAP && i + 1 < options->nitems;
         i += 2) {
        const struct xvm_fence_meta *known = NULL;

        if (suits_one(l, host, options->items[i]->text, &known) || known == NULL)
            continue;
        l->meta = known;
        unknown_option(l, options->items[i]);
        l->meta = NULL;
    }
    for (size_t i = 0; i < host->nlevels; i++) {
        for (size_t k = 0; k < host->levels[i].ndevices; k++) {
            size_t device = host->levels[i].devices[k];

            if (!seen[device])
                check_required(l, at, device, host);
            seen[device] = true;
        }
    }
}
