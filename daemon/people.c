/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connects what is only for people to read: validation on all hosts, and the hosts' clocks. */
#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug.h"
#include "log.h"

static const struct ha *core_of(void *user)
{
    struct xvm_daemon *d = user;

    return d->started ? d->core : NULL;
}

static const struct ha_config *config_of(void *user)
{
    struct xvm_daemon *d = user;

    return d->config;
}

static void on_validated(void *user, uint64_t client, json_t *answer)
{
    struct xvm_daemon *d = user;

    xvm_ipc_answer(d->ipc, client, answer);
}

static void on_found(void *user, const char *guest, bool fit, const char *text)
{
    struct xvm_daemon *d = user;
    char sentence[HA_TEXT_MAX * 6];

    snprintf(sentence, sizeof(sentence), "%s%s: %s", guest,
             fit ? "" : " could not be started here", text);
    xvm_daemon_report(d, HA_REPORT_GUEST_BLOCKED, HA_SEV_WARNING, d->facts.self, guest, sentence);
}

static void on_clock(void *user, ha_node host, bool too_far, ha_ms ms)
{
    struct xvm_daemon *d = user;
    const char *name = xvm_daemon_host_name(d, host);
    char text[HA_TEXT_MAX];

    if (name == NULL)
        return;
    if (too_far)
        snprintf(text, sizeof(text),
                 "the clock of %s is %.1f s %s this host's: is NTP running on both?", name,
                 (double)(ms < 0 ? -ms : ms) / 1000, ms < 0 ? "behind" : "ahead of");
    else
        snprintf(text, sizeof(text), "the clock of %s agrees with this host's again", name);
    xvm_daemon_report(d, HA_REPORT_CLOCK, too_far ? HA_SEV_WARNING : HA_SEV_NOTICE, host, NULL,
                      text);
    xvm_daemon_status_changed(d);
}

/* Switched for a guest on all hosts, for a host on that one. */
static void heard_debug(struct xvm_daemon *d, const char *kind, const json_t *body)
{
    const char *name = json_string_value(json_object_get(body, "name")),
               *who = json_string_value(json_object_get(body, "who"));
    const char *self = xvm_daemon_host_name(d, d->facts.self);
    bool on = json_is_true(json_object_get(body, "on")),
         host = json_is_true(json_object_get(body, "host"));
    char text[HA_TEXT_MAX];

    if (strcmp(kind, "debug") != 0 || !name || !who || strlen(name) >= HA_NAME_MAX)
        return;
    if (host && name[0] && self && strcmp(name, self) != 0)
        return;
    if (xvm_debug_set(host ? "" : name, on) < 0) {
        xvm_log(HA_SEV_WARNING, "too many guests are debugged: %s is not", name);
        return;
    }
    snprintf(text, sizeof(text), "messages for debugging %s%.63s are %s, by order of %.63s",
             host ? "this host" : "", host ? "" : name, on ? "on" : "off", who);
    xvm_daemon_report(d, HA_REPORT_COMMAND, HA_SEV_INFO, d->facts.self, host ? NULL : name, text);
}

static void on_heard(void *user, ha_node from, const char *kind, const json_t *body)
{
    struct xvm_daemon *d = user;

    xvm_register_heard(d->reg, from, kind, body);
    heard_debug(d, kind, body);
    if (d->validate)
        xvm_validate_heard(d->validate, from, kind, body);
    if (d->clocks)
        xvm_clocks_heard(d->clocks, from, kind, body);
}

int xvm_daemon_open_talk(struct xvm_daemon *d)
{
    int r = xvm_talk_new(d->loop, on_heard, d, &d->talk);
    struct xvm_validate_env env = {
        .loop = d->loop,
        .self = d->facts.self,
        .user = d,
        .core = core_of,
        .config = config_of,
        .driver_ops = d->driver_ops,
        .driver = d->driver,
        .talk = d->talk,
        .answer = on_validated,
        .found = on_found,
    };

    if (r >= 0)
        r = xvm_validate_new(&env, &d->validate);
    if (r >= 0)
        r = xvm_clocks_new(d->loop, d->talk, d->facts.self, on_clock, d, &d->clocks);
    return r;
}

int xvm_daemon_validate(void *user, uint64_t client, const char *guest)
{
    struct xvm_daemon *d = user;

    return d->validate ? xvm_validate_ask(d->validate, client, guest) : -EAGAIN;
}

int xvm_daemon_debug(void *user, const char *name, bool host, bool on, const char *who)
{
    struct xvm_daemon *d = user;

    if (!d->talk)
        return -EAGAIN;
    return xvm_talk_say(d->talk, "debug",
                        json_pack("{s:s, s:b, s:b, s:s}", "name", name, "host", host, "on", on,
                                  "who", who));
}

bool xvm_daemon_clock(void *user, const char *host, ha_ms *ret_ms)
{
    struct xvm_daemon *d = user;

    for (size_t i = 0; d->clocks && i < d->config->nhosts; i++)
        if (strcmp(d->config->hosts[i].name, host) == 0)
            return xvm_clocks_of(d->clocks, d->config->hosts[i].node, ret_ms);
    return false;
}
