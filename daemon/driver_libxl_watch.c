/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The libxl driver's watch: a process that tells, without anybody asking, that a domain came, ended
 * or is gone. It also says every few seconds that xenstored answers; when it falls silent it is
 * replaced, and until the new one works the driver looks by itself now and then. */
#include "driver_libxl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    SILENCE_MS = 20 * 1000,
    BACK_OFF_MS = 1000,
    BACK_OFF_MAX_MS = 60 * 1000,
    STEADY_MS = 60 * 1000, /* one that has lived that long was no failure to start */
};

static void start(struct xvm_driver *driver);

static void again_later(struct xvm_driver *driver)
{
    struct xvm_watcher *w = &driver->watcher;
    bool steady = w->began && xvm_boot_ms() >= w->began + STEADY_MS;
    w->back_off = steady || !w->back_off ? BACK_OFF_MS : 2 * w->back_off;
    if (w->back_off > BACK_OFF_MAX_MS)
        w->back_off = BACK_OFF_MAX_MS;
    w->works = false;
    (void)sd_event_source_set_enabled(w->on_silence, SD_EVENT_OFF);
    (void)sd_event_source_set_time_relative(w->on_again, (uint64_t)w->back_off * 1000);
    (void)sd_event_source_set_enabled(w->on_again, SD_EVENT_ONESHOT);
    xvm_libxl_look_soon(driver);
}

static void on_end(void *user, const struct xvm_child_end *end)
{
    struct xvm_driver *driver = user;
    driver->watcher.child = NULL;
    if (driver->watcher.works)
        xvm_libxl_say(driver, HA_SEV_NOTICE, NULL,
                      "the watch for ended guests has ended (%s %d); until it is back the host is "
                      "looked at now and then",
                      end->how == XVM_CHILD_EXITED ? "code" : "signal", end->code);
    again_later(driver);
}

static void listen_again(struct xvm_driver *driver)
{
    struct xvm_watcher *w = &driver->watcher;
    (void)sd_event_source_set_time_relative(w->on_silence, (uint64_t)SILENCE_MS * 1000);
    (void)sd_event_source_set_enabled(w->on_silence, SD_EVENT_ONESHOT);
}

static void on_line(void *user, const char *line)
{
    struct xvm_driver *driver = user;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const char *event = "", *reason = "";
    int domid = 0;
    if (!json || json_unpack(json, "{s:s, s?i, s?s}", "event", &event, "domid", &domid, "reason",
                             &reason) < 0) {
        json_decref(json);
        return; /* its last words, before it ends */
    }
    listen_again(driver);
    bool first = !driver->watcher.works;
    driver->watcher.works = true;
    enum xvm_domain_end end = xvm_domain_end_parse(reason);
    if (!strcmp(event, "ended"))
        xvm_libxl_ended(driver, (uint32_t)domid, end);
    /* The rest of a suspended guest is on its way: a look now would only make it wait. */
    bool moving = end == XVM_END_SUSPEND && xvm_libxl_moving(driver, (uint32_t)domid);
    if (first || (strcmp(event, "alive") != 0 && !moving))
        xvm_libxl_look_soon(driver);
    json_decref(json);
}

static int on_silence(sd_event_source *source, uint64_t usec, void *user)
{
    struct xvm_driver *driver = user;
    (void)source;
    (void)usec;
    xvm_libxl_say(driver, HA_SEV_WARNING, NULL,
                  "xenstored has not answered for %d s: the watch for ended guests is replaced",
                  SILENCE_MS / 1000);
    xvm_libxl_unknown(driver, "xenstored does not answer");
    if (driver->watcher.child)
        xvm_child_kill(driver->watcher.child); /* its end is told */
    driver->watcher.works = false;
    xvm_libxl_look_soon(driver);
    return 0;
}

static int on_again(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source;
    (void)usec;
    start(user);
    return 0;
}

static void start(struct xvm_driver *driver)
{
    struct xvm_watcher *w = &driver->watcher;
    const char *const argv[] = {"xvm-ha-domain", "watch",         "--host", driver->host_name,
                                "--run",         driver->run_dir, NULL};
    w->began = xvm_boot_ms();
    if (xvm_libxl_run(driver, (char *const *)argv, 0, on_line, on_end, driver, &w->child) < 0)
        again_later(driver);
    else
        listen_again(driver);
}

int xvm_libxl_watch_open(struct xvm_driver *driver)
{
    struct xvm_watcher *w = &driver->watcher;
    int r = sd_event_add_time_relative(driver->loop, &w->on_silence, CLOCK_BOOTTIME, 0, 100 * 1000,
                                       on_silence, driver);
    if (r >= 0)
        r = sd_event_source_set_enabled(w->on_silence, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(driver->loop, &w->on_again, CLOCK_BOOTTIME, 0, 100 * 1000,
                                       on_again, driver);
    return r; /* it fires at once */
}

void xvm_libxl_watch_close(struct xvm_driver *driver)
{
    struct xvm_watcher *w = &driver->watcher;
    w->child = xvm_child_free(w->child);
    w->on_silence = sd_event_source_disable_unref(w->on_silence);
    w->on_again = sd_event_source_disable_unref(w->on_again);
}
