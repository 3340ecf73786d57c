/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes the definitions of the configuration's guests from their xl configuration files, where
 * those are, one at a time: at start, and after each reload. A file that has not changed since is
 * not read again; NAME.json.source beside the definition remembers which one it was. Also asks
 * whether a guest could be started here. */
#include "driver_libxl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEFINE_TIMEOUT_MS = 60 * 1000,
    CHECK_TIMEOUT_MS = 60 * 1000,
    LOOKS_A_TURN = 64, /* files looked at before the loop has its turn */
};

static void turn_soon(struct xvm_driver *driver)
{
    (void)sd_event_source_set_enabled(driver->definer.on_turn, SD_EVENT_ONESHOT);
}

/* -------------------------------------------------------------------- is there anything to do */

static char *stamp_path(const struct xvm_driver *driver, const char *guest)
{
    char *definition = xvm_definitions_path(driver->definitions, guest), *path = NULL;
    if (definition && asprintf(&path, "%s.source", definition) < 0)
        path = NULL;
    free(definition);
    return path;
}

/* Cluster and program are part of it: they are part of what is made. */
static int make_stamp(const struct xvm_driver *driver, const char *file, char *to, size_t size)
{
    struct stat st;
    if (stat(file, &st) < 0)
        return -errno;
    snprintf(to, size, "1 %" PRIu64 " %" PRIu64 " %" PRId64 ".%09ld %" PRId64 " %.40s\n",
             (uint64_t)st.st_dev, (uint64_t)st.st_ino, (int64_t)st.st_mtim.tv_sec,
             st.st_mtim.tv_nsec, (int64_t)st.st_size, driver->config->cluster_name);
    return 0;
}

static bool is_current(const struct xvm_driver *driver, const char *guest, const char *stamp)
{
    struct xvm_definition facts;
    char old[128] = "", *path = stamp_path(driver, guest);
    int r = path ? xvm_text_read(AT_FDCWD, path, old, sizeof(old)) : -ENOMEM;
    free(path);
    return r == 0 && !strcmp(old, stamp) &&
           xvm_definitions_facts(driver->definitions, guest, &facts) == 0;
}

static void write_stamp(const struct xvm_driver *driver, const char *guest, const char *stamp)
{
    char *path = stamp_path(driver, guest);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd >= 0) {
        (void)!write(fd, stamp, strlen(stamp)); /* a torn one is another one: read again */
        close(fd);
    }
    free(path);
}

/* ---------------------------------------------------------------------------------- making one */

static void compare_needs(struct xvm_driver *driver, const char *guest)
{
    struct xvm_definition facts;
    for (size_t i = 0; i < driver->config->nguests; i++) {
        const struct ha_guest_config *c = &driver->config->guests[i];
        if (strcmp(c->name, guest) != 0 ||
            xvm_definitions_facts(driver->definitions, guest, &facts) < 0)
            continue;
        /* What Xen keeps beside it is small, and the host's memory is counted without. */
        if (c->memory_kib && facts.memory_kib > c->memory_kib + c->memory_kib / 16 + 16 * 1024)
            xvm_libxl_say(driver, HA_SEV_WARNING, guest,
                          "it needs %" PRIu64 " MiB, and `memory` says %" PRIu64
                          " MiB: the hosts' memory is planned by the latter",
                          facts.memory_kib >> 10, c->memory_kib >> 10);
    }
}

/* Told also when it is not new: the cluster may not know it yet. */
static void tell_made(struct xvm_driver *driver, const char *guest)
{
    struct xvm_definition facts;
    struct ha_error error;
    void *bytes = NULL;
    size_t len = 0;
    if (!driver->sink->made || xvm_definitions_get(driver->definitions, guest, &bytes, &len) < 0)
        return;
    if (xvm_definition_parse(bytes, len, guest, &facts, &error) == 0) {
        const char *not_live = xvm_definition_not_live(&facts, driver->shadow, driver->hap);
        driver->sink->made(driver->user, guest, bytes, len, facts.memory_kib,
                           not_live ? HA_DEF_NO_LIVE : 0);
    }
    free(bytes);
}

static void on_line(void *user, const char *line)
{
    struct xvm_driver *driver = user;
    struct xvm_definer *d = &driver->definer;
    struct ha_error error = {0};
    const char *bytes = NULL, *result = NULL, *text = NULL;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    if (json && json_unpack(json, "{s:s}", "definition", &bytes) == 0) {
        d->done = xvm_definitions_put(driver->definitions, d->guest, bytes, strlen(bytes), true,
                                      &error) == 0;
        if (!d->done)
            xvm_libxl_say(driver, HA_SEV_ERROR, d->guest, "%s", error.text);
    } else if (json && json_unpack(json, "{s:s, s:s}", "result", &result, "text", &text) == 0) {
        xvm_child_sanitise(text, d->text, sizeof(d->text));
    }
    json_decref(json);
}

static void on_defined(void *user, const struct xvm_child_end *end)
{
    struct xvm_driver *driver = user;
    struct xvm_definer *d = &driver->definer;
    d->child = NULL;
    if (end->how == XVM_CHILD_EXITED && end->code == XVM_WORKER_OK && d->done) {
        write_stamp(driver, d->guest, d->stamp);
        xvm_libxl_say(driver, HA_SEV_INFO, d->guest, "defined by %s", d->file);
        compare_needs(driver, d->guest);
        tell_made(driver, d->guest);
    } else if (!d->done) {
        xvm_libxl_say(driver, HA_SEV_ERROR, d->guest, "it cannot be defined by %s: %s", d->file,
                      end->how == XVM_CHILD_EXITED && d->text[0] ? d->text
                      : end->how == XVM_CHILD_TIMED_OUT          ? "xl took too long"
                                                                 : "its worker broke down");
    }
    turn_soon(driver);
}

static void define(struct xvm_driver *driver, const struct ha_guest_config *guest)
{
    struct xvm_definer *d = &driver->definer;
    snprintf(d->guest, sizeof(d->guest), "%s", guest->name);
    free(d->file);
    d->file = strdup(guest->config_path);
    d->text[0] = '\0';
    d->done = false;
    const char *const argv[] = {"xvm-ha-domain",
                                "define",
                                d->guest,
                                "--file",
                                d->file ? d->file : guest->config_path,
                                "--cluster",
                                driver->config->cluster_name,
                                "--host",
                                driver->host_name,
                                NULL};
    if (!d->file || xvm_libxl_run(driver, (char *const *)argv, DEFINE_TIMEOUT_MS, on_line,
                                  on_defined, driver, &d->child) < 0)
        xvm_libxl_say(driver, HA_SEV_ERROR, guest->name, "it cannot be defined: out of memory");
}

static void look_at(struct xvm_driver *driver, const struct ha_guest_config *guest)
{
    struct xvm_definition facts;
    struct xvm_definer *d = &driver->definer;
    if (!guest->config_path)
        return;
    int r = make_stamp(driver, guest->config_path, d->stamp, sizeof(d->stamp));
    if (r < 0) {
        /* Another host's file is as good. */
        if (r != -ENOENT || xvm_definitions_facts(driver->definitions, guest->name, &facts) < 0)
            xvm_libxl_say(driver, r == -ENOENT ? HA_SEV_INFO : HA_SEV_ERROR, guest->name,
                          "it is not defined by this host: %s: %s", guest->config_path,
                          strerror(-r));
        return;
    }
    if (is_current(driver, guest->name, d->stamp))
        tell_made(driver, guest->name);
    else
        define(driver, guest);
}

static int on_turn(sd_event_source *source, void *user)
{
    struct xvm_driver *driver = user;
    struct xvm_definer *d = &driver->definer;
    (void)source;
    for (int i = 0; i < LOOKS_A_TURN && !d->child && d->next < driver->config->nguests; i++)
        look_at(driver, &driver->config->guests[d->next++]);
    if (!d->child && d->next < driver->config->nguests)
        turn_soon(driver);
    return 0;
}

void xvm_libxl_define_all(struct xvm_driver *driver)
{
    driver->definer.next = 0;
    if (!driver->definer.child && driver->seen)
        turn_soon(driver); /* else the first look begins it: what can move live is seen there */
}

int xvm_libxl_define_open(struct xvm_driver *driver)
{
    int r = sd_event_add_defer(driver->loop, &driver->definer.on_turn, on_turn, driver);
    if (r >= 0)
        r = sd_event_source_set_enabled(driver->definer.on_turn, SD_EVENT_OFF);
    return r;
}

void xvm_libxl_define_close(struct xvm_driver *driver)
{
    struct xvm_definer *d = &driver->definer;
    d->child = xvm_child_free(d->child);
    d->on_turn = sd_event_source_disable_unref(d->on_turn);
    free(d->file);
    d->file = NULL;
}

/* ----------------------------------------------------------------------- could it be started */

struct xvm_check {
    struct xvm_check *next;
    struct xvm_driver *driver;
    struct xvm_child *child;
    void (*done)(void *user, const char *guest, bool fit, const char *text);
    void *user;
    char guest[HA_NAME_MAX];
    char text[512];
    bool problem;
};

static void add_text(struct xvm_check *check, const char *text)
{
    size_t n = strlen(check->text);
    snprintf(check->text + n, sizeof(check->text) - n, "%s%s", n ? "; " : "", text);
}

static void on_check_line(void *user, const char *line)
{
    struct xvm_check *check = user;
    const char *text = NULL;
    char clean[HA_TEXT_MAX];
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    bool problem = json && json_unpack(json, "{s:s}", "problem", &text) == 0;
    if (problem || (json && json_unpack(json, "{s:s}", "warning", &text) == 0)) {
        xvm_child_sanitise(text, clean, sizeof(clean));
        add_text(check, clean);
        check->problem |= problem;
    }
    json_decref(json);
}

static void on_checked(void *user, const struct xvm_child_end *end)
{
    struct xvm_check *check = user;
    struct xvm_check **at = &check->driver->checks;
    while (*at != check)
        at = &(*at)->next;
    *at = check->next;
    bool fit = end->how == XVM_CHILD_EXITED && end->code == XVM_WORKER_OK && !check->problem;
    if (!fit && !check->problem)
        add_text(check, end->how == XVM_CHILD_TIMED_OUT ? "Xen did not answer in time"
                                                        : "it could not be looked at");
    check->done(check->user, check->guest, fit, check->text);
    free(check);
}

int xvm_libxl_check(struct xvm_driver *driver, const char *guest,
                    void (*done)(void *user, const char *guest, bool fit, const char *text),
                    void *user)
{
    struct xvm_check *check = calloc(1, sizeof(*check));
    char *definition = xvm_definitions_path(driver->definitions, guest), guard[17];
    int r = check && definition ? 0 : -ENOMEM;
    if (!r && access(definition, R_OK) < 0)
        r = -errno;
    if (!r) {
        const char *const argv[] = {"xvm-ha-domain",   "check",    guest,
                                    "--definition",    definition, "--host",
                                    driver->host_name, "--guard",  guard,
                                    NULL};
        xvm_libxl_guard_key(driver, guest, guard);
        check->driver = driver;
        check->done = done;
        check->user = user;
        snprintf(check->guest, sizeof(check->guest), "%s", guest);
        r = xvm_libxl_run(driver, (char *const *)argv, CHECK_TIMEOUT_MS, on_check_line, on_checked,
                          check, &check->child);
    }
    free(definition);
    if (r < 0) {
        free(check);
        return r;
    }
    check->next = driver->checks;
    driver->checks = check;
    return 0;
}

void xvm_libxl_check_close(struct xvm_driver *driver)
{
    while (driver->checks) {
        struct xvm_check *check = driver->checks;
        driver->checks = check->next;
        xvm_child_free(check->child);
        free(check);
    }
}
