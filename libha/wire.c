/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes in and out, hashes, comparisons, and a formatter that needs no libc. */
#include "wire.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void ha_put_done(struct ha_put *put)
{
    free(put->v);
    *put = (struct ha_put){0};
}

static uint8_t *put_room(struct ha_put *put, size_t len)
{
    if (put->failed)
        return NULL;
    if (put->size - put->n < len) {
        size_t size = put->size ? put->size : 128;
        while (size - put->n < len)
            size *= 2;
        uint8_t *v = realloc(put->v, size);
        if (!v) {
            put->failed = true;
            return NULL;
        }
        put->v = v;
        put->size = size;
    }
    uint8_t *p = put->v + put->n;
    put->n += len;
    return p;
}

static void put_le(struct ha_put *put, uint64_t v, size_t len)
{
    uint8_t *p = put_room(put, len);
    for (size_t i = 0; p && i < len; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void ha_put_u8(struct ha_put *put, uint8_t v)
{
    put_le(put, v, 1);
}

void ha_put_u16(struct ha_put *put, uint16_t v)
{
    put_le(put, v, 2);
}

void ha_put_u32(struct ha_put *put, uint32_t v)
{
    put_le(put, v, 4);
}

void ha_put_u64(struct ha_put *put, uint64_t v)
{
    put_le(put, v, 8);
}

void ha_put_bytes(struct ha_put *put, const void *data, size_t len)
{
    uint8_t *p = len ? put_room(put, len) : NULL;
    if (p)
        memcpy(p, data, len);
}

void ha_put_uuid(struct ha_put *put, const struct ha_uuid *uuid)
{
    ha_put_bytes(put, uuid->b, sizeof uuid->b);
}

void ha_put_epoch(struct ha_put *put, struct ha_epoch e)
{
    ha_put_u64(put, e.number);
    ha_put_u32(put, e.node);
}

void ha_put_name(struct ha_put *put, const char *name)
{
    size_t len = strnlen(name, HA_NAME_MAX - 1);
    ha_put_u8(put, (uint8_t)len);
    ha_put_bytes(put, name, len);
}

void ha_put_patch_u32(struct ha_put *put, size_t at, uint32_t v)
{
    if (put->failed)
        return;
    for (size_t i = 0; i < 4; i++)
        put->v[at + i] = (uint8_t)(v >> (8 * i));
}

const void *ha_get_bytes(struct ha_get *get, size_t len)
{
    if (get->failed || get->left < len) {
        get->failed = true;
        return NULL;
    }
    const uint8_t *p = get->p;
    get->p += len;
    get->left -= len;
    return p;
}

static uint64_t get_le(struct ha_get *get, size_t len)
{
    const uint8_t *p = ha_get_bytes(get, len);
    uint64_t v = 0;
    for (size_t i = 0; p && i < len; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t ha_get_u8(struct ha_get *get)
{
    return (uint8_t)get_le(get, 1);
}

uint16_t ha_get_u16(struct ha_get *get)
{
    return (uint16_t)get_le(get, 2);
}

uint32_t ha_get_u32(struct ha_get *get)
{
    return (uint32_t)get_le(get, 4);
}

uint64_t ha_get_u64(struct ha_get *get)
{
    return get_le(get, 8);
}

struct ha_uuid ha_get_uuid(struct ha_get *get)
{
    struct ha_uuid uuid = {{0}};
    const void *p = ha_get_bytes(get, sizeof uuid.b);
    if (p)
        memcpy(uuid.b, p, sizeof uuid.b);
    return uuid;
}

struct ha_epoch ha_get_epoch(struct ha_get *get)
{
    struct ha_epoch e;
    e.number = ha_get_u64(get);
    e.node = ha_get_u32(get);
    return e;
}

void ha_get_name(struct ha_get *get, char *ret_name)
{
    size_t len = ha_get_u8(get);
    memset(ret_name, 0, HA_NAME_MAX);
    const char *p = ha_get_bytes(get, len);
    if (!p || len >= HA_NAME_MAX || memchr(p, 0, len)) {
        get->failed = true;
        return;
    }
    memcpy(ret_name, p, len);
}

uint64_t ha_hash(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ULL;
    return hash;
}

int ha_epoch_cmp(struct ha_epoch a, struct ha_epoch b)
{
    if (a.number != b.number)
        return a.number < b.number ? -1 : 1;
    return a.node < b.node ? -1 : a.node > b.node;
}

int ha_key_cmp(struct ha_key a, struct ha_key b)
{
    int r = ha_epoch_cmp(a.e, b.e);
    return r ? r : a.i < b.i ? -1 : a.i > b.i;
}

bool ha_uuid_eq(const struct ha_uuid *a, const struct ha_uuid *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool ha_uuid_zero(const struct ha_uuid *a)
{
    static const struct ha_uuid zero;
    return ha_uuid_eq(a, &zero);
}

bool ha_ring_eq(struct ha_ring a, struct ha_ring b)
{
    return a.node == b.node && a.seq == b.seq;
}

struct say {
    char *p, *end;
    bool cut;
};

static void say_char(struct say *s, char c)
{
    if (s->p < s->end)
        *s->p++ = c;
    else
        s->cut = true;
}

static void say_string(struct say *s, const char *text)
{
    for (; text && *text; text++)
        say_char(s, *text);
}

static void say_number(struct say *s, unsigned long v)
{
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        say_char(s, digits[--n]);
}

/* What does not fit ends with three dots, between two words where there is a place for that. */
static void say_cut(char *dst, char *end)
{
    enum { DOTS = 3, WORD = 24 };
    char *p = end - DOTS;
    if (end - dst < 2 * WORD)
        return;
    while (p > end - DOTS - WORD && p[-1] != ' ')
        p--;
    if (p[-1] != ' ')
        p = end - DOTS;
    while (p > dst && p[-1] == ' ')
        p--;
    memcpy(p, "...", DOTS + 1);
}

void ha_vsay(char *dst, size_t size, const char *format, va_list ap)
{
    if (!size)
        return;
    struct say s = {dst, dst + size - 1, false};
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            say_char(&s, *f);
            continue;
        }
        if (!*++f)
            break;
        if (*f == 's') {
            say_string(&s, va_arg(ap, const char *));
        } else if (*f == 'u') {
            say_number(&s, va_arg(ap, unsigned));
        } else if (*f == 'd') {
            int v = va_arg(ap, int);
            if (v < 0)
                say_char(&s, '-');
            say_number(&s, v < 0 ? 0UL - (unsigned long)v : (unsigned long)v);
        } else if (*f == 'l') {
            f += f[1] == 'u'; /* %lu is the only one */
            say_number(&s, va_arg(ap, unsigned long));
        } else {
            say_char(&s, *f);
        }
    }
    *s.p = 0;
    if (s.cut)
        say_cut(dst, s.end);
}

void ha_say(char *dst, size_t size, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    ha_vsay(dst, size, format, ap);
    va_end(ap);
}

void ha_name_copy(char *dst, const char *src)
{
    size_t len = strnlen(src, HA_NAME_MAX - 1);
    memmove(dst, src, len);
    memset(dst + len, 0, HA_NAME_MAX - len);
}
