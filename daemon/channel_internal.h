/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of xvm-ha-channel share. */
#ifndef XVM_CHANNEL_INTERNAL_H
#define XVM_CHANNEL_INTERNAL_H

#include <gnutls/gnutls.h>

#include "channel.h"

/* --------------------------------------------------------------------------- channel_key.c */

/* The key of one transfer. 0, or a negative errno with a sentence in `ret_why`. */
int xvm_channel_key(const char *authkey, const struct xvm_channel_context *context,
                    uint8_t ret_key[XVM_KEY_SIZE], char ret_why[HA_TEXT_MAX]);

/* --------------------------------------------------------------------------- channel_tls.c */

struct xvm_tls {
    gnutls_session_t session;
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t server;
    uint8_t key[XVM_KEY_SIZE];
};

/* Handshakes on the socket, which is non-blocking from then on. XVM_CHANNEL_DONE, or another exit
 * code with a sentence. */
int xvm_tls_open(const struct xvm_channel_options *options, struct xvm_tls *tls,
                 char ret_why[HA_TEXT_MAX]);
/* Wipes and frees everything; zero-initialised is fine. */
void xvm_tls_done(struct xvm_tls *tls);
/* Has the kernel do both directions from here on. False: it cannot, and nothing has changed. True
 * with *ret_broken: it can do one direction only, and there is no way back. */
bool xvm_tls_to_kernel(struct xvm_tls *tls, int socket, bool *ret_broken);
/* For an operator's eyes: "TLS 1.3, AES-128-GCM". */
void xvm_tls_words(const struct xvm_tls *tls, char *buf, size_t size);

/* ------------------------------------------------------------------------- channel_relay.c */

/* The control socket; -1 once the daemon is gone. */
struct xvm_control {
    int fd;
    ha_ms next; /* when to tell the bytes */
};

ha_ms xvm_channel_now(void);
void xvm_control_say(struct xvm_control *control, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Tells the bytes if it is time to; returns ms until the next time. */
int xvm_control_bytes(struct xvm_control *control, uint64_t out, uint64_t in);

/* Both directions until both have ended, with `rate` as a limit for what is sent. An exit code. */
int xvm_relay(const struct xvm_channel_options *options, struct xvm_tls *tls,
              struct xvm_control *control);

#endif
