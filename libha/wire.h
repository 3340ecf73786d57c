/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes in and out: little-endian, bounds-checked on reading, growing on writing. */
#ifndef HA_WIRE_H
#define HA_WIRE_H

#include <stdarg.h>

#include "types.h"

/* A growing buffer. Zero-initialise; `failed` is set when memory ran out. */
struct ha_put {
    uint8_t *v;
    size_t n, size;
    bool failed;
};

void ha_put_done(struct ha_put *put);
void ha_put_u8(struct ha_put *put, uint8_t v);
void ha_put_u16(struct ha_put *put, uint16_t v);
void ha_put_u32(struct ha_put *put, uint32_t v);
void ha_put_u64(struct ha_put *put, uint64_t v);
void ha_put_bytes(struct ha_put *put, const void *data, size_t len);
void ha_put_uuid(struct ha_put *put, const struct ha_uuid *uuid);
void ha_put_epoch(struct ha_put *put, struct ha_epoch e);
/* At most HA_NAME_MAX - 1 bytes: u8 length, bytes. */
void ha_put_name(struct ha_put *put, const char *name);
/* Overwrites four bytes at `at`, written before. */
void ha_put_patch_u32(struct ha_put *put, size_t at, uint32_t v);

/* A reader. After the first read past the end `failed` is set and all reads give zeroes. */
struct ha_get {
    const uint8_t *p;
    size_t left;
    bool failed;
};

uint8_t ha_get_u8(struct ha_get *get);
uint16_t ha_get_u16(struct ha_get *get);
uint32_t ha_get_u32(struct ha_get *get);
uint64_t ha_get_u64(struct ha_get *get);
/* NULL when there are fewer than len bytes. */
const void *ha_get_bytes(struct ha_get *get, size_t len);
struct ha_uuid ha_get_uuid(struct ha_get *get);
struct ha_epoch ha_get_epoch(struct ha_get *get);
/* ret_name has HA_NAME_MAX bytes; a name with a NUL inside or too long fails. */
void ha_get_name(struct ha_get *get, char *ret_name);

/* FNV-1a, 64 bit, continued from `hash` (start: HA_HASH_START). */
#define HA_HASH_START 0xcbf29ce484222325ULL
uint64_t ha_hash(uint64_t hash, const void *data, size_t len);

/* Comparisons: <0, 0, >0. */
int ha_epoch_cmp(struct ha_epoch a, struct ha_epoch b);
int ha_key_cmp(struct ha_key a, struct ha_key b);
bool ha_uuid_eq(const struct ha_uuid *a, const struct ha_uuid *b);
bool ha_uuid_zero(const struct ha_uuid *a);
bool ha_ring_eq(struct ha_ring a, struct ha_ring b);

/* A formatter that calls nobody: %s, %u (unsigned), %d (int), %lu (unsigned long), %%. Cuts at size. */
void ha_say(char *dst, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ha_vsay(char *dst, size_t size, const char *format, va_list ap);
/* Copies a name; cuts at HA_NAME_MAX. */
void ha_name_copy(char *dst, const char *src);

#endif
