/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the bytes of the shared disk; see disk_format.h. */
#include "disk_format.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

enum {
    VERSION = 1,
    HEAD = 32, /* magic 8, version 4, reserved 4, disk 16 */
    PILL_SIZE = 40,
    FLAG_BOUND = 1,
    FLAG_ARMED = 2,
    AT_CRC = XVM_DISK_BLOCK - 4,
};

static const char magic_header[] = "XVMHADSK", magic_slot[] = "XVMHASLT",
                  magic_pills[] = "XVMHAPIL";

static_assert(HEAD + 24 + XVM_DISK_SLOTS_MAX * PILL_SIZE <= AT_CRC, "the pills of a host fit");

static void put(unsigned char *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void begin(unsigned char *block, const char *magic, const struct ha_uuid *disk)
{
    memset(block, 0, XVM_DISK_BLOCK);
    memcpy(block, magic, 8);
    put(block + 8, VERSION, 4);
    memcpy(block + 16, disk->b, 16);
}

static void end(unsigned char *block)
{
    put(block + AT_CRC, xvm_crc32c(0, block, AT_CRC), 4);
}

static int check(const unsigned char *block, const char *magic, const struct ha_uuid *disk)
{
    if (memcmp(block, magic, 8) != 0)
        return -ENOMSG;
    if (get(block + AT_CRC, 4) != xvm_crc32c(0, block, AT_CRC))
        return -EBADMSG;
    if (get(block + 8, 4) != VERSION)
        return -ENOTSUP;
    if (disk != NULL && memcmp(block + 16, disk->b, 16) != 0)
        return -ESTALE;
    return 0;
}

void xvm_disk_put_header(unsigned char *block, const struct xvm_disk_header *h)
{
    begin(block, magic_header, &h->disk);
    put(block + HEAD, h->nslots, 4);
    put(block + HEAD + 4, XVM_DISK_BLOCK, 4);
    memcpy(block + HEAD + 8, h->cluster, strnlen(h->cluster, HA_NAME_MAX - 1));
    for (size_t i = 0; i < XVM_DISK_SLOTS_MAX; i++)
        put(block + HEAD + 8 + HA_NAME_MAX + 4 * i, h->nodes[i], 4);
    end(block);
}

int xvm_disk_get_header(const unsigned char *block, struct xvm_disk_header *ret)
{
    struct xvm_disk_header h = {0};
    int r = check(block, magic_header, NULL);

    if (r < 0)
        return r;
    memcpy(h.disk.b, block + 16, 16);
    h.nslots = (uint32_t)get(block + HEAD, 4);
    if (h.nslots == 0 || h.nslots > XVM_DISK_SLOTS_MAX ||
        get(block + HEAD + 4, 4) != XVM_DISK_BLOCK)
        return -ENOTSUP;
    memcpy(h.cluster, block + HEAD + 8, HA_NAME_MAX - 1);
    for (size_t i = 0; i < h.nslots; i++)
        h.nodes[i] = (ha_node)get(block + HEAD + 8 + HA_NAME_MAX + 4 * i, 4);
    *ret = h;
    return 0;
}

void xvm_disk_put_slot(unsigned char *block, const struct ha_uuid *disk,
                       const struct xvm_disk_slot *s)
{
    unsigned char *at = block + HEAD;

    begin(block, magic_slot, disk);
    put(at, s->node, 4);
    put(at + 4, (s->bound ? FLAG_BOUND : 0U) | (s->armed ? FLAG_ARMED : 0U), 4);
    memcpy(at + 8, s->boot.b, 16);
    memcpy(at + 24, s->writer.b, 16);
    put(at + 40, s->seq, 8);
    put(at + 48, s->wall_s, 8);
    put(at + 56, (uint64_t)s->timeout_ms, 8);
    put(at + 64, (uint64_t)s->watchdog_ms, 8);
    end(block);
}

int xvm_disk_get_slot(const unsigned char *block, const struct ha_uuid *disk,
                      struct xvm_disk_slot *ret)
{
    const unsigned char *at = block + HEAD;
    int r = check(block, magic_slot, disk);

    if (r < 0)
        return r;
    *ret = (struct xvm_disk_slot){.node = (ha_node)get(at, 4),
                                  .bound = (get(at + 4, 4) & FLAG_BOUND) != 0,
                                  .armed = (get(at + 4, 4) & FLAG_ARMED) != 0,
                                  .seq = get(at + 40, 8),
                                  .wall_s = get(at + 48, 8),
                                  .timeout_ms = (ha_ms)get(at + 56, 8),
                                  .watchdog_ms = (ha_ms)get(at + 64, 8)};
    memcpy(ret->boot.b, at + 8, 16);
    memcpy(ret->writer.b, at + 24, 16);
    return 0;
}

void xvm_disk_put_pills(unsigned char *block, const struct ha_uuid *disk,
                        const struct xvm_disk_pills *p)
{
    unsigned char *at = block + HEAD;

    begin(block, magic_pills, disk);
    put(at, p->node, 4);
    memcpy(at + 8, p->boot.b, 16);
    at += 24;
    for (size_t i = 0; i < XVM_DISK_SLOTS_MAX; i++, at += PILL_SIZE) {
        const struct xvm_pill *pill = &p->pills[i];

        put(at, pill->kind, 4);
        put(at + 4, pill->node, 4);
        memcpy(at + 8, pill->boot.b, 16);
        put(at + 24, pill->loss, 4);
        put(at + 32, pill->nonce, 8);
    }
    end(block);
}

int xvm_disk_get_pills(const unsigned char *block, const struct ha_uuid *disk,
                       struct xvm_disk_pills *ret)
{
    const unsigned char *at = block + HEAD;
    int r = check(block, magic_pills, disk);

    if (r < 0)
        return r;
    ret->node = (ha_node)get(at, 4);
    memcpy(ret->boot.b, at + 8, 16);
    at += 24;
    for (size_t i = 0; i < XVM_DISK_SLOTS_MAX; i++, at += PILL_SIZE) {
        struct xvm_pill *pill = &ret->pills[i];
        uint64_t kind = get(at, 4);

        if (kind > XVM_PILL_DEATH)
            return -ENOTSUP; /* what cannot be read may be meant for us */
        pill->kind = (enum xvm_pill_kind)kind;
        pill->node = (ha_node)get(at + 4, 4);
        memcpy(pill->boot.b, at + 8, 16);
        pill->loss = (uint32_t)get(at + 24, 4);
        pill->nonce = get(at + 32, 8);
    }
    return 0;
}

int xvm_disk_slot_of(const struct xvm_disk_header *header, ha_node node)
{
    for (size_t i = 0; i < header->nslots && node != 0; i++)
        if (header->nodes[i] == node)
            return (int)i;
    return -1;
}

size_t xvm_disk_size(const struct xvm_disk_header *header)
{
    return (1 + 2 * (size_t)header->nslots) * XVM_DISK_BLOCK;
}

static const char *trouble(int r)
{
    return r == -ENOMSG    ? "is not xvm-had's"
           : r == -EBADMSG ? "is damaged"
           : r == -ENOTSUP ? "is of a newer version"
                           : "belongs to an earlier use of the disk";
}

int xvm_disk_get_view(const unsigned char *data, size_t size, struct xvm_disk_view *v, char *why)
{
    int r = size < XVM_DISK_BLOCK ? -EBADMSG : xvm_disk_get_header(data, &v->header);

    if (r == 0 && size < xvm_disk_size(&v->header))
        r = -EBADMSG;
    if (r < 0) {
        snprintf(why, HA_TEXT_MAX, "its first block %s", trouble(r));
        return r;
    }
    for (size_t i = 0; i < v->header.nslots; i++) {
        const unsigned char *slot = data + (1 + i) * XVM_DISK_BLOCK,
                            *pills = slot + (size_t)v->header.nslots * XVM_DISK_BLOCK;

        r = xvm_disk_get_slot(slot, &v->header.disk, &v->slots[i]);
        if (r == 0)
            r = xvm_disk_get_pills(pills, &v->header.disk, &v->pills[i]);
        if (r < 0) {
            snprintf(why, HA_TEXT_MAX, "slot %zu (node %u) %s", i, v->header.nodes[i], trouble(r));
            return r;
        }
    }
    return 0;
}

const struct xvm_pill *xvm_disk_pill_for(const struct xvm_disk_view *v, ha_node node,
                                         const struct ha_uuid *boot, enum xvm_pill_kind kind,
                                         int from)
{
    const struct xvm_pill *found = NULL;

    for (size_t by = 0; by < v->header.nslots; by++) {
        for (size_t i = 0; i < XVM_DISK_SLOTS_MAX && (from < 0 || (size_t)from == by); i++) {
            const struct xvm_pill *p = &v->pills[by].pills[i];

            if (p->kind >= kind && p->node == node &&
                memcmp(p->boot.b, boot->b, sizeof(boot->b)) == 0 &&
                (!found || p->loss > found->loss))
                found = p;
        }
    }
    return found;
}
