/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a guest of the process driver could be started here: its disk's folder, its disk, its
 * program and its configuration file. */
#include "driver_process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check {
    char guest[HA_NAME_MAX];
    char text[HA_TEXT_MAX * 2];
    void (*done)(void *user, const char *guest, bool fit, const char *text);
    void *user;
};

static void problem(struct check *c, const char *what, const char *path)
{
    size_t n = strlen(c->text);

    snprintf(c->text + n, sizeof(c->text) - n, "%s%s %.100s: %s", n > 0 ? "; " : "", what, path,
             strerror(errno));
}

static void look(struct check *c, const struct xvm_driver *driver)
{
    char disk[4096];

    snprintf(disk, sizeof(disk), "%s/%s.disk", driver->config->shared_dir, c->guest);
    if (access(driver->config->shared_dir, R_OK | W_OK | X_OK) < 0)
        problem(c, "storage", driver->config->shared_dir);
    else if (access(disk, R_OK | W_OK) < 0 && errno != ENOENT) /* else it is made */
        problem(c, "disk", disk);
    if (access(driver->program, X_OK) < 0)
        problem(c, "program", driver->program);
}

static int on_soon(sd_event_source *source, void *user)
{
    struct check *c = user;

    (void)source;
    c->done(c->user, c->guest, c->text[0] == '\0', c->text);
    free(c);
    return 0;
}

/* The answer of a check that a freed driver began still comes: it needs nothing of it. */
int xvm_process_check(struct xvm_driver *driver, const char *guest,
                      void (*done)(void *user, const char *guest, bool fit, const char *text),
                      void *user)
{
    struct check *c = calloc(1, sizeof(*c));
    sd_event_source *soon;
    int r;

    if (c == NULL)
        return -ENOMEM;
    c->done = done;
    c->user = user;
    snprintf(c->guest, sizeof(c->guest), "%s", guest);
    look(c, driver);
    r = sd_event_add_defer(driver->loop, &soon, on_soon, c);
    if (r >= 0)
        r = sd_event_source_set_floating(soon, 1);
    if (r < 0) {
        free(c);
        return r;
    }
    sd_event_source_unref(soon); /* the loop holds it, and lets go of it with the last call */
    return 0;
}
