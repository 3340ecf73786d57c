/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The libxl driver's picture of this host: what `xvm-ha-domain list` prints, joined with the
 * guests' directories, which tell what workers are at and what domains were before they lost their
 * tags. */
#include "driver_libxl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOOK_TIMEOUT_MS = 45 * 1000, /* a look that takes longer says nothing: xenstored hangs */
    OLD_WORKERS_MS = 100,        /* how often an earlier daemon's workers are looked for */
    UNKNOWN_RETRY_MS = 2000,
    SAY_AGAIN_MS = 60 * 1000, /* that nothing is known */
    BLIND_MS = 5000,          /* looks while nobody watches for ends */
    DYING_MS = 500,           /* looks while something is on its way out */
    LATER_MS = 5000,          /* what is here is known, unless that changes */
};

/* ------------------------------------------------------------------------- the directories */

static int read_place(int guests_fd, const char *name, struct xvm_place *place)
{
    int dir = openat(guests_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return errno == ENOTDIR || errno == ENOENT || errno == ELOOP ? 0 : -errno;
    memcpy(place->guest, name, strnlen(name, sizeof(place->guest) - 1));
    int worker = xvm_lock_held_at(dir, "lock");
    if (worker == 1 && xvm_holder_read(dir, &place->holder) < 0)
        place->holder = (struct xvm_guest_holder){0};
    place->worker = worker == 1;
    place->has_record = xvm_record_read(dir, &place->record) == 0;
    close(dir);
    return worker < 0 ? worker : 0;
}

static struct xvm_place *grow(struct xvm_places *places)
{
    if (places->n == places->size) {
        size_t size = places->size ? 2 * places->size : 16;
        struct xvm_place *v = reallocarray(places->v, size, sizeof(*v));
        if (!v)
            return NULL;
        places->v = v;
        places->size = size;
    }
    memset(&places->v[places->n], 0, sizeof(*places->v));
    return &places->v[places->n];
}

static int read_places(int guests_fd, struct xvm_places *ret_places)
{
    struct xvm_places places = {0};
    int fd = openat(guests_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int e = errno, r = dir ? 0 : e > 0 ? -e : -EIO;
    const struct dirent *one;
    while (dir && !r && (one = readdir(dir))) {
        struct xvm_place *place = xvm_guest_name_ok(one->d_name) ? grow(&places) : NULL;
        if (!place) {
            r = xvm_guest_name_ok(one->d_name) ? -ENOMEM : 0;
            continue;
        }
        r = read_place(guests_fd, one->d_name, place);
        if (place->worker || place->has_record)
            places.n++;
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    if (r < 0) {
        free(places.v);
        return r;
    }
    *ret_places = places;
    return 0;
}

static const struct xvm_place *find_place(const struct xvm_places *places, const char *guest)
{
    for (size_t i = 0; i < places->n; i++)
        if (!strcmp(places->v[i].guest, guest))
            return &places->v[i];
    return NULL;
}

/* Workers that are not ours: an earlier daemon's. Until they have ended they may change everything:
 * no word before that, and no worker of ours, except for destroys, which wait for nobody. */
static bool old_workers(const struct xvm_driver *driver, const struct xvm_places *places)
{
    for (size_t i = 0; i < places->n; i++)
        if (places->v[i].worker && !xvm_ops_of(&driver->ops, places->v[i].guest))
            return true;
    return false;
}

/* --------------------------------------------------------------------------------- whose it is */

static bool is_of(const struct xvm_domain *d, const struct xvm_known *base,
                  const struct xvm_place *place, uint64_t *ret_inc, uint64_t *ret_mig)
{
    struct xvm_known known = *base;
    known.has_record = place && place->has_record;
    if (known.has_record)
        known.record = place->record;
    return xvm_domain_is(d, &known, ret_inc, ret_mig);
}

/* The guest of a domain; false: none of ours. A tagged one is ours even if the configuration does
 * not know it (any more). */
static bool guest_of(const struct xvm_driver *driver, const struct xvm_places *places,
                     const struct xvm_domain *d, char guest[static HA_NAME_MAX], uint64_t *ret_inc,
                     uint64_t *ret_mig)
{
    struct xvm_known unknown = {0};
    if (d->guest[0]) {
        if (!xvm_guest_name_ok(d->guest))
            return false;
        memcpy(guest, d->guest, sizeof(d->guest));
        *ret_inc = d->inc;
        *ret_mig = d->mig;
        return true;
    }
    /* What was written down is more certain than names. */
    for (size_t i = 0; i < places->n; i++) {
        memcpy(unknown.guest, places->v[i].guest, sizeof(unknown.guest));
        const struct xvm_known *known = xvm_libxl_known(driver, places->v[i].guest);
        if (!is_of(d, known ? known : &unknown, &places->v[i], ret_inc, ret_mig))
            continue;
        memcpy(guest, places->v[i].guest, sizeof(places->v[i].guest));
        return true;
    }
    for (size_t i = 0; i < driver->nknown; i++) {
        if (!is_of(d, &driver->known[i], NULL, ret_inc, ret_mig))
            continue;
        memcpy(guest, driver->known[i].guest, sizeof(driver->known[i].guest));
        return true;
    }
    return false;
}

/* --------------------------------------------------------------------------------- the report */

/* A guest without a domain. What a worker is building counts as a paused copy of what it will be,
 * and what it is clearing away as dying: a copy is listed as long as any part of it is left. */
static struct ha_copy copy_of_worker(const char *guest, enum ha_op op, uint64_t inc, uint64_t mig)
{
    bool building = op == HA_OP_CREATE || op == HA_OP_RECEIVE;
    struct ha_copy copy = {
        .inc = inc,
        .mig = op == HA_OP_RECEIVE ? mig : 0,
        .state = building ? HA_COPY_PAUSED : HA_COPY_DYING,
        .worker = true,
    };
    memcpy(copy.guest, guest, strnlen(guest, sizeof(copy.guest) - 1));
    return copy;
}

/* What is most urgent first: the core looks at one copy of a guest at a time. */
static int by_urgency(const void *a, const void *b)
{
    static const int rank[] = {
        [HA_COPY_RUNNING] = 0, [HA_COPY_SUSPENDED] = 1, [HA_COPY_PAUSED] = 2, [HA_COPY_DYING] = 3};
    const struct ha_copy *x = a, *y = b;
    return rank[x->state] - rank[y->state];
}

struct report {
    struct ha_copy *copies;
    size_t n;
    bool dying; /* something is on its way out: look again */
};

static void add_domain(struct xvm_driver *driver, const struct xvm_places *places,
                       struct xvm_domain *d, struct report *report)
{
    char guest[HA_NAME_MAX] = "";
    uint64_t inc = 0, mig = 0;
    if (!guest_of(driver, places, d, guest, &inc, &mig))
        return;
    const struct xvm_place *before = find_place(&driver->look.before, guest),
                           *after = find_place(places, guest);
    bool worker =
        xvm_ops_of(&driver->ops, guest) || (before && before->worker) || (after && after->worker);
    /* A destroy that did not come to its end is taken up again. */
    if (after && after->has_record && after->record.ending && after->record.domid == d->domid &&
        d->paused)
        d->dying = true;
    enum ha_copy_state state = xvm_domain_state(d);
    struct ha_copy *copy = &report->copies[report->n++];
    *copy = (struct ha_copy){
        .inc = inc,
        /* One that runs again after a move that came to nothing keeps the id until the next one. */
        .mig = state == HA_COPY_RUNNING ? 0 : mig,
        .state = state,
        .worker = worker,
        .backends = d->writers || !d->gone,
    };
    memcpy(copy->guest, guest, sizeof(guest));
    report->dying |= state == HA_COPY_DYING;
    xvm_libxl_follow(driver, d, guest, inc, worker);
}

static bool is_listed(const struct report *report, const char *guest)
{
    for (size_t i = 0; i < report->n; i++)
        if (!strcmp(report->copies[i].guest, guest))
            return true;
    return false;
}

static int tell(struct xvm_driver *driver, const struct xvm_places *places, bool *ret_dying)
{
    const struct xvm_look *look = &driver->look;
    struct report report = {0};
    size_t nops = 0;
    for (const struct xvm_op *op = driver->ops.first; op; op = op->next)
        nops++;
    report.copies = calloc(look->ndomains + places->n + nops + 1, sizeof(*report.copies));
    if (!report.copies)
        return -ENOMEM;
    xvm_libxl_follow_begin(driver);
    for (size_t i = 0; i < look->ndomains; i++)
        add_domain(driver, places, &look->domains[i], &report);
    xvm_libxl_follow_end(driver);
    /* Workers so young, or so far, that there is no domain. */
    for (const struct xvm_op *op = driver->ops.first; op; op = op->next)
        if (op->child && !is_listed(&report, op->guest))
            report.copies[report.n++] = copy_of_worker(op->guest, op->what, op->inc, op->mig);
    for (size_t i = 0; i < places->n; i++) {
        const struct xvm_place *p = &places->v[i];
        if (p->worker && !is_listed(&report, p->guest))
            report.copies[report.n++] =
                copy_of_worker(p->guest, p->holder.op, p->holder.inc, p->holder.mig);
    }
    qsort(report.copies, report.n, sizeof(*report.copies), by_urgency);
    driver->sink->inventory(driver->user, true, report.copies, report.n, look->memory_kib,
                            look->began);
    free(report.copies);
    *ret_dying = report.dying;
    return 0;
}

/* ----------------------------------------------------------------------------------- a look */

static void retry_in(struct xvm_driver *driver, ha_ms ms)
{
    (void)sd_event_source_set_time_relative(driver->on_retry, (uint64_t)ms * 1000);
    (void)sd_event_source_set_enabled(driver->on_retry, SD_EVENT_ONESHOT);
}

static void forget(struct xvm_look *look)
{
    free(look->before.v);
    free(look->domains);
    *look = (struct xvm_look){.again = look->again};
}

void xvm_libxl_unknown(struct xvm_driver *driver, const char *why)
{
    ha_ms now = xvm_boot_ms();
    if (!driver->said_unknown || now >= driver->said_unknown + SAY_AGAIN_MS) {
        driver->said_unknown = now;
        xvm_libxl_say(driver, HA_SEV_WARNING, NULL, "cannot tell what runs here: %s", why);
    }
    driver->sink->inventory(driver->user, false, NULL, 0, 0, 0);
    retry_in(driver, UNKNOWN_RETRY_MS);
}

static int add_seen(struct xvm_look *look, const json_t *json)
{
    if (look->ndomains == look->size) {
        size_t size = look->size ? 2 * look->size : 32;
        struct xvm_domain *v = reallocarray(look->domains, size, sizeof(*v));
        if (!v)
            return -ENOMEM;
        look->domains = v;
        look->size = size;
    }
    int r = xvm_domain_parse(json, &look->domains[look->ndomains]);
    look->ndomains += r == 0;
    return r;
}

static int read_host(struct xvm_driver *driver, json_t *json)
{
    json_int_t memory;
    int hap, shadow;
    if (json_unpack(json, "{s:I, s:b, s:b}", "memory_kib", &memory, "hap", &hap, "shadow",
                    &shadow) < 0 ||
        memory < 0)
        return -EBADMSG;
    driver->look.memory_kib = (uint64_t)memory;
    driver->look.has_host = true;
    driver->hap = hap;
    driver->shadow = shadow;
    return 0;
}

static void on_line(void *user, const char *line)
{
    struct xvm_driver *driver = user;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *inner;
    int r = json_is_object(json) ? 0 : -EBADMSG;
    if (!r && (inner = json_object_get(json, "domain")))
        r = add_seen(&driver->look, inner);
    else if (!r && (inner = json_object_get(json, "host")))
        r = read_host(driver, inner);
    if (r < 0)
        driver->look.bad = true;
    json_decref(json);
}

static bool complete(const struct xvm_driver *driver, const struct xvm_child_end *end,
                     char why[static HA_TEXT_MAX])
{
    if (end->how == XVM_CHILD_TIMED_OUT)
        snprintf(why, HA_TEXT_MAX,
                 "Xen was asked and did not answer in time (does xenstored "
                 "hang?)");
    else if (end->how == XVM_CHILD_NOT_STARTED)
        snprintf(why, HA_TEXT_MAX, "cannot run %.100s: %s", driver->program, strerror(end->code));
    else if (end->how == XVM_CHILD_SIGNALED)
        snprintf(why, HA_TEXT_MAX, "who asked was ended by signal %d", end->code);
    else if (end->code != XVM_WORKER_OK)
        xvm_child_sanitise(end->out[0] ? end->out : end->err, why, HA_TEXT_MAX);
    else if (driver->look.bad || !driver->look.has_host)
        snprintf(why, HA_TEXT_MAX, "%.100s talks nonsense: is it of another version?",
                 driver->program);
    else
        return true;
    return false;
}

static void on_seen(void *user, const struct xvm_child_end *end)
{
    struct xvm_driver *driver = user;
    struct xvm_places places = {0};
    char why[HA_TEXT_MAX];
    bool dying = false;
    driver->look.child = NULL;
    int r = 0;
    if (!complete(driver, end, why)) {
        xvm_libxl_unknown(driver, why);
    } else {
        driver->said_unknown = 0;
        r = read_places(driver->guests_fd, &places);
        if (!r)
            r = tell(driver, &places, &dying);
        if (!driver->seen) {
            driver->seen = true;
            xvm_libxl_define_all(driver);
        }
        if (r < 0)
            xvm_libxl_unknown(driver, strerror(-r));
        else if (old_workers(driver, &places)) /* nobody tells when they let go */
            retry_in(driver, OLD_WORKERS_MS);
        else if (dying)
            retry_in(driver, DYING_MS);
        else if (!driver->watcher.works)
            retry_in(driver, BLIND_MS);
    }
    free(places.v);
    forget(&driver->look);
    if (driver->look.again)
        xvm_libxl_look_soon(driver);
    driver->look.again = false;
}

static int begin(struct xvm_driver *driver)
{
    struct xvm_look *look = &driver->look;
    const char *const argv[] = {"xvm-ha-domain", "list",          "--host", driver->host_name,
                                "--run",         driver->run_dir, NULL};
    look->began = xvm_boot_ms();
    int r = read_places(driver->guests_fd, &look->before);
    if (r < 0)
        return r;
    if (!driver->ready && old_workers(driver, &look->before)) {
        retry_in(driver, OLD_WORKERS_MS);
        forget(look);
        return 0;
    }
    if (!driver->ready)
        xvm_libxl_become_ready(driver);
    return xvm_libxl_run(driver, (char *const *)argv, LOOK_TIMEOUT_MS, on_line, on_seen, driver,
                         &look->child);
}

static void look_now(struct xvm_driver *driver)
{
    if (driver->look.child) {
        driver->look.again = true;
        return;
    }
    int r = begin(driver);
    if (r < 0) {
        forget(&driver->look);
        xvm_libxl_unknown(driver, strerror(-r));
    }
}

static int on_look(sd_event_source *source, void *user)
{
    (void)source;
    look_now(user);
    return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source;
    (void)usec;
    look_now(user);
    return 0;
}

void xvm_libxl_look_soon(struct xvm_driver *driver)
{
    (void)sd_event_source_set_enabled(driver->on_look, SD_EVENT_ONESHOT);
}

void xvm_libxl_look_later(struct xvm_driver *driver)
{
    retry_in(driver, LATER_MS);
}

int xvm_libxl_look_open(struct xvm_driver *driver)
{
    int r = sd_event_add_defer(driver->loop, &driver->on_look, on_look, driver);
    if (r >= 0)
        r = sd_event_source_set_enabled(driver->on_look, SD_EVENT_ONESHOT);
    if (r >= 0)
        r = sd_event_add_time_relative(driver->loop, &driver->on_retry, CLOCK_BOOTTIME, 0, 1000,
                                       on_retry, driver);
    if (r >= 0)
        r = sd_event_source_set_enabled(driver->on_retry, SD_EVENT_OFF);
    return r;
}

void xvm_libxl_look_close(struct xvm_driver *driver)
{
    driver->look.child = xvm_child_free(driver->look.child);
    forget(&driver->look);
    driver->on_look = sd_event_source_disable_unref(driver->on_look);
    driver->on_retry = sd_event_source_disable_unref(driver->on_retry);
}
