/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Has the reservations on guests' disks follow what operations did: `xvm-ha-domain guard`, after
 * the operation and apart from it. A guest's end does not wait for storage that hangs, nor does its
 * standing still during a move. */
#include "driver_libxl.h"
#include "disk_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SETTLE_MS = 40 * 1000,
    GRACE_MS = 5 * 1000, /* to say why it gave up */
};

struct xvm_settling {
    struct xvm_settling *next;
    struct xvm_driver *driver;
    struct xvm_child *child;
    char guest[HA_NAME_MAX];
    char text[HA_TEXT_MAX];
};

void xvm_libxl_guard_key(const struct xvm_driver *driver, const char *guest, char text[static 17])
{
    const struct ha_guest_config *g = xvm_libxl_guest_config(driver, guest);
    text[0] = '\0';
    if (g && g->disk_guard == HA_GUARD_SCSI)
        snprintf(text, 17, "%" PRIx64, xvm_guard_key(driver->config->cluster_name, driver->self));
}

static bool has_file(const struct xvm_driver *driver, const char *guest, const char *file)
{
    char path[HA_NAME_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", guest, file);
    return xvm_guest_name_ok(guest) && faccessat(driver->guests_fd, path, F_OK, 0) == 0;
}

static void on_line(void *user, const char *line)
{
    struct xvm_settling *s = user;
    const char *result = NULL, *text = NULL;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    if (json && json_unpack(json, "{s:s, s:s}", "result", &result, "text", &text) == 0)
        xvm_child_sanitise(text, s->text, sizeof(s->text));
    json_decref(json);
}

static void on_end(void *user, const struct xvm_child_end *end)
{
    struct xvm_settling *s = user, **at = &s->driver->settling;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (end->how != XVM_CHILD_EXITED || end->code != XVM_WORKER_OK)
        xvm_libxl_say(s->driver, HA_SEV_WARNING, s->guest, "guard of its disks: %s",
                      end->how == XVM_CHILD_EXITED && s->text[0] ? s->text
                      : end->how == XVM_CHILD_TIMED_OUT          ? "it took too long"
                                                                 : "its worker broke down");
    free(s);
}

static void settle(struct xvm_driver *driver, const char *guest, uint64_t inc, ha_ms until)
{
    char inc_text[24], until_text[24], timeout[24];
    struct xvm_settling *s = calloc(1, sizeof(*s));
    snprintf(inc_text, sizeof(inc_text), "%" PRIu64, inc);
    snprintf(until_text, sizeof(until_text), "%" PRId64, until > 0 ? until : 0);
    snprintf(timeout, sizeof(timeout), "%d", SETTLE_MS);
    const char *const argv[] = {"xvm-ha-domain", "guard",          guest,     "--host",
                                driver->host_name, "--run",        driver->run_dir,
                                "--inc",         inc_text,         "--until", until_text,
                                "--timeout",     timeout,          NULL};
    if (s) {
        s->driver = driver;
        snprintf(s->guest, sizeof(s->guest), "%s", guest);
    }
    if (!s || xvm_libxl_run(driver, (char *const *)argv, SETTLE_MS + GRACE_MS, on_line, on_end, s,
                            &s->child) < 0) {
        xvm_libxl_say(driver, HA_SEV_WARNING, guest, "guard of its disks: out of memory");
        free(s);
        return;
    }
    s->next = driver->settling;
    driver->settling = s;
}

void xvm_libxl_guard_settle(const struct xvm_op *op, enum ha_result result)
{
    struct xvm_driver *driver = op->driver;
    bool runs = result == HA_RESULT_OK && (op->what == HA_OP_UNPAUSE || op->what == HA_OP_RESUME ||
                                           op->what == HA_OP_TAG);
    if (runs && has_file(driver, op->guest, XVM_GUARD_FILE))
        settle(driver, op->guest, op->inc, op->until);
    else if (!runs && has_file(driver, op->guest, XVM_GUARD_LEFT))
        settle(driver, op->guest, 0, 0);
}

void xvm_libxl_guard_resume(struct xvm_driver *driver)
{
    for (size_t i = 0; i < driver->nknown; i++)
        if (has_file(driver, driver->known[i].guest, XVM_GUARD_LEFT))
            settle(driver, driver->known[i].guest, 0, 0);
}

/* They go on by themselves. */
void xvm_libxl_guard_close(struct xvm_driver *driver)
{
    while (driver->settling) {
        struct xvm_settling *s = driver->settling;
        driver->settling = s->next;
        xvm_child_abandon(s->child);
        free(s);
    }
}
