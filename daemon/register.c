/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes to this host's configuration file what the cluster has agreed on. A file that is one of
 * those that the change was made from is replaced; one that somebody has changed by hand stays, and
 * that is reported. Killed at any point, it begins again: the fact stays, and a file that is the new
 * one already is not replaced again. */
#include "register.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../libha/wire.h"
#include "config_file.h"
#include "guest_files.h"
#include "log.h"
#include "register_internal.h"
#include "util.h"

#define TAKEN_NAME "config-taken"

enum { RETRY_MS = 20 * 1000 };

/* -------------------------------------------------------------------------------- what was done */

static int open_state(const struct xvm_register *reg)
{
    int fd = open(reg->d->options.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return fd;
}

static void load_taken(struct xvm_register *reg)
{
    char text[32] = "";
    int dir = open_state(reg);

    if (dir >= 0 && xvm_text_read(dir, TAKEN_NAME, text, sizeof(text)) == 0)
        reg->taken = strtoull(text, NULL, 10);
    if (dir >= 0)
        close(dir);
}

static void save_taken(const struct xvm_register *reg)
{
    char text[32];
    int dir = open_state(reg), r = dir;

    snprintf(text, sizeof(text), "%" PRIu64 "\n", reg->taken);
    if (dir >= 0) {
        r = xvm_text_replace(dir, TAKEN_NAME, text);
        close(dir);
    }
    if (r < 0) /* done once more, later: harmless */
        xvm_log(HA_SEV_WARNING, "cannot write %s/%s: %s", reg->d->options.state_dir, TAKEN_NAME,
                strerror(-r));
}

static void tell_core(struct xvm_register *reg)
{
    struct ha_event event = {.type = HA_EV_CONFIG_TAKEN};

    event.u.taken.at = reg->taken;
    xvm_daemon_step(reg->d, &event);
}

static void done(struct xvm_register *reg)
{
    reg->due = false;
    reg->trouble[0] = '\0';
    if (reg->taken < reg->changes[0].at) {
        reg->taken = reg->changes[0].at;
        save_taken(reg);
    }
    tell_core(reg);
}

/* Said once; tried again by itself. */
static void in_trouble(struct xvm_register *reg, const char *what, int r)
{
    char text[HA_TEXT_MAX];

    snprintf(text, sizeof(text),
             "%s: the agreed change of the configuration is not made here (%.80s%s%.40s); tried "
             "again every %d s",
             reg->d->options.config_path, what, r < 0 ? ": " : "", r < 0 ? strerror(-r) : "",
             RETRY_MS / 1000);
    if (strcmp(text, reg->trouble) != 0)
        xvm_daemon_report(reg->d, HA_REPORT_DRIFT, HA_SEV_ALERT, reg->d->facts.self, NULL, text);
    snprintf(reg->trouble, sizeof(reg->trouble), "%s", text);
    sd_event_source_set_time_relative(reg->retry, (uint64_t)RETRY_MS * 1000);
    sd_event_source_set_enabled(reg->retry, SD_EVENT_ONESHOT);
}

/* --------------------------------------------------------------------------------- replacing it */

static void use_it(struct xvm_register *reg)
{
    char *text = NULL;
    int r = 0;

    if (reg->d->config->hash != reg->to)
        r = xvm_daemon_reload_now(reg->d, &text);
    if (r < 0) {
        in_trouble(reg, text ? text : "it cannot be used", 0);
    } else {
        xvm_daemon_report(reg->d, HA_REPORT_COMMAND, HA_SEV_NOTICE, reg->d->facts.self, NULL,
                          "the agreed change of the configuration is made and in use here");
        done(reg);
    }
    free(text);
}

static void drop_temp(struct xvm_register *reg)
{
    if (reg->temp)
        (void)unlink(reg->temp);
    free(reg->temp);
    reg->temp = NULL;
}

static void on_checked(void *user, const struct xvm_child_end *end)
{
    struct xvm_register *reg = user;
    char line[HA_TEXT_MAX];
    int r;

    reg->checker = NULL;
    if (end->how != XVM_CHILD_EXITED || end->code != 0) {
        xvm_child_sanitise(end->err, line, sizeof(line));
        in_trouble(reg, line[0] ? line : "it could not be checked", 0);
    } else {
        r = xvm_config_file_commit(reg->d->options.config_path, reg->temp, reg->from);
        if (r == 0) {
            free(reg->temp);
            reg->temp = NULL;
            use_it(reg);
            return;
        }
        in_trouble(reg, r == -ESTALE ? "somebody is editing the file" : "it cannot be written",
                   r == -ESTALE ? 0 : r);
    }
    drop_temp(reg);
}

static void replace(struct xvm_register *reg, const void *bytes, size_t len)
{
    int r = xvm_config_file_prepare(reg->d->options.config_path, bytes, len, &reg->temp);

    if (r < 0) {
        in_trouble(reg, "it cannot be written", r);
        return;
    }
    r = xvm_daemon_check_file(reg->d, reg->temp, on_checked, reg, &reg->checker);
    if (r < 0) {
        drop_temp(reg);
        in_trouble(reg, "it cannot be checked", r);
    }
}

/* Is this file one that the change, or those that were missed before it, were made from? */
static bool is_base(const struct xvm_register *reg, uint64_t hash)
{
    for (size_t i = 0; i < HA_CONFIG_CHANGES; i++) {
        const struct ha_config_change *c = &reg->changes[i];

        if (c->at > reg->taken && (c->from == 0 || c->from == hash))
            return true;
    }
    return false;
}

static void keep_own(struct xvm_register *reg)
{
    char text[HA_TEXT_MAX];

    snprintf(text, sizeof(text),
             "the file here was changed by hand and stays as it is: the agreed change is not made; "
             "see `xvmhactl config diff`, then `xvmhactl config push` where it is right");
    xvm_daemon_report(reg->d, HA_REPORT_DRIFT, HA_SEV_ALERT, reg->d->facts.self, NULL, text);
    done(reg);
}

static void compare(struct xvm_register *reg, const void *bytes, size_t len)
{
    char *own = NULL;
    size_t own_len = 0;
    int r = xvm_config_file_read(reg->d->options.config_path, &own, &own_len);

    if (r < 0) {
        in_trouble(reg, "it cannot be read", r);
        return;
    }
    reg->from = xvm_config_hash(own, own_len);
    reg->to = xvm_config_hash(bytes, len);
    free(own);
    if (reg->from == reg->to)
        use_it(reg);
    else if (is_base(reg, reg->from))
        replace(reg, bytes, len);
    else
        keep_own(reg);
}

static void go_on(struct xvm_register *reg)
{
    void *bytes = NULL;
    size_t len = 0;

    if (!reg->due || reg->checker || !reg->d->started)
        return;
    if (reg->changes[0].at <= reg->taken) {
        done(reg);
        return;
    }
    if (xvm_supply_get(reg->d->supply, &reg->file, &bytes, &len) < 0) {
        xvm_supply_want(reg->d->supply, &reg->file); /* xvm_register_arrived */
        return;
    }
    compare(reg, bytes, len);
    free(bytes);
}

static int on_soon(sd_event_source *source, void *user)
{
    (void)source;
    go_on(user);
    return 0;
}

static int on_retry(sd_event_source *source, uint64_t at, void *user)
{
    (void)source;
    (void)at;
    go_on(user);
    return 0;
}

void xvm_register_act(struct xvm_register *reg, const struct ha_action *action)
{
    /* one that is being checked is out of date */
    reg->checker = xvm_child_free(reg->checker);
    drop_temp(reg);
    reg->due = true;
    reg->file = action->u.config.file;
    memcpy(reg->changes, action->u.config.changes, sizeof(reg->changes));
    sd_event_source_set_enabled(reg->soon, SD_EVENT_ONESHOT);
}

void xvm_register_arrived(struct xvm_register *reg, const struct ha_uuid *hash)
{
    if (reg->due && ha_uuid_eq(hash, &reg->file))
        sd_event_source_set_enabled(reg->soon, SD_EVENT_ONESHOT);
    xvm_register_file_arrived(reg);
}

bool xvm_register_needs(const struct xvm_register *reg, const struct ha_uuid *hash)
{
    for (size_t i = 0; i < XVM_QUESTIONS; i++)
        if (reg->questions[i].reg && ha_uuid_eq(&reg->questions[i].hash, hash))
            return true;
    return (reg->due && ha_uuid_eq(&reg->file, hash)) || reg->proposal;
}

/* ----------------------------------------------------------------------------------- birth, end */

int xvm_register_new(struct xvm_daemon *daemon, struct xvm_register **ret_register)
{
    struct xvm_register *reg = calloc(1, sizeof(*reg));
    int r;

    if (!reg)
        return -ENOMEM;
    reg->d = daemon;
    load_taken(reg);
    r = sd_event_add_defer(daemon->loop, &reg->soon, on_soon, reg);
    if (r >= 0)
        r = sd_event_source_set_enabled(reg->soon, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(daemon->loop, &reg->retry, CLOCK_BOOTTIME, 0, 1000, on_retry, reg);
    if (r >= 0)
        r = sd_event_source_set_enabled(reg->retry, SD_EVENT_OFF);
    if (r < 0) {
        xvm_register_free(reg);
        return r;
    }
    *ret_register = reg;
    return 0;
}

struct xvm_register *xvm_register_free(struct xvm_register *reg)
{
    if (!reg)
        return NULL;
    xvm_register_ask_done(reg);
    xvm_child_free(reg->checker);
    drop_temp(reg);
    sd_event_source_disable_unref(reg->soon);
    sd_event_source_disable_unref(reg->retry);
    free(reg);
    return NULL;
}
