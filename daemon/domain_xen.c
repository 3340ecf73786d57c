/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connections to libxl and xenstore: libxl's words, waiting for its operations, the tags. */
#include "domain.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AO_EVENT = 1, POLL_MAX = 64 };

/* ------------------------------------------------------------------------------ libxl's words */

/* "libxl_create.c:1206:initiate_domain_create: Domain 3:reason" is for libxl's developers up to the
 * function's name. */
static const char *without_place(const char *text)
{
    const char *file = strstr(text, ".c:"), *end = file ? strstr(file, ": ") : NULL;
    return end && file < text + 40 ? end + 2 : text;
}

static void add_words(struct domain_logger *log, const char *text)
{
    size_t n = strlen(log->words), len = strcspn(text, "\n");
    if (!len || n + len + 3 > sizeof(log->words) || strstr(log->words, text))
        return;
    snprintf(log->words + n, sizeof(log->words) - n, "%s%.*s", n ? "; " : "", (int)len, text);
}

static void on_message(xentoollog_logger *logger, xentoollog_level level, int errnoval,
                       const char *context, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));

static void on_message(xentoollog_logger *logger, xentoollog_level level, int errnoval,
                       const char *context, const char *format, va_list args)
{
    struct domain_logger *log = (struct domain_logger *)logger;
    char text[512];
    vsnprintf(text, sizeof(text), format, args);
    if (log->file >= 0)
        dprintf(log->file, "%s: %s: %s%s%s\n", context ? context : "libxl",
                xtl_level_to_string(level), text, errnoval >= 0 ? ": " : "",
                errnoval >= 0 ? strerror(errnoval) : "");
    if (level < XTL_ERROR)
        return;
    const char *what = without_place(text);
    char line[600];
    snprintf(line, sizeof(line), "%s%s%s", what, errnoval >= 0 ? ": " : "",
             errnoval >= 0 ? strerror(errnoval) : "");
    add_words(log, line);
}

/* Passes over the guest's memory are told as progress of "Frames iteration N". */
static void on_progress(xentoollog_logger *logger, const char *context, const char *what,
                        int percent, unsigned long done, unsigned long total)
{
    struct domain_logger *log = (struct domain_logger *)logger;
    const char *round = what ? strstr(what, "iteration ") : NULL;
    (void)context;
    (void)percent;
    if (log->progress < 0)
        return;
    if (round)
        log->round = (unsigned)strtoul(round + 10, NULL, 10) + 1;
    if (!log->round || !total || done > total)
        return;
    /* The first pass counts the holes of the guest's address space, too. */
    uint64_t pages_kib = (uint64_t)total * 4;
    uint64_t all_kib = pages_kib < log->memory_kib ? pages_kib : log->memory_kib;
    dprintf(log->progress, "round %u %" PRIu64 "\n", log->round,
            (uint64_t)(total - done) * all_kib / total);
}

static void on_destroy(xentoollog_logger *logger)
{
    (void)logger; /* part of the worker */
}

void domain_forget_words(struct domain_worker *w)
{
    w->logger.words[0] = '\0';
}

/* ---------------------------------------------------------------------------- the connections */

int domain_open_xen(struct domain_worker *w)
{
    w->logger.vtable.vmessage = on_message;
    w->logger.vtable.progress = on_progress;
    w->logger.vtable.destroy = on_destroy;
    if (libxl_ctx_alloc(&w->xl, LIBXL_VERSION, 0, &w->logger.vtable) != 0) {
        add_words(&w->logger, "libxl cannot be used here: is this Domain-0 of a Xen host?");
        return -1;
    }
    w->xs = xs_open(0);
    if (w->xs)
        return 0;
    add_words(&w->logger, "xenstored does not answer");
    return -1;
}

void domain_close_xen(struct domain_worker *w)
{
    if (w->xs)
        xs_close(w->xs);
    if (w->xl)
        libxl_ctx_free(w->xl);
    w->xs = NULL;
    w->xl = NULL;
}

/* ----------------------------------------------------------------------------------- waiting */

libxl_asyncop_how domain_ao_how(void)
{
    libxl_asyncop_how how = {.callback = NULL, .u = {.for_event = AO_EVENT}};
    return how;
}

/* libxl's own events; 1: the operation is complete, its code in *ret_rc. */
static int look(struct domain_worker *w, int *ret_rc)
{
    libxl_event *event = NULL;
    int complete = 0;
    while (!complete && libxl_event_check(w->xl, &event, LIBXL_EVENTMASK_ALL, NULL, NULL) == 0) {
        if (event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE && event->for_user == AO_EVENT) {
            *ret_rc = event->u.operation_complete.rc;
            complete = 1;
        }
        libxl_event_free(w->xl, event);
    }
    return complete;
}

int domain_ao_wait(struct domain_worker *w, const libxl_asyncop_how *how)
{
    bool aborted = false;
    int rc = ERROR_FAIL;
    while (!look(w, &rc)) {
        struct pollfd fds[POLL_MAX + 1];
        struct timeval now;
        int nfds = POLL_MAX, timeout = -1;
        gettimeofday(&now, NULL);
        if (libxl_osevent_beforepoll(w->xl, &nfds, fds, &timeout, now) != 0)
            abort(); /* more descriptors than libxl ever has */
        fds[nfds] = (struct pollfd){.fd = aborted ? -1 : domain_cancel_fd(), .events = POLLIN};
        int r = poll(fds, (nfds_t)nfds + 1, timeout);
        if (r < 0 && errno != EINTR)
            abort();
        gettimeofday(&now, NULL);
        if (r >= 0)
            libxl_osevent_afterpoll(w->xl, nfds, fds, now);
        if (domain_cancelled() && !aborted) {
            aborted = true;
            (void)libxl_ao_abort(w->xl, how);
        }
    }
    return rc;
}

/* ---------------------------------------------------------------------------------- xenstore */

char *domain_xs_read(struct xs_handle *xs, uint32_t domid, const char *key)
{
    char path[128];
    unsigned len;
    snprintf(path, sizeof(path), "/local/domain/%" PRIu32 "/%s", domid, key);
    errno = 0;
    return xs_read(xs, XBT_NULL, path, &len);
}

static bool put(struct domain_worker *w, xs_transaction_t t, uint32_t domid, const char *key,
                const char *value)
{
    char path[128];
    snprintf(path, sizeof(path), "/local/domain/%" PRIu32 "/" XVM_TAG "/%s", domid, key);
    return xs_write(w->xs, t, path, value, (unsigned)strlen(value));
}

static bool put_number(struct domain_worker *w, xs_transaction_t t, uint32_t domid, const char *key,
                       uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    return put(w, t, domid, key, text);
}

int domain_tag_write(struct domain_worker *w, uint32_t domid, uint64_t inc, uint64_t mig)
{
    char path[64];
    snprintf(path, sizeof(path), "/local/domain/%" PRIu32, domid);
    for (;;) {
        unsigned len;
        xs_transaction_t t = xs_transaction_start(w->xs);
        if (t == XBT_NULL)
            return -errno;
        /* Not for a domain that is gone: nobody would ever remove it. */
        char *there = xs_read(w->xs, t, path, &len);
        bool ok = there && put(w, t, domid, "guest", w->options->name) &&
                  put_number(w, t, domid, "inc", inc) && put_number(w, t, domid, "mig", mig);
        int e = errno;
        free(there);
        if (xs_transaction_end(w->xs, t, !ok))
            return ok ? 0 : -(e ? e : EIO);
        if (errno != EAGAIN)
            return -errno;
    }
}
