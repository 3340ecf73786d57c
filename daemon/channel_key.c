/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key of one transfer: HKDF (RFC 5869, SHA-256) of the cluster's key, with everything that the
 * two ends must agree on as its info. */
#include "channel_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_key(const char *path, uint8_t *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    size_t n = 0;
    ssize_t r = 1;
    while (n < size && (r = read(fd, buf + n, size - n)) != 0) {
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            break;
        n += (size_t)r;
    }
    int e = r < 0 ? -errno : 0;
    close(fd);
    return e < 0 ? e : (ssize_t)n;
}

static int derive(const uint8_t *secret, size_t n, const struct xvm_channel_context *c,
                  uint8_t ret_key[XVM_KEY_SIZE])
{
    char info[512];
    uint8_t prk[32];
    /* Names have no line breaks in them, so no two contexts read the same. */
    int len = snprintf(info, sizeof(info), "xvm-ha migration 1\n%s\n%" PRIu64 "\n%s\n%u\n%u\n",
                       c->cluster, c->mig, c->guest, c->source, c->target);
    if (len < 0 || (size_t)len >= sizeof(info))
        return -E2BIG;
    const gnutls_datum_t ikm = {(unsigned char *)(uintptr_t)secret, (unsigned)n};
    const gnutls_datum_t salt = {(unsigned char *)(uintptr_t) "xvm-ha", 6};
    const gnutls_datum_t prk_datum = {prk, sizeof(prk)};
    const gnutls_datum_t info_datum = {(unsigned char *)info, (unsigned)len};
    int r = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &salt, prk);
    if (r == 0)
        r = gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &prk_datum, &info_datum, ret_key, XVM_KEY_SIZE);
    explicit_bzero(prk, sizeof(prk));
    return r == 0 ? 0 : -EIO;
}

int xvm_channel_key(const char *authkey, const struct xvm_channel_context *context,
                    uint8_t ret_key[XVM_KEY_SIZE], char ret_why[HA_TEXT_MAX])
{
    int r = xvm_authkey_check(authkey, ret_why, HA_TEXT_MAX);
    if (r < 0)
        return r;
    uint8_t *secret = malloc(XVM_AUTHKEY_MAX);
    ssize_t n = secret ? read_key(authkey, secret, XVM_AUTHKEY_MAX) : -ENOMEM;
    r = n < 0 ? (int)n : n < XVM_AUTHKEY_MIN ? -EINVAL : 0;
    if (!r)
        r = derive(secret, (size_t)n, context, ret_key);
    if (secret)
        explicit_bzero(secret, XVM_AUTHKEY_MAX);
    free(secret);
    if (r < 0)
        snprintf(ret_why, HA_TEXT_MAX, "no key can be made from %s: %s", authkey, strerror(-r));
    return r;
}
