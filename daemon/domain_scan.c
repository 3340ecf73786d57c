/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks at every domain of the host: what the hypervisor says, the tags in xenstore, and who may
 * still write for a domain that is on its way out. */
#include "domain.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libxl_utils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSFS_BACKENDS "/sys/bus/xen-backend/devices"

enum {
    XENBUS_CONNECTED = 4, /* xen/io/xenbus.h */
    XENBUS_CLOSING = 5,
    XENBUS_CLOSED = 6,
};

/* ------------------------------------------------------------------------------ the domains */

static struct xvm_domain *grow(struct domain_scan *scan)
{
    if (scan->n == scan->size) {
        size_t size = scan->size ? 2 * scan->size : 16;
        struct xvm_domain *v = reallocarray(scan->v, size, sizeof(*v));
        if (!v)
            return NULL;
        scan->v = v;
        scan->size = size;
    }
    memset(&scan->v[scan->n], 0, sizeof(*scan->v));
    return &scan->v[scan->n++];
}

/* The entry of a domain, or a new one for a domain that is gone. NULL: no memory. */
static struct xvm_domain *entry(struct domain_scan *scan, uint32_t domid)
{
    for (size_t i = 0; i < scan->n; i++)
        if (scan->v[i].domid == domid)
            return &scan->v[i];
    struct xvm_domain *d = grow(scan);
    if (d) {
        d->domid = domid;
        d->gone = true;
    }
    return d;
}

static enum xvm_domain_end end_of(const libxl_dominfo *info)
{
    if (!info->shutdown)
        return XVM_END_NONE;
    switch (info->shutdown_reason) {
    case LIBXL_SHUTDOWN_REASON_POWEROFF:
        return XVM_END_POWEROFF;
    case LIBXL_SHUTDOWN_REASON_REBOOT:
        return XVM_END_REBOOT;
    case LIBXL_SHUTDOWN_REASON_SUSPEND:
        return XVM_END_SUSPEND;
    case LIBXL_SHUTDOWN_REASON_CRASH:
        return XVM_END_CRASH;
    case LIBXL_SHUTDOWN_REASON_WATCHDOG:
        return XVM_END_WATCHDOG;
    case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
        return XVM_END_SOFT_RESET;
    case LIBXL_SHUTDOWN_REASON_UNKNOWN:
        break;
    }
    return XVM_END_UNKNOWN;
}

/* What errno says, and never "nothing". */
static int failure(void)
{
    int e = errno;
    return e > 0 ? -e : -EIO;
}

/* 0 with "" when there is none. Bytes that are no ASCII text cannot be a name of ours. */
static int text_of(struct domain_worker *w, uint32_t domid, const char *key, char *to, size_t size)
{
    char *value = domain_xs_read(w->xs, domid, key);
    to[0] = '\0';
    if (!value)
        return errno == ENOENT ? 0 : failure();
    bool plain = strlen(value) < size;
    for (const char *c = value; *c; c++)
        plain = plain && (unsigned char)*c >= ' ' && (unsigned char)*c < 0x7f;
    if (plain)
        strcpy(to, value);
    free(value);
    return 0;
}

static int number_of(struct domain_worker *w, uint32_t domid, const char *key, uint64_t *ret)
{
    char text[32], *end = NULL;
    int r = text_of(w, domid, key, text, sizeof(text));
    *ret = r == 0 && text[0] ? strtoull(text, &end, 10) : 0;
    return r;
}

static int read_store(struct domain_worker *w, struct xvm_domain *d)
{
    int r = text_of(w, d->domid, "name", d->name, sizeof(d->name));
    if (!r)
        r = text_of(w, d->domid, XVM_TAG "/guest", d->guest, sizeof(d->guest));
    if (!r && d->guest[0])
        r = number_of(w, d->domid, XVM_TAG "/inc", &d->inc);
    if (!r && d->guest[0])
        r = number_of(w, d->domid, XVM_TAG "/mig", &d->mig);
    return r;
}

static int scan_domains(struct domain_worker *w, struct domain_scan *scan)
{
    scan->info = libxl_list_domain(w->xl, &scan->ninfo);
    if (!scan->info)
        return -EIO;
    for (int i = 0; i < scan->ninfo; i++) {
        const libxl_dominfo *info = &scan->info[i];
        if (info->domid == 0)
            continue;
        struct xvm_domain *d = grow(scan);
        if (!d)
            return -ENOMEM;
        d->domid = info->domid;
        memcpy(d->uuid.b, libxl_uuid_bytearray_const(&info->uuid), sizeof(d->uuid.b));
        d->dying = info->dying;
        d->paused = info->paused;
        d->ran = info->cpu_time > 0;
        d->end = end_of(info);
        int r = read_store(w, d);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ------------------------------------------------------------------------- who may still write */

/* Kinds of backends that do not write to disks. What we have never heard of might. */
static bool writes_disks(const char *kind)
{
    static const char *const harmless[] = {"vif",  "vkbd",   "vfb",    "console", "vtpm",
                                           "vsnd", "vdispl", "vinput", "pci"};
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        if (!strcmp(kind, harmless[i]))
            return false;
    return true;
}

/* NULL with errno: a real problem. An empty list for what does not exist. */
static char **children(struct domain_worker *w, unsigned *ret_n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static char **children(struct domain_worker *w, unsigned *ret_n, const char *format, ...)
{
    char path[256];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    errno = 0;
    char **names = xs_directory(w->xs, XBT_NULL, path, ret_n);
    if (names || errno != ENOENT)
        return names;
    *ret_n = 0;
    errno = 0;
    return calloc(1, sizeof(*names));
}

static int note_writer(struct domain_scan *scan, const char *domid_text)
{
    unsigned long domid = strtoul(domid_text, NULL, 10);
    struct xvm_domain *d = domid ? entry(scan, (uint32_t)domid) : NULL;
    if (domid && !d)
        return -ENOMEM;
    if (d)
        d->writers = true;
    return 0;
}

/* 0: closed or not there; 1: may write; or a negative errno. */
static int backend_open(struct domain_worker *w, const char *path)
{
    unsigned len;
    errno = 0;
    char *state = xs_read(w->xs, XBT_NULL, path, &len);
    if (!state)
        return errno == ENOENT ? 0 : failure();
    unsigned long value = strtoul(state, NULL, 10);
    free(state);
    return value >= XENBUS_CONNECTED && value != XENBUS_CLOSED;
}

/* All backends of one kind in one domain (dom0, or a driver domain). */
static int scan_kind(struct domain_worker *w, struct domain_scan *scan, const char *in,
                     const char *kind)
{
    unsigned nfor = 0, ndev = 0;
    char path[256];
    char **fors = children(w, &nfor, "/local/domain/%s/backend/%s", in, kind);
    int r = fors ? 0 : failure();
    for (unsigned i = 0; fors && !r && i < nfor; i++) {
        char **devs = children(w, &ndev, "/local/domain/%s/backend/%s/%s", in, kind, fors[i]);
        r = devs ? 0 : failure();
        for (unsigned k = 0; devs && !r && k < ndev; k++) {
            snprintf(path, sizeof(path), "/local/domain/%s/backend/%s/%s/%s/state", in, kind,
                     fors[i], devs[k]);
            int open = backend_open(w, path);
            r = open == 1 ? note_writer(scan, fors[i]) : open;
        }
        free(devs);
    }
    free(fors);
    return r;
}

static int scan_backends(struct domain_worker *w, struct domain_scan *scan)
{
    unsigned ndomains = 0, nkinds = 0;
    char **domains = children(w, &ndomains, "/local/domain");
    int r = domains ? 0 : failure();
    for (unsigned i = 0; domains && !r && i < ndomains; i++) {
        char **kinds = children(w, &nkinds, "/local/domain/%s/backend", domains[i]);
        r = kinds ? 0 : failure();
        for (unsigned k = 0; kinds && !r && k < nkinds; k++)
            if (writes_disks(kinds[k]))
                r = scan_kind(w, scan, domains[i], kinds[k]);
        free(kinds);
    }
    free(domains);
    return r;
}

/* Dom0's own backends once more, by the kernel: libxl takes a backend out of xenstore after ten
 * seconds, whether or not the kernel has let go of the disk. */
static int scan_sysfs(struct domain_worker *w, struct domain_scan *scan)
{
    DIR *dir = opendir(SYSFS_BACKENDS);
    const struct dirent *device;
    int r = 0;
    while (dir && !r && (device = readdir(dir))) {
        unsigned domid, number;
        char kind[32], path[256];
        if (sscanf(device->d_name, "%31[a-z0-9]-%u-%u", kind, &domid, &number) != 3 ||
            !writes_disks(kind))
            continue;
        snprintf(path, sizeof(path), "/local/domain/0/backend/%s/%u/%u/state", kind, domid, number);
        unsigned len;
        errno = 0;
        char *state = xs_read(w->xs, XBT_NULL, path, &len);
        if (!state && errno != ENOENT)
            r = failure();
        char text[16];
        snprintf(text, sizeof(text), "%u", domid);
        if (!state && !r)
            r = note_writer(scan, text);
        free(state);
    }
    if (dir)
        closedir(dir);
    return r;
}

static int scan_processes(struct domain_scan *scan)
{
    struct domain_process *v = NULL;
    size_t n = 0;
    int r = domain_processes(&v, &n);
    for (size_t i = 0; !r && i < n; i++) {
        /* An xl that has not noticed yet must not bring a domain back that is gone. */
        struct xvm_domain *d = NULL;
        for (size_t k = 0; k < scan->n && !d; k++)
            if (scan->v[k].domid == v[i].domid)
                d = &scan->v[k];
        if (!d && v[i].device_model && v[i].domid)
            d = entry(scan, v[i].domid);
        if (d && v[i].device_model)
            d->writers = true;
        else if (d)
            d->monitored = true;
    }
    free(v);
    return r;
}

int domain_scan(struct domain_worker *w, struct domain_scan *ret_scan)
{
    struct domain_scan scan = {0};
    int r = scan_domains(w, &scan);
    if (!r)
        r = scan_backends(w, &scan);
    if (!r)
        r = scan_sysfs(w, &scan);
    if (!r)
        r = scan_processes(&scan);
    if (r < 0) {
        domain_scan_done(&scan);
        return r;
    }
    *ret_scan = scan;
    return 0;
}

void domain_scan_done(struct domain_scan *scan)
{
    if (scan->info)
        libxl_dominfo_list_free(scan->info, scan->ninfo);
    free(scan->v);
    *scan = (struct domain_scan){0};
}

/* ----------------------------------------------------------------------------------- one guest */

const struct xvm_domain *domain_next(const struct domain_worker *w, const struct domain_scan *scan,
                                     size_t *i, uint64_t *ret_inc, uint64_t *ret_mig)
{
    while (*i < scan->n) {
        const struct xvm_domain *d = &scan->v[(*i)++];
        /* What is gone and writes no more is nothing. */
        if ((!d->gone || d->writers) && xvm_domain_is(d, &w->known, ret_inc, ret_mig))
            return d;
    }
    return NULL;
}

int domain_find(struct domain_worker *w, uint64_t inc, struct xvm_domain *ret_domain,
                uint64_t *ret_mig)
{
    struct domain_scan scan;
    uint64_t its_inc, its_mig;
    unsigned found = 0;
    int r = domain_scan(w, &scan);
    if (r < 0)
        return r;
    const struct xvm_domain *d;
    for (size_t i = 0; (d = domain_next(w, &scan, &i, &its_inc, &its_mig));) {
        if (d->gone || d->dying || its_inc != inc)
            continue;
        *ret_domain = *d;
        *ret_mig = its_mig;
        found++;
    }
    domain_scan_done(&scan);
    return found == 1 ? 0 : found ? -EEXIST : -ENOENT;
}
