/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guests' processes: each watched through a pidfd, since they are nobody's children, and its
 * end reported once, with the reason that it left behind. */
#include "driver_process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int on_exit_ready(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_watch *watch = user;
    (void)fd, (void)revents;
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    xvm_process_look_soon(watch->driver);
    return 0;
}

static void stop_watching(struct xvm_watch *watch)
{
    watch->on_exit = sd_event_source_disable_unref(watch->on_exit);
    if (watch->pidfd >= 0)
        close(watch->pidfd);
    watch->pidfd = -1;
}

static struct xvm_watch *find(struct xvm_driver *driver, const char *guest)
{
    for (struct xvm_watch *w = driver->watches; w; w = w->next)
        if (!strcmp(w->guest, guest))
            return w;
    return NULL;
}

static struct xvm_watch *add(struct xvm_driver *driver, const struct xvm_seen *seen)
{
    struct xvm_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    memcpy(w->guest, seen->guest, sizeof(w->guest));
    w->driver = driver;
    w->state = seen->state;
    w->pidfd = -1;
    w->next = driver->watches;
    driver->watches = w;
    return w;
}

static void ended(struct xvm_watch *watch, enum ha_exit how)
{
    struct xvm_driver *driver = watch->driver;
    stop_watching(watch);
    if (watch->reported)
        return;
    watch->reported = true;
    if (!watch->expected)
        driver->sink->exited(driver->user, watch->guest, watch->state.inc, how);
}

/* What a dead process left is removed, unless a worker is at it: then that one does. */
static void clear_dead(struct xvm_driver *driver, const struct xvm_seen *seen)
{
    int dir = xvm_guest_open(driver->guests_fd, seen->guest);
    int lock = dir < 0 ? -1 : xvm_lock_open(dir, "lock");
    if (lock >= 0 && xvm_lock_try(lock) == 0) {
        struct xvm_guest_state state;
        if (xvm_lock_held_at(dir, "alive") == 0 && xvm_state_read(dir, &state) == 0 &&
            state.nonce == seen->state.nonce)
            xvm_state_clear(dir);
    }
    if (lock >= 0)
        close(lock);
    if (dir >= 0)
        close(dir);
}

static enum ha_exit reason(struct xvm_driver *driver, const struct xvm_watch *watch)
{
    int dir = xvm_guest_open(driver->guests_fd, watch->guest);
    enum ha_exit how = dir < 0 ? HA_EXIT_UNKNOWN : xvm_exit_read(dir, watch->state.nonce);
    if (dir >= 0)
        close(dir);
    return how;
}

static int watch_process(struct xvm_watch *watch)
{
    watch->pidfd = xvm_pidfd_of(watch->state.pid, watch->state.start);
    if (watch->pidfd < 0) {
        int r = watch->pidfd;
        watch->pidfd = -1;
        return r == -ESRCH ? -EAGAIN : r; /* it has just ended: the next look sees that */
    }
    return sd_event_add_io(watch->driver->loop, &watch->on_exit, watch->pidfd, EPOLLIN,
                           on_exit_ready, watch);
}

static int compare(struct xvm_driver *driver, const struct xvm_seen *seen)
{
    struct xvm_watch *watch = find(driver, seen->guest);
    if (watch && watch->state.nonce != seen->state.nonce) {
        /* Another life: the earlier one ended and was cleaned up before we came to look. */
        ended(watch, HA_EXIT_KILLED);
        watch->reported = watch->expected = false;
    }
    if (!watch && !(watch = add(driver, seen)))
        return -ENOMEM;
    watch->stale = false;
    watch->state = seen->state;
    if (!seen->alive) {
        /* A worker of an earlier daemon may be at a destroy just as well. */
        if (seen->worker && seen->holder.op == HA_OP_DESTROY)
            watch->expected = true;
        ended(watch, reason(driver, watch));
        clear_dead(driver, seen);
        return 0;
    }
    return watch->pidfd < 0 ? watch_process(watch) : 0;
}

static void drop_stale(struct xvm_driver *driver)
{
    for (struct xvm_watch **at = &driver->watches; *at;) {
        struct xvm_watch *watch = *at;
        if (!watch->stale) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        ended(watch, HA_EXIT_KILLED);
        free(watch);
    }
}

int xvm_process_watch(struct xvm_driver *driver, const struct xvm_scan *scan)
{
    int r = 0;
    for (struct xvm_watch *w = driver->watches; w; w = w->next)
        w->stale = true;
    for (size_t i = 0; i < scan->n; i++) {
        if (!scan->v[i].has_state)
            continue;
        int one = compare(driver, &scan->v[i]);
        if (one < 0 && r >= 0)
            r = one;
    }
    drop_stale(driver);
    return r < 0 ? r : 0;
}

void xvm_process_unwatch_all(struct xvm_driver *driver)
{
    while (driver->watches) {
        struct xvm_watch *watch = driver->watches;
        driver->watches = watch->next;
        stop_watching(watch);
        free(watch);
    }
}

void xvm_process_expect(struct xvm_driver *driver, const char *guest, uint64_t inc, bool expected)
{
    struct xvm_watch *watch = find(driver, guest);
    if (watch && (!inc || watch->state.inc == inc))
        watch->expected = expected;
}
