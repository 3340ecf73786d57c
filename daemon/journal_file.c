/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the bytes of the journal on disk. */
#include "journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

enum {
    FRAME_MAGIC = 0x464a5658, /* "XVJF" */
    FRAME_HEAD = 16,          /* magic, length of the records, crc of length and records, 0 */
};

static const char file_head[16] = "xvm-had journal1";

#define NAME "journal"
#define TEMPORARY "journal.new"
#define LENGTH_MAX ((size_t)1 << 30)

static uint32_t get32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t frame_crc(const unsigned char *head, const void *records, size_t len)
{
    return xvm_crc32c(xvm_crc32c(0, head + 4, 4), records, len);
}

/* Length of the good frame at `at`, head included; 0: there is none. */
static size_t frame_at(const unsigned char *at, size_t left)
{
    size_t len;

    if (left < FRAME_HEAD || get32(at) != FRAME_MAGIC)
        return 0;
    len = get32(at + 4);
    if (len == 0 || len > left - FRAME_HEAD)
        return 0;
    return get32(at + 8) == frame_crc(at, at + FRAME_HEAD, len) ? FRAME_HEAD + len : 0;
}

/* ------------------------------------------------------------------------------------- writing */

static int write_all(int fd, const void *data, size_t len, uint64_t at)
{
    const char *from = data;

    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_frame(int fd, uint64_t at, const void *records, size_t len)
{
    unsigned char head[FRAME_HEAD] = {0};
    int r;

    if (len == 0)
        return 0;
    if (len > LENGTH_MAX)
        return -EFBIG;
    put32(head, FRAME_MAGIC);
    put32(head + 4, (uint32_t)len);
    put32(head + 8, frame_crc(head, records, len));
    r = write_all(fd, head, sizeof(head), at);
    return r < 0 ? r : write_all(fd, records, len, at + sizeof(head));
}

int xvm_journal_file_append(struct xvm_journal_file *file, const void *records, size_t len)
{
    int r = write_frame(file->fd, file->end, records, len);

    if (r < 0)
        return r;
    if (fdatasync(file->fd) < 0)
        return -errno;
    file->end += len > 0 ? FRAME_HEAD + len : 0;
    return 0;
}

int xvm_journal_file_replace(struct xvm_journal_file *file, const void *records, size_t len)
{
    int r = 0, fd = openat(file->dir_fd, TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    r = write_all(fd, file_head, sizeof(file_head), 0);
    if (r == 0)
        r = write_frame(fd, sizeof(file_head), records, len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(file->dir_fd, TEMPORARY, file->dir_fd, NAME) < 0)
        r = -errno;
    if (r == 0 && fsync(file->dir_fd) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    if (file->fd >= 0)
        close(file->fd);
    file->fd = fd;
    file->end = sizeof(file_head) + (len > 0 ? FRAME_HEAD + len : 0);
    return 0;
}

/* ------------------------------------------------------------------------------------- reading */

#define ANEW                                                                                       \
    " This host must not guess what it had promised: move the file away (keep it), `systemctl "      \
    "restart xvm-had`, and the other hosts admit this one anew"

static int error_set(struct ha_error *error, int code, const char *format, const char *dir)
{
    memset(error, 0, sizeof(*error));
    error->code = code;
    snprintf(error->text, sizeof(error->text), format, dir);
    return code;
}

/* The same, and what the system says about it. */
static int error_errno(struct ha_error *error, int code, const char *format, const char *dir)
{
    size_t n;

    error_set(error, code, format, dir);
    n = strlen(error->text);
    snprintf(error->text + n, sizeof(error->text) - n, ": %s", strerror(-code));
    return code;
}

static int read_records(const unsigned char *at, size_t len, xvm_journal_record record, void *user)
{
    int r = 0;

    while (len >= 4 && r >= 0) {
        size_t n = get32(at);

        if (n > len - 4)
            return -EBADMSG;
        r = record(user, at + 4, n);
        at += 4 + n;
        len -= 4 + n;
    }
    return r < 0 ? r : len == 0 ? 0 : -EBADMSG;
}

static bool good_frame_after(const unsigned char *data, size_t from, size_t size)
{
    static const unsigned char magic[4] = {0x58, 0x56, 0x4a, 0x46};
    const unsigned char *at;

    while (from < size && (at = memmem(data + from, size - from, magic, sizeof(magic)))) {
        size_t offset = (size_t)(at - data);

        if (frame_at(at, size - offset) > 0)
            return true;
        from = offset + 1;
    }
    return false;
}

static int read_frames(struct xvm_journal_file *file, const unsigned char *data, size_t size,
                       const char *dir, xvm_journal_record record, void *user,
                       struct ha_error *error)
{
    size_t at = sizeof(file_head), n;
    int r;

    for (; (n = frame_at(data + at, size - at)) > 0; at += n) {
        r = read_records(data + at + FRAME_HEAD, n - FRAME_HEAD, record, user);
        if (r == -EBADMSG || r == -ENOTSUP)
            return error_set(error, r,
                             "%s/journal was written by a newer version of xvm-had: install "
                             "that version again",
                             dir);
        if (r < 0)
            return error_errno(error, r, "cannot take in the records of %s/journal", dir);
    }
    if (at < size && good_frame_after(data, at + 1, size))
        return error_set(error, -EUCLEAN,
                         "%s/journal is damaged in its middle." ANEW, dir);
    if (at < size && ftruncate(file->fd, (off_t)at) < 0)
        return error_errno(error, -errno, "cannot cut off the torn end of %s/journal", dir);
    if (at < size && fsync(file->fd) < 0)
        return error_errno(error, -errno, "cannot cut off the torn end of %s/journal", dir);
    file->end = at;
    return 0;
}

static int load(struct xvm_journal_file *file, const char *dir, xvm_journal_record record,
                void *user, struct ha_error *error)
{
    unsigned char *data;
    struct stat st;
    size_t got = 0;
    int r = 0;

    if (fstat(file->fd, &st) < 0)
        return error_errno(error, -errno, "cannot read %s/journal", dir);
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return error_set(error, -ENOMEM, "%s/journal: out of memory", dir);
    while (got < (size_t)st.st_size) {
        ssize_t n = pread(file->fd, data + got, (size_t)st.st_size - got, (off_t)got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    if (got != (size_t)st.st_size)
        r = error_errno(error, -EIO, "cannot read all of %s/journal", dir);
    else if (got == 0)
        r = error_set(error, -EUCLEAN, "%s/journal is empty, which no journal ever is." ANEW, dir);
    else if (got < sizeof(file_head) || memcmp(data, file_head, sizeof(file_head)) != 0)
        r = error_set(error, -EUCLEAN, "%s/journal does not begin as a journal does." ANEW, dir);
    else
        r = read_frames(file, data, got, dir, record, user, error);
    free(data);
    return r;
}

/* --------------------------------------------------------------------------------------- start */

static int lock(struct xvm_journal_file *file, const char *dir, struct ha_error *error)
{
    file->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->dir_fd < 0)
        return error_errno(error, -errno, "cannot open the folder %s", dir);
    file->lock_fd = openat(file->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file->lock_fd < 0)
        return error_errno(error, -errno, "cannot open %s/lock", dir);
    if (flock(file->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, -EBUSY, "another xvm-had works on %s", dir);
    return 0;
}

int xvm_journal_file_open(struct xvm_journal_file *file, const char *dir, xvm_journal_record record,
                          void *user, struct ha_error *ret_error)
{
    int r;

    file->fd = -1;
    r = lock(file, dir, ret_error);
    if (r < 0)
        return r;
    unlinkat(file->dir_fd, TEMPORARY, 0); /* a replacement that was never completed */
    file->fd = openat(file->dir_fd, NAME, O_RDWR | O_CLOEXEC);
    if (file->fd >= 0)
        return load(file, dir, record, user, ret_error);
    if (errno != ENOENT)
        return error_errno(ret_error, -errno, "cannot open %s/journal", dir);
    r = xvm_journal_file_replace(file, NULL, 0);
    return r < 0 ? error_errno(ret_error, r, "cannot write %s/journal", dir) : 0;
}
