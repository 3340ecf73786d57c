/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the daemon, as soon as xenstored tells us, that a domain came, ended or is gone; and now
 * and then that xenstored still answers. Lives until the daemon closes its end. */
#include "domain.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIVE_MS = 5000 };

struct seen {
    uint32_t domid;
    bool ended, dying;
    int reason;
};

struct watcher {
    struct domain_worker w;
    struct seen *v;
    int n;
};

static void tell(const char *event, uint32_t domid, const char *reason)
{
    json_t *json = json_pack("{s:s}", "event", event);
    if (json && domid)
        json_object_set_new(json, "domid", json_integer((json_int_t)domid));
    if (json && reason)
        json_object_set_new(json, "reason", json_string(reason));
    domain_print(json);
}

static const struct seen *find(const struct watcher *t, uint32_t domid)
{
    for (int i = 0; i < t->n; i++)
        if (t->v[i].domid == domid)
            return &t->v[i];
    return NULL;
}

static const char *reason_name(int reason)
{
    switch (reason) {
    case LIBXL_SHUTDOWN_REASON_POWEROFF:
        return xvm_domain_end_name(XVM_END_POWEROFF);
    case LIBXL_SHUTDOWN_REASON_REBOOT:
        return xvm_domain_end_name(XVM_END_REBOOT);
    case LIBXL_SHUTDOWN_REASON_SUSPEND:
        return xvm_domain_end_name(XVM_END_SUSPEND);
    case LIBXL_SHUTDOWN_REASON_CRASH:
        return xvm_domain_end_name(XVM_END_CRASH);
    case LIBXL_SHUTDOWN_REASON_WATCHDOG:
        return xvm_domain_end_name(XVM_END_WATCHDOG);
    case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
        return xvm_domain_end_name(XVM_END_SOFT_RESET);
    default:
        return xvm_domain_end_name(XVM_END_UNKNOWN);
    }
}

/* Compares the hypervisor's list with the one before. It is asked itself, not xenstore. */
static int compare(struct watcher *t)
{
    int n = 0;
    libxl_dominfo *info = libxl_list_domain(t->w.xl, &n);
    struct seen *now = info ? calloc((size_t)n + 1, sizeof(*now)) : NULL;
    for (int i = 0; now && i < n; i++) {
        now[i] = (struct seen){.domid = info[i].domid,
                               .ended = info[i].shutdown,
                               .dying = info[i].dying,
                               .reason = info[i].shutdown ? (int)info[i].shutdown_reason : 0};
        const struct seen *old = find(t, now[i].domid);
        if (now[i].ended && (!old || !old->ended))
            tell("ended", now[i].domid, reason_name(now[i].reason));
        else if (!old || old->dying != now[i].dying || old->ended != now[i].ended)
            tell("changed", now[i].domid, NULL);
    }
    if (info)
        libxl_dominfo_list_free(info, n);
    if (!now)
        return -EIO;
    for (int i = 0; i < t->n; i++) {
        bool there = false;
        for (int k = 0; k < n && !there; k++)
            there = now[k].domid == t->v[i].domid;
        if (!there)
            tell("gone", t->v[i].domid, NULL);
    }
    free(t->v);
    t->v = now;
    t->n = n;
    return 0;
}

/* A round trip to xenstored. */
static int alive(struct watcher *t)
{
    char *domid = domain_xs_read(t->w.xs, 0, "domid");
    if (!domid && errno != ENOENT)
        return -EIO;
    free(domid);
    tell("alive", 0, NULL);
    return 0;
}

static int loop(struct watcher *t)
{
    ha_ms next = 0;
    for (;;) {
        struct pollfd fds[2] = {{.fd = xs_fileno(t->w.xs), .events = POLLIN},
                                {.fd = STDOUT_FILENO, .events = 0}};
        ha_ms now = xvm_boot_ms();
        if (now >= next) {
            int r = compare(t); /* should a watch ever have been missed */
            if (!r)
                r = alive(t);
            if (r < 0)
                return r;
            next = now + ALIVE_MS;
        }
        int n = poll(fds, 2, (int)(next - now));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && (fds[1].revents & (POLLERR | POLLHUP)))
            return 0; /* the daemon has gone */
        char **event;
        bool any = false;
        while (n > 0 && (event = xs_check_watch(t->w.xs))) {
            free(event);
            any = true;
        }
        int r = any ? compare(t) : 0;
        if (r < 0)
            return r;
    }
}

int domain_watch(const struct domain_options *options)
{
    struct watcher t = {.w = {.options = options, .logger = {.file = -1, .progress = -1}}};
    if (domain_open_xen(&t.w) < 0)
        return domain_say_words(&t.w, XVM_WORKER_UNKNOWN, "no connection to Xen");
    int r = xs_watch(t.w.xs, "@introduceDomain", "come") && xs_watch(t.w.xs, "@releaseDomain", "go")
                ? 0
                : -errno;
    if (!r)
        r = loop(&t);
    int code = domain_say_words(&t.w, XVM_WORKER_UNKNOWN, "the watch ends (%s)", strerror(-r));
    domain_close_xen(&t.w);
    free(t.v);
    return code;
}
