/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes a disk ready, gives slots to more hosts, and shows what is on it. */
#include "disk_main.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util.h"

enum { FEW_SLOTS = 16, MANY_SLOTS = XVM_DISK_SLOTS_MAX, WATCH_MS = 3000 };

static struct xvm_disk opened = {.fd = -1};

/* Says why, and closes the disk. */
static int refuse(const struct xvm_disk_options *o, const char *why)
{
    fprintf(stderr, "%s: %s\n", o->path, why);
    xvm_disk_close(&opened);
    return XVM_DISK_FAILED;
}

static bool blank(const unsigned char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != 0)
            return false;
    return true;
}

/* A living cluster writes: its slots change while we look. */
static bool in_use(struct xvm_disk *disk)
{
    struct xvm_disk_view before = disk->view;
    struct timespec pause = {WATCH_MS / 1000, 0};

    nanosleep(&pause, NULL);
    if (xvm_disk_read(disk) < 0)
        return false;
    for (size_t i = 0; i < before.header.nslots; i++)
        if (before.slots[i].seq != disk->view.slots[i].seq)
            return true;
    return false;
}

/* NULL: it may be taken. */
static const char *taken(struct xvm_disk *disk, bool force)
{
    int r = xvm_disk_read(disk);

    if (r == -ENODATA)
        return NULL; /* a file that is new, or too short to be a disk */
    if (r == 0)
        return in_use(disk) ? "a running cluster writes to it: stop xvm-had everywhere first"
               : force      ? NULL
                            : "was made ready before; --force does it again";
    if (force || blank(disk->buffer, XVM_DISK_BLOCK))
        return NULL;
    return "holds something that is not ours; --force overwrites it";
}

static int write_all(struct xvm_disk *disk, const struct xvm_disk_header *h)
{
    static const struct xvm_disk_slot no_slot;
    static const struct xvm_disk_pills no_pills;
    int r = 0;

    /* the header comes last: until then it is not one of ours */
    for (size_t i = 0; r == 0 && i < h->nslots; i++) {
        xvm_disk_put_slot(disk->block, &h->disk, &no_slot);
        r = xvm_disk_write(disk, 1 + i);
        xvm_disk_put_pills(disk->block, &h->disk, &no_pills);
        if (r == 0)
            r = xvm_disk_write(disk, 1 + h->nslots + i);
    }
    xvm_disk_put_header(disk->block, h);
    if (r == 0)
        r = xvm_disk_write(disk, 0);
    return r == 0 ? xvm_disk_read(disk) : r;
}

/* Nodes that have no slot yet get one. */
static int give_slots(const struct xvm_disk_options *o, struct xvm_disk_header *h)
{
    for (size_t k = 0; k < o->nnodes; k++) {
        size_t i = 0;

        if (xvm_disk_slot_of(h, o->nodes[k]) >= 0)
            continue;
        while (i < h->nslots && h->nodes[i] != 0)
            i++;
        if (i == h->nslots)
            return -ENOSPC;
        h->nodes[i] = o->nodes[k];
    }
    return 0;
}

int xvm_disk_init(const struct xvm_disk_options *o)
{
    struct xvm_disk_header h = {.nslots = o->nnodes <= FEW_SLOTS ? FEW_SLOTS : MANY_SLOTS};
    const char *why = NULL;
    int r;

    if (o->cluster == NULL || o->nnodes == 0)
        return XVM_DISK_USAGE;
    snprintf(h.cluster, sizeof(h.cluster), "%s", o->cluster);
    xvm_uuid_random(&h.disk);
    r = give_slots(o, &h);
    if (r == 0)
        r = xvm_disk_open(&opened, o->path, true);
    if (r == 0)
        why = taken(&opened, o->force);
    if (r == 0 && why == NULL)
        r = write_all(&opened, &h);
    if (r < 0 && why == NULL)
        why = opened.why[0] ? opened.why : strerror(-r);
    if (why != NULL)
        return refuse(o, why);
    printf("%s is ready for cluster %s: %u slots, %zu of them given, %zu KiB\n", o->path,
           o->cluster, h.nslots, o->nnodes, xvm_disk_size(&h) / 1024);
    xvm_disk_close(&opened);
    return XVM_DISK_OK;
}

int xvm_disk_add(const struct xvm_disk_options *o)
{
    struct xvm_disk_header h;
    int r = xvm_disk_open(&opened, o->path, false);

    if (r == 0)
        r = xvm_disk_read(&opened);
    if (r < 0)
        return refuse(o, opened.why);
    h = opened.view.header;
    if (o->cluster != NULL && strcmp(o->cluster, h.cluster) != 0)
        return refuse(o, "belongs to another cluster");
    if (give_slots(o, &h) < 0)
        return refuse(o, "has no slot left");
    xvm_disk_put_header(opened.block, &h);
    if (xvm_disk_write(&opened, 0) < 0)
        return refuse(o, opened.why);
    printf("%s: every host has a slot\n", o->path);
    xvm_disk_close(&opened);
    return XVM_DISK_OK;
}

static void hex(const struct ha_uuid *uuid, char *text)
{
    for (size_t i = 0; i < sizeof(uuid->b); i++)
        sprintf(text + 2 * i, "%02x", uuid->b[i]);
}

static void show_slot(const struct xvm_disk_options *o, const struct xvm_disk_view *v, size_t i,
                      bool first)
{
    const struct xvm_disk_slot *s = &v->slots[i];
    long long age = s->node ? (long long)time(NULL) - (long long)s->wall_s : -1;
    const struct xvm_pill *pill =
        xvm_disk_pill_for(v, v->header.nodes[i], &s->boot, XVM_PILL_DEATH, -1);
    char boot[40];

    hex(&s->boot, boot);
    if (o->json) {
        printf("%s{\"node\":%u,\"boot\":\"%s\",\"seq\":%" PRIu64 ",\"age\":%lld,\"bound\":%s,"
               "\"armed\":%s,\"pill\":%s}",
               first ? "" : ",", v->header.nodes[i], boot, s->seq, age, s->bound ? "true" : "false",
               s->armed ? "true" : "false", pill ? "true" : "false");
        return;
    }
    if (s->node == 0)
        printf("  node %-5u never wrote\n", v->header.nodes[i]);
    else
        printf("  node %-5u wrote %lld s ago%s%s%s\n", v->header.nodes[i], age,
               s->bound ? ", depends on the disk" : "", s->armed ? ", watchdog armed" : "",
               pill ? ", a poison pill for this life of it" : "");
}

int xvm_disk_show(const struct xvm_disk_options *o)
{
    const struct xvm_disk_view *v = &opened.view;
    bool first = true;
    int r = xvm_disk_open(&opened, o->path, false);
    char id[40];

    if (r == 0)
        r = xvm_disk_read(&opened);
    if (r < 0)
        return refuse(o, opened.why);
    hex(&v->header.disk, id);
    if (o->json)
        printf("{\"path\":\"%s\",\"cluster\":\"%s\",\"id\":\"%s\",\"slots\":[", o->path,
               v->header.cluster, id);
    else
        printf("%s: shared disk of cluster %s\n", o->path, v->header.cluster);
    for (size_t i = 0; i < v->header.nslots; i++) {
        if (v->header.nodes[i] == 0)
            continue;
        show_slot(o, v, i, first);
        first = false;
    }
    if (o->json)
        puts("]}");
    xvm_disk_close(&opened);
    return XVM_DISK_OK;
}
