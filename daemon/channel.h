/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The channel of a migration: what the daemon and the program xvm-ha-channel say to each other, and
 * the few clear bytes with which a source names the transfer that it connects for.
 *
 * The program gets a connected TCP socket. It makes the connection safe (TLS 1.3 with a key that
 * only two ends have that hold the cluster's key and mean the same decision), and then either gives
 * the socket to the kernel's TLS, so that the driver's worker reads and writes the socket itself,
 * or stays between the socket and one end of a socket pair. It outlives its daemon.
 *
 * On its control socket it writes lines: `ready relay WORDS`, `ready direct WORDS` (WORDS: how it
 * is protected), then `bytes OUT IN` twice a second. When the daemon closes the control socket
 * before `ready`, the program ends. What went wrong before `ready` is its exit code, with a
 * sentence on standard output. */
#ifndef XVM_CHANNEL_H
#define XVM_CHANNEL_H

#include <stddef.h>

#include "../libha/types.h"

/* ------------------------------------------------------------------------------- the preamble */

enum {
    XVM_PREAMBLE_SIZE = 32,
    XVM_PREAMBLE_VERSION = 1,
};

struct xvm_preamble {
    uint64_t mig;
    ha_node source, target;
};

void xvm_preamble_write(const struct xvm_preamble *preamble, uint8_t ret_bytes[XVM_PREAMBLE_SIZE]);
/* `n`: how much of it has come so far. 0: complete; -EAGAIN: more is needed, all well so far;
 * -EBADMSG: not a preamble; -EPROTONOSUPPORT: one of another version. */
int xvm_preamble_read(const uint8_t *bytes, size_t n, struct xvm_preamble *ret_preamble);

/* -------------------------------------------------------------------------------- the program */

/* Exit codes before `ready`; after it 0, or XVM_CHANNEL_BROKEN. */
enum {
    XVM_CHANNEL_DONE = 0,
    XVM_CHANNEL_USAGE = 2,
    XVM_CHANNEL_FAILED = 65,  /* this side cannot: no key, no memory */
    XVM_CHANNEL_CLOSED = 66,  /* the other side hung up before a word: it may be too early for it */
    XVM_CHANNEL_REFUSED = 67, /* the two ends do not have the same key */
    XVM_CHANNEL_BROKEN = 68,
};

enum { XVM_KEY_SIZE = 32, XVM_AUTHKEY_MIN = 32, XVM_AUTHKEY_MAX = 64 * 1024 };

/* What both ends must agree on; all of it goes into the key. */
struct xvm_channel_context {
    const char *cluster, *guest;
    uint64_t mig;
    ha_node source, target;
};

struct xvm_channel_options {
    bool send; /* this end is the source */
    bool tls;
    bool kernel; /* may use the kernel's TLS */
    int socket, stream, control;
    const char *authkey; /* file */
    struct xvm_channel_context context;
    uint64_t rate; /* bytes a second, of what is sent; 0: no limit */
    ha_ms handshake_ms;
    ha_ms limit_ms; /* of its whole life; 0: none */
};

/* Whether a file can serve as the cluster's key: 0, or a negative errno with a sentence that also
 * says what to do about it. Reads nothing of it that stays in memory. */
int xvm_authkey_check(const char *path, char *ret_why, size_t size);

#endif
