/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clear bytes at the start of a migration's connection, and the check of the cluster's key's
 * file. Both are used by the daemon, which knows nothing of TLS. */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t magic[8] = {'X', 'V', 'M', 'H', 'A', 'm', 'i', 'g'};

static void put(uint8_t *at, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *at, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

/* magic 8, version 4, migration 8, source 4, target 4, zero 4 */
void xvm_preamble_write(const struct xvm_preamble *p, uint8_t ret_bytes[XVM_PREAMBLE_SIZE])
{
    memcpy(ret_bytes, magic, sizeof(magic));
    put(ret_bytes + 8, XVM_PREAMBLE_VERSION, 4);
    put(ret_bytes + 12, p->mig, 8);
    put(ret_bytes + 20, p->source, 4);
    put(ret_bytes + 24, p->target, 4);
    put(ret_bytes + 28, 0, 4);
}

int xvm_preamble_read(const uint8_t *bytes, size_t n, struct xvm_preamble *ret_preamble)
{
    size_t known = n < sizeof(magic) ? n : sizeof(magic);
    if (known && memcmp(bytes, magic, known) != 0)
        return -EBADMSG; /* as soon as it shows: strangers are not waited for */
    if (n >= 12 && get(bytes + 8, 4) != XVM_PREAMBLE_VERSION)
        return -EPROTONOSUPPORT;
    if (n < XVM_PREAMBLE_SIZE)
        return -EAGAIN;
    struct xvm_preamble p = {.mig = get(bytes + 12, 8),
                             .source = (ha_node)get(bytes + 20, 4),
                             .target = (ha_node)get(bytes + 24, 4)};
    if (n > XVM_PREAMBLE_SIZE || !p.mig || !p.source || !p.target || p.source == p.target ||
        get(bytes + 28, 4) != 0)
        return -EBADMSG;
    *ret_preamble = p;
    return 0;
}

int xvm_authkey_check(const char *path, char *ret_why, size_t size)
{
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int r = fd < 0 ? -errno : fstat(fd, &st) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (r < 0)
        snprintf(ret_why, size,
                 "the cluster's key %s cannot be read (%s): moves that take the guest's memory "
                 "along need it; make it once with corosync-keygen and copy it to every host, or "
                 "write `migration: {encryption: off}`",
                 path, strerror(-r));
    else if (!S_ISREG(st.st_mode) || st.st_size < XVM_AUTHKEY_MIN || st.st_size > XVM_AUTHKEY_MAX)
        snprintf(ret_why, size,
                 "%s is not a key: expected a file of %d to %d bytes, as corosync-keygen makes it",
                 path, XVM_AUTHKEY_MIN, XVM_AUTHKEY_MAX);
    else if (st.st_mode & (S_IRWXO | S_IWGRP))
        snprintf(ret_why, size,
                 "the cluster's key %s can be read by anybody on this host: chmod 400 it", path);
    else
        return 0;
    return r < 0 ? r : -EINVAL;
}
