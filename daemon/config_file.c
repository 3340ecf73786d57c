/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns /etc/xvm-ha.yaml.new and .before. */
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "config.h"
#include "fd_io.h"

enum { FILE_MAX = 8 * 1024 * 1024 };

static int read_fd(int fd, char **ret_text, size_t *ret_len)
{
    struct stat st;
    size_t n = 0, size;
    char *text;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (st.st_size > FILE_MAX)
        return -EFBIG;
    size = (size_t)st.st_size;
    text = malloc(size + 1);
    while (text != NULL && n < size) {
        ssize_t got = read(fd, text + n, size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break; /* it was cut meanwhile: its hash tells */
        n += (size_t)got;
    }
    if (text == NULL)
        return -ENOMEM;
    text[n] = '\0';
    *ret_text = text;
    *ret_len = n;
    return 0;
}

int xvm_config_file_read(const char *path, char **ret_text, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

    if (fd < 0)
        return -errno;
    r = read_fd(fd, ret_text, ret_len);
    close(fd);
    return r;
}

/* Labels and access lists, as far as the file system takes them. */
static void copy_attributes(const char *from, int to)
{
    char names[4096], value[4096];
    ssize_t n = listxattr(from, names, sizeof(names));

    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        ssize_t len = getxattr(from, name, value, sizeof(value));

        if (len >= 0)
            (void)fsetxattr(to, name, value, (size_t)len, 0);
    }
}

/* Owner before permissions: who gets the file must not be able to read what is not for him. */
static int write_like(const char *real, const char *temp, const void *bytes, size_t len)
{
    struct stat st;
    int fd, r = 0;

    if (stat(real, &st) < 0)
        return -errno;
    (void)unlink(temp); /* left by one that was killed */
    fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (fchown(fd, st.st_uid, st.st_gid) < 0)
        r = -errno;
    copy_attributes(real, fd);
    if (r == 0 && fchmod(fd, st.st_mode & 07777) < 0)
        r = -errno;
    if (r == 0)
        r = xvm_write_all(fd, bytes, len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r < 0)
        (void)unlink(temp);
    return r;
}

int xvm_config_file_prepare(const char *path, const void *bytes, size_t len, char **ret_temp)
{
    char *real = realpath(path, NULL), *temp = NULL;
    int r = 0;

    if (real == NULL)
        return errno > 0 ? -errno : -EIO;
    if (asprintf(&temp, "%s.new", real) < 0) {
        temp = NULL;
        r = -ENOMEM;
    }
    if (r == 0)
        r = write_like(real, temp, bytes, len);
    free(real);
    if (r < 0)
        free(temp);
    else
        *ret_temp = temp;
    return r;
}

/* The name is durable, too. */
static int sync_folder(const char *path)
{
    char *folder = strdup(path), *slash = folder != NULL ? strrchr(folder, '/') : NULL;
    int fd, r = 0;

    if (slash == NULL) {
        free(folder);
        return -ENOMEM;
    }
    slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0 || fsync(fd) < 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    return r;
}

static int replace(const char *real, const char *temp)
{
    char *before = NULL;

    if (asprintf(&before, "%s.before", real) < 0)
        return -ENOMEM;
    (void)unlink(before);
    (void)link(real, before); /* a file system without links keeps no old one */
    free(before);
    if (rename(temp, real) < 0)
        return -errno;
    return sync_folder(real);
}

int xvm_config_file_commit(const char *path, const char *temp, uint64_t hash)
{
    char *real = realpath(path, NULL), *text = NULL;
    size_t len = 0;
    int r;

    if (real == NULL)
        return errno > 0 ? -errno : -EIO;
    r = xvm_config_file_read(real, &text, &len);
    if (r == 0 && xvm_config_hash(text, len) != hash)
        r = -ESTALE;
    if (r == 0)
        r = replace(real, temp);
    free(text);
    free(real);
    return r;
}
