/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions of guests as bytes on this host, each in a file that is named by the hash of its contents:
 * what is read is what was agreed, or it is refused. STATE_DIR/definitions/ */
#ifndef XVM_BLOBS_H
#define XVM_BLOBS_H

#include "../libha/types.h"

enum { XVM_BLOB_MAX = 512 * 1024 };

struct xvm_blobs;

/* Makes the folder if it is missing. 0 or a negative errno. */
int xvm_blobs_new(const char *state_dir, struct xvm_blobs **ret_blobs);
struct xvm_blobs *xvm_blobs_free(struct xvm_blobs *blobs);

/* The first half of SHA-256. 0, or -EIO: the library failed. */
int xvm_blob_hash(const void *bytes, size_t len, struct ha_uuid *ret_hash);
void xvm_blob_name(const struct ha_uuid *hash, char ret_name[33]);

bool xvm_blobs_have(struct xvm_blobs *blobs, const struct ha_uuid *hash);
/* Where it is, or would be. Malloc'd; NULL: no memory. */
char *xvm_blobs_path(const struct xvm_blobs *blobs, const struct ha_uuid *hash);
/* The bytes, malloc'd. 0; -ENOENT; -EBADMSG: damaged, and removed; or another negative errno. */
int xvm_blobs_get(struct xvm_blobs *blobs, const struct ha_uuid *hash, void **ret_bytes,
                  size_t *ret_len);
/* Durably and atomically. 0, -EFBIG, or another negative errno. */
int xvm_blobs_put(struct xvm_blobs *blobs, const void *bytes, size_t len, struct ha_uuid *ret_hash);

/* Deletes those that were needed at no look for `keep_ms` at least, and that nobody put or asked
 * for in that time. What was before this was created counts from the first look on. The number
 * deleted. */
size_t xvm_blobs_sweep(struct xvm_blobs *blobs,
                       bool (*needed)(void *user, const struct ha_uuid *hash), void *user,
                       ha_ms now, ha_ms keep_ms);

/* What this host made last from the configuration file of `guest`; zero: nothing yet. It tells a file
 * that an operator has changed from one that has always been different. */
struct ha_uuid xvm_blobs_made(const struct xvm_blobs *blobs, const char *guest);
/* 0 or a negative errno. */
int xvm_blobs_set_made(struct xvm_blobs *blobs, const char *guest, const struct ha_uuid *hash);

#endif
