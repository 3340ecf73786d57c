/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns STATE_DIR/definitions. */
#include "blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../libha/wire.h"
#include "fd_io.h"
#include "util.h"

/* Not needed, as far as is known, since then. */
struct idle {
    struct ha_uuid hash;
    ha_ms since;
};

struct xvm_blobs {
    char *dir;
    int dir_fd;
    struct idle *idle;
    size_t nidle, idle_size;
};

static struct idle *find_idle(struct xvm_blobs *b, const struct ha_uuid *hash)
{
    for (size_t i = 0; i < b->nidle; i++)
        if (ha_uuid_eq(&b->idle[i].hash, hash))
            return &b->idle[i];
    return NULL;
}

/* Somebody asks for it, or brings it: whatever for, its time begins anew. */
static void not_idle(struct xvm_blobs *b, const struct ha_uuid *hash)
{
    struct idle *idle = find_idle(b, hash);

    if (idle)
        *idle = b->idle[--b->nidle];
}

/* Since when; `now`, if since now, or if that cannot be remembered. */
static ha_ms idle_since(struct xvm_blobs *b, const struct ha_uuid *hash, ha_ms now)
{
    struct idle *idle = find_idle(b, hash);

    if (idle)
        return idle->since;
    if (!b->idle || b->nidle == b->idle_size) {
        size_t size = b->idle_size ? b->idle_size * 2 : 16;
        struct idle *v = reallocarray(b->idle, size, sizeof(*v));

        if (!v)
            return now;
        b->idle = v;
        b->idle_size = size;
    }
    b->idle[b->nidle++] = (struct idle){*hash, now};
    return now;
}

int xvm_blobs_new(const char *state_dir, struct xvm_blobs **ret_blobs)
{
    struct xvm_blobs *b = calloc(1, sizeof(*b));
    int r = -ENOMEM;

    if (!b)
        return r;
    b->dir_fd = -1;
    if (asprintf(&b->dir, "%s/definitions", state_dir) < 0)
        b->dir = NULL;
    if (b->dir)
        r = xvm_mkdirs(b->dir, 0700);
    if (r == 0) {
        b->dir_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = b->dir_fd < 0 ? -errno : 0;
    }
    if (r < 0) {
        xvm_blobs_free(b);
        return r;
    }
    *ret_blobs = b;
    return 0;
}

struct xvm_blobs *xvm_blobs_free(struct xvm_blobs *b)
{
    if (!b)
        return NULL;
    if (b->dir_fd >= 0)
        close(b->dir_fd);
    free(b->dir);
    free(b->idle);
    free(b);
    return NULL;
}

int xvm_blob_hash(const void *bytes, size_t len, struct ha_uuid *ret_hash)
{
    unsigned char digest[32];

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, len, digest) < 0)
        return -EIO;
    memcpy(ret_hash->b, digest, sizeof(ret_hash->b));
    return 0;
}

void xvm_blob_name(const struct ha_uuid *hash, char ret_name[33])
{
    for (size_t i = 0; i < sizeof(hash->b); i++)
        snprintf(ret_name + 2 * i, 3, "%02x", hash->b[i]);
}

bool xvm_blobs_have(struct xvm_blobs *b, const struct ha_uuid *hash)
{
    char name[33];

    xvm_blob_name(hash, name);
    not_idle(b, hash);
    return faccessat(b->dir_fd, name, R_OK, 0) == 0;
}

char *xvm_blobs_path(const struct xvm_blobs *b, const struct ha_uuid *hash)
{
    char name[33], *path;

    xvm_blob_name(hash, name);
    return asprintf(&path, "%s/%s", b->dir, name) < 0 ? NULL : path;
}

/* All of a small file. */
static int read_at(int dir_fd, const char *name, size_t most, void **ret_bytes, size_t *ret_len)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t got = 0;
    char *bytes;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size > most) {
        close(fd);
        return -EBADMSG;
    }
    bytes = malloc((size_t)st.st_size + 1);
    while (bytes && got < (size_t)st.st_size) {
        ssize_t n = read(fd, bytes + got, (size_t)st.st_size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    close(fd);
    if (!bytes)
        return -ENOMEM;
    if (got != (size_t)st.st_size) {
        free(bytes);
        return -EIO;
    }
    bytes[got] = '\0';
    *ret_bytes = bytes;
    *ret_len = got;
    return 0;
}

static int write_at(int dir_fd, const char *name, const void *bytes, size_t len)
{
    int fd = openat(dir_fd, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), r;

    if (fd < 0)
        return -errno;
    r = xvm_write_all(fd, bytes, len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    close(fd);
    if (r == 0 && renameat(dir_fd, "new", dir_fd, name) < 0)
        r = -errno;
    if (r == 0 && fsync(dir_fd) < 0)
        r = -errno;
    return r;
}

int xvm_blobs_get(struct xvm_blobs *b, const struct ha_uuid *hash, void **ret_bytes,
                  size_t *ret_len)
{
    struct ha_uuid real;
    size_t len = 0;
    void *bytes = NULL;
    char name[33];
    int r;

    not_idle(b, hash);
    xvm_blob_name(hash, name);
    r = read_at(b->dir_fd, name, XVM_BLOB_MAX, &bytes, &len);
    if (r < 0)
        return r;
    r = xvm_blob_hash(bytes, len, &real);
    if (r == 0 && !ha_uuid_eq(&real, hash)) {
        unlinkat(b->dir_fd, name, 0); /* another host has a good one */
        r = -EBADMSG;
    }
    if (r < 0) {
        free(bytes);
        return r;
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return 0;
}

int xvm_blobs_put(struct xvm_blobs *b, const void *bytes, size_t len, struct ha_uuid *ret_hash)
{
    struct ha_uuid hash;
    char name[33];
    int r = len > XVM_BLOB_MAX ? -EFBIG : xvm_blob_hash(bytes, len, &hash);

    if (r < 0)
        return r;
    not_idle(b, &hash);
    xvm_blob_name(&hash, name);
    r = write_at(b->dir_fd, name, bytes, len);
    if (r == 0)
        *ret_hash = hash;
    return r;
}

/* ------------------------------------------------------------------------------- what is needed */

static bool parse_name(const char *name, struct ha_uuid *ret_hash)
{
    char again[33];

    if (strlen(name) != 32 || xvm_uuid_parse(name, ret_hash) < 0)
        return false;
    xvm_blob_name(ret_hash, again);
    return strcmp(name, again) == 0;
}

size_t xvm_blobs_sweep(struct xvm_blobs *b, bool (*needed)(void *user, const struct ha_uuid *hash),
                       void *user, ha_ms now, ha_ms keep_ms)
{
    int fd = openat(b->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    struct ha_uuid hash;
    size_t n = 0;

    if (!dir && fd >= 0)
        close(fd);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (!parse_name(entry->d_name, &hash))
            continue;
        if (needed(user, &hash)) {
            not_idle(b, &hash);
        } else if (now - idle_since(b, &hash, now) >= keep_ms &&
                   unlinkat(b->dir_fd, entry->d_name, 0) == 0) {
            not_idle(b, &hash);
            n++;
        }
    }
    if (dir)
        closedir(dir);
    return n;
}

/* ------------------------------------------------------------------------------- what was made */

/* One file a guest: made-NAME with the hash as text. */
static bool made_name(const char *guest, char *name, size_t size)
{
    return strchr(guest, '/') == NULL && snprintf(name, size, "made-%s", guest) < (int)size;
}

struct ha_uuid xvm_blobs_made(const struct xvm_blobs *b, const char *guest)
{
    char name[HA_NAME_MAX + 8];
    struct ha_uuid hash = {{0}};
    size_t len = 0;
    void *text = NULL;

    if (!made_name(guest, name, sizeof(name)) || read_at(b->dir_fd, name, 64, &text, &len) < 0)
        return hash;
    if (xvm_uuid_parse(text, &hash) < 0)
        hash = (struct ha_uuid){{0}};
    free(text);
    return hash;
}

int xvm_blobs_set_made(struct xvm_blobs *b, const char *guest, const struct ha_uuid *hash)
{
    char name[HA_NAME_MAX + 8], text[33];

    if (!made_name(guest, name, sizeof(name)))
        return -EINVAL;
    xvm_blob_name(hash, text);
    return write_at(b->dir_fd, name, text, strlen(text));
}
