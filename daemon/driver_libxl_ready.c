/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workers that wait. A guest that moves stands still from its suspension until it is let run, so
 * the worker that does that is started when the copy begins to come in, and connects to Xen
 * meanwhile. It holds no lock and does nothing until it is told to; when the daemon goes, it goes.
 * Whatever is wrong with it, an ordinary worker takes its place. */
#include "driver_libxl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 120 * 1000 }; /* after the copy must have come in */

struct xvm_ready {
    struct xvm_ready *next;
    struct xvm_driver *driver;
    char guest[HA_NAME_MAX];
    uint64_t inc;
    struct xvm_child *child; /* NULL: an operation has it */
    int go;                  /* what it waits for comes through this; -1: has come, or never will */
    struct xvm_op *op;       /* whose worker it is by now */
};

static void destroy(struct xvm_ready *ready)
{
    xvm_child_free(ready->child);
    if (ready->go >= 0)
        close(ready->go);
    free(ready);
}

static void ready_free(struct xvm_ready *ready)
{
    struct xvm_ready **at = &ready->driver->ready_workers;
    while (*at != ready)
        at = &(*at)->next;
    *at = ready->next;
    destroy(ready);
}

static void on_line(void *user, const char *line)
{
    struct xvm_ready *ready = user;
    if (ready->op)
        xvm_libxl_on_line(ready->op, line);
}

static void on_end(void *user, const struct xvm_child_end *end)
{
    struct xvm_ready *ready = user;
    struct xvm_op *op = ready->op;
    ready->child = NULL;
    ready_free(ready);
    if (op)
        xvm_libxl_on_worker(op, end);
}

static struct xvm_ready *find(struct xvm_driver *driver, const char *guest)
{
    struct xvm_ready *ready = driver->ready_workers;
    while (ready && (ready->go < 0 || strcmp(ready->guest, guest) != 0))
        ready = ready->next;
    return ready;
}

/* Its end frees it. */
static void send_away(struct xvm_ready *ready)
{
    close(ready->go);
    ready->go = -1;
    xvm_child_kill(ready->child);
}

void xvm_libxl_ready_drop(struct xvm_driver *driver, const char *guest)
{
    struct xvm_ready *ready;
    while ((ready = find(driver, guest)))
        send_away(ready);
}

void xvm_libxl_ready_begin(const struct xvm_op *receive, ha_ms timeout_ms)
{
    struct xvm_driver *driver = receive->driver;
    struct xvm_op unpause = *receive;
    int pair[2];
    xvm_libxl_ready_drop(driver, receive->guest);
    struct xvm_ready *ready = calloc(1, sizeof(*ready));
    if (!ready)
        return; /* then it takes a little longer */
    ready->driver = driver;
    ready->inc = receive->inc;
    ready->go = -1;
    memcpy(ready->guest, receive->guest, sizeof(ready->guest));
    ready->next = driver->ready_workers;
    driver->ready_workers = ready;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        ready_free(ready);
        return;
    }
    ready->go = pair[0];
    unpause.what = HA_OP_UNPAUSE;
    unpause.stream = unpause.progress = -1;
    int r = xvm_libxl_worker(&unpause, timeout_ms + PATIENCE_MS, pair[1], on_line, on_end, ready,
                             &ready->child);
    close(pair[1]);
    if (r < 0)
        ready_free(ready);
}

bool xvm_libxl_ready_take(struct xvm_op *unpause, ha_ms timeout_ms)
{
    struct xvm_ready *ready = find(unpause->driver, unpause->guest);
    char word[64];
    if (!ready || ready->inc != unpause->inc)
        return false;
    int n = snprintf(word, sizeof(word), "%" PRId64 " %" PRId64 "\n",
                     unpause->until > 0 ? unpause->until : 0, timeout_ms);
    if (send(ready->go, word, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n) {
        send_away(ready); /* it has heard nothing, so it has done nothing */
        return false;
    }
    close(ready->go);
    ready->go = -1;
    ready->op = unpause;
    unpause->child = ready->child;
    ready->child = NULL;
    (void)xvm_child_limit(unpause->child, timeout_ms);
    return true;
}

/* The operations have let go of theirs by now. */
void xvm_libxl_ready_close(struct xvm_driver *driver)
{
    for (struct xvm_ready *ready = driver->ready_workers, *next; ready; ready = next) {
        next = ready->next;
        destroy(ready);
    }
    driver->ready_workers = NULL;
}
