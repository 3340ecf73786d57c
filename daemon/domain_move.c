/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two ends of a migration. daemon/driver.h says what the ends owe each other; the image itself
 * is: 16 bytes "XVMHA1 LENGTH\n" (LENGTH in 8 hexadecimal digits), a JSON object of that length
 * {"guest", "uuid", "mig", "config"}, and libxl's migration stream, which knows its own end. The
 * configuration is the one that the running domain has, which may differ by now from the guest's
 * definition. */
#include "domain.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "definitions.h"
#include "driver.h"
#include "fd_io.h"
#include "util.h"

#define MAGIC "XVMHA1 "
enum { HEAD = 16 };

/* -------------------------------------------------------------------------------- the channel */

/* Waits until something can be read, or a SIGTERM came. */
static int wait_readable(const struct domain_worker *w)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = w->options->channel, .events = POLLIN},
                                {.fd = domain_cancel_fd(), .events = POLLIN}};
        ha_ms left = w->deadline - xvm_boot_ms();
        if (left <= 0)
            return -ETIMEDOUT;
        int n = poll(fds, 2, left > 60000 ? 60000 : (int)left);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && fds[1].revents)
            return -ECANCELED;
        if (n > 0)
            return 0;
    }
}

static int read_exactly(const struct domain_worker *w, char *data, size_t n)
{
    while (n) {
        int ready = wait_readable(w);
        if (ready < 0)
            return ready;
        ssize_t r = read(w->options->channel, data, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EPIPE;
        data += r;
        n -= (size_t)r;
    }
    return 0;
}

static int read_byte(const struct domain_worker *w, char wanted)
{
    char byte = 0;
    int r = wait_readable(w);
    if (r < 0)
        return r;
    ssize_t n = read(w->options->channel, &byte, 1);
    if (n <= 0)
        return n < 0 ? -errno : -EPIPE;
    return byte == wanted ? 0 : -EBADMSG;
}

static const char *channel_error(int r)
{
    return r == -EPIPE       ? "the other end is gone"
           : r == -ECANCELED ? "cancelled"
           : r == -EBADMSG   ? "the other end talks nonsense"
           : r == -ETIMEDOUT ? "the other end took too long"
                             : strerror(-r);
}

/* --------------------------------------------------------------------------------- the sender */

static int send_head(struct domain_worker *w, const struct xvm_domain *d)
{
    const struct domain_options *o = w->options;
    libxl_domain_config config;
    char uuid[37], mig[24], head[HEAD + 1], *text = NULL, *all = NULL;
    int r = -EIO;
    libxl_domain_config_init(&config);
    if (libxl_retrieve_domain_configuration(w->xl, d->domid, &config, NULL) == 0) {
        domain_config_plain(&config);
        text = libxl_domain_config_to_json(w->xl, &config);
    }
    libxl_domain_config_dispose(&config);
    json_t *inner = text ? json_loads(text, 0, NULL) : NULL;
    snprintf(mig, sizeof(mig), "%" PRIu64, o->mig);
    json_t *json =
        inner ? json_pack("{s:s, s:s, s:s, s:o}", "guest", o->name, "uuid",
                          xvm_domain_uuid_text(&d->uuid, uuid), "mig", mig, "config", inner)
              : NULL;
    all = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (all && strlen(all) <= XVM_DEFINITION_MAX) {
        snprintf(head, sizeof(head), MAGIC "%08zx\n", strlen(all));
        r = xvm_write_all(o->channel, head, HEAD);
        if (!r)
            r = xvm_write_all(o->channel, all, strlen(all));
    }
    json_decref(json);
    free(all);
    free(text);
    return r;
}

/* What became of a domain that was to be suspended. Not running means: perhaps suspended later. */
static bool still_runs(struct domain_worker *w, uint32_t domid)
{
    libxl_dominfo info;
    libxl_dominfo_init(&info);
    bool runs = libxl_domain_info(w->xl, &info, domid) == 0 && !info.shutdown && !info.dying;
    w->logger.memory_kib = info.current_memkb;
    libxl_dominfo_dispose(&info);
    return runs;
}

static int suspend(struct domain_worker *w, const struct xvm_domain *d)
{
    const struct domain_options *o = w->options;
    libxl_asyncop_how how = domain_ao_how();
    int flags = o->kind == HA_MOVE_LIVE ? LIBXL_SUSPEND_LIVE : 0;
    int rc = libxl_domain_suspend(w->xl, d->domid, o->channel, flags, &how);
    return rc ? rc : domain_ao_wait(w, &how);
}

static int send_image(struct domain_worker *w, const struct xvm_domain *d)
{
    int r = send_head(w, d);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "its configuration cannot be sent: %s",
                                channel_error(r));
    /* Before it is suspended: a copy that stands still for a move must say for which. */
    r = domain_tag_write(w, d->domid, w->options->inc, w->options->mig);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "its tag cannot be written: %s",
                                strerror(-r));
    if (!still_runs(w, d->domid))
        return domain_say(w, XVM_WORKER_FAILED, "domain %" PRIu32 " does not run any more",
                          d->domid);
    domain_forget_words(w);
    int rc = suspend(w, d);
    if (rc != 0)
        return domain_say_words(w, still_runs(w, d->domid) ? XVM_WORKER_FAILED : XVM_WORKER_UNKNOWN,
                                "%s (%d)",
                                rc == ERROR_ABORTED ? "cancelled" : "libxl cannot send it", rc);
    r = read_byte(w, XVM_CHANNEL_COMPLETE);
    if (r < 0)
        return domain_say(w, XVM_WORKER_UNKNOWN,
                          "the image is sent, but nobody says that it arrived: %s",
                          channel_error(r));
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " sent", d->domid);
}

int domain_send(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct xvm_domain d;
    uint64_t mig = 0;
    if (!o->mig || o->channel < 0)
        return domain_say(w, XVM_WORKER_FAILED, "a migration needs an id and a channel");
    w->logger.progress = o->progress;
    int r = domain_find(w, o->inc, &d, &mig);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "there is no copy to send (%s)",
                                strerror(-r));
    if (xvm_domain_state(&d) != HA_COPY_RUNNING || d.paused)
        return domain_say(w, XVM_WORKER_FAILED, "domain %" PRIu32 " does not run%s", d.domid,
                          d.paused ? ": somebody has paused it" : "");
    r = read_byte(w, XVM_CHANNEL_READY);
    if (r < 0)
        return domain_say(w, XVM_WORKER_FAILED, "the target is not ready: %s", channel_error(r));
    /* Before the target registers: what is late of an earlier move must not undo that. */
    r = domain_guard_settled(w);
    if (r < 0)
        return domain_say(w, XVM_WORKER_FAILED, "its disks' reservations are not settled yet: %s",
                          strerror(-r));
    return send_image(w, &d);
}

/* ------------------------------------------------------------------------------- the receiver */

/* Whether a copy could be here, without touching the guest. 0, or the code that was said. */
static int may_receive(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct domain_scan scan;
    uint64_t inc, mig;
    size_t i = 0;
    libxl_domain_config config;
    char why[HA_TEXT_MAX];
    int r = domain_scan(w, &scan);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "cannot tell what runs here (%s)",
                                strerror(-r));
    const struct xvm_domain *d = domain_next(w, &scan, &i, &inc, &mig);
    if (d)
        r = domain_say(w, XVM_WORKER_FAILED, "a copy is on this host already: domain %" PRIu32,
                       d->domid);
    domain_scan_done(&scan);
    if (r || !o->definition)
        return r;
    libxl_domain_config_init(&config);
    r = domain_config_read(w, o->definition, &config, why);
    if (r == -ENOENT)
        r = 0; /* the sender sends one */
    else if (!r)
        r = domain_make_room(w, &config, why);
    libxl_domain_config_dispose(&config);
    return r < 0 ? domain_say_words(w, XVM_WORKER_FAILED, "%s", why) : 0;
}

/* The sender's JSON; NULL with *ret_r. */
static json_t *read_head(struct domain_worker *w, int *ret_r)
{
    char head[HEAD + 1] = "";
    unsigned len = 0;
    int end = 0, r = read_exactly(w, head, HEAD);
    if (!r && (sscanf(head, MAGIC "%8x\n%n", &len, &end) != 1 || end != HEAD || !len ||
               len > XVM_DEFINITION_MAX))
        r = -EBADMSG;
    char *text = r < 0 ? NULL : malloc((size_t)len + 1);
    if (!r)
        r = text ? read_exactly(w, text, len) : -ENOMEM;
    json_t *json = r < 0 ? NULL : json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    *ret_r = r < 0 ? r : -EBADMSG;
    return json;
}

/* 0 and *ret_config, or a negative errno. */
static int take_head(struct domain_worker *w, const json_t *json, libxl_domain_config *ret_config)
{
    const struct domain_options *o = w->options;
    const char *guest, *uuid_text, *mig;
    struct ha_uuid uuid;
    char name[XVM_DOMAIN_NAME_MAX];
    json_t *config;
    if (json_unpack((json_t *)json, "{s:s, s:s, s:s, s:o}", "guest", &guest, "uuid", &uuid_text,
                    "mig", &mig, "config", &config) < 0 ||
        strcmp(guest, o->name) != 0 || strtoull(mig, NULL, 10) != o->mig ||
        xvm_uuid_parse(uuid_text, &uuid) < 0)
        return -EBADMSG;
    char *text = json_dumps(config, JSON_COMPACT);
    int rc = text ? libxl_domain_config_from_json(w->xl, ret_config, text) : ERROR_NOMEM;
    free(text);
    if (rc != 0)
        return -EBADMSG;
    snprintf(name, sizeof(name), "%s--incoming-%" PRIu64, o->name, o->mig);
    domain_config_own(ret_config, name, &uuid, o->name, o->inc, o->mig);
    w->known.uuid = uuid;
    return 0;
}

static int restore(struct domain_worker *w, libxl_domain_config *config, uint32_t *ret_domid)
{
    libxl_domain_restore_params params;
    libxl_asyncop_how how = domain_ao_how();
    libxl_domain_restore_params_init(&params);
    params.stream_version = 2;
    int rc = libxl_domain_create_restore(w->xl, config, ret_domid, w->options->channel, -1, &params,
                                         &how, NULL);
    if (rc == 0)
        rc = domain_ao_wait(w, &how);
    libxl_domain_restore_params_dispose(&params);
    return rc;
}

static int receive_image(struct domain_worker *w, libxl_domain_config *config)
{
    const struct domain_options *o = w->options;
    struct xvm_domain_record record = {.uuid = w->known.uuid, .inc = o->inc, .mig = o->mig};
    char why[HA_TEXT_MAX];
    uint32_t domid = 0;
    if (domain_make_room(w, config, why) < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "%s", why);
    int r = xvm_record_write(w->dir, &record);
    if (r < 0)
        return domain_say(w, XVM_WORKER_FAILED, "%s cannot be written: %s", o->run_dir,
                          strerror(-r));
    w->known.record = record;
    w->known.has_record = true;
    if (domain_guard_join(w, config, why) < 0) {
        xvm_record_remove(w->dir);
        return domain_say(w, XVM_WORKER_FAILED, "%s", why);
    }
    const char *stop = domain_must_not_begin(w);
    domain_forget_words(w);
    int rc = stop ? ERROR_ABORTED : restore(w, config, &domid);
    if (rc != 0) {
        int code = domain_clear(w, o->inc);
        return domain_say_words(w, code, "%s (%d)", stop ? stop : "libxl cannot restore it", rc);
    }
    record.domid = domid;
    (void)xvm_record_write(w->dir, &record); /* the tag says the same */
    char complete = XVM_CHANNEL_COMPLETE;
    (void)xvm_write_all(o->channel, &complete, 1); /* if the source is gone, so much the more */
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " received", domid);
}

int domain_receive(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    libxl_domain_config config;
    char ready = XVM_CHANNEL_READY;
    json_t *json = NULL;
    if (!o->mig || !o->inc || o->channel < 0)
        return domain_say(w, XVM_WORKER_FAILED,
                          "a migration needs an id, an incarnation and a channel");
    int r = may_receive(w);
    if (r)
        return r;
    r = xvm_write_all(o->channel, &ready, 1);
    if (!r)
        json = read_head(w, &r);
    if (!json)
        return domain_say(w, XVM_WORKER_FAILED, "no image came: %s", channel_error(r));
    libxl_domain_config_init(&config);
    r = take_head(w, json, &config);
    json_decref(json);
    int code = r < 0 ? domain_say_words(w, XVM_WORKER_FAILED,
                                        "what came is no image of %s and this migration", o->name)
                     : receive_image(w, &config);
    libxl_domain_config_dispose(&config);
    return code;
}
