/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS 1.3 with an external pre-shared key, forward secret, nothing else negotiable; and the step
 * from GnuTLS to the kernel's TLS. */
#include "channel_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* A pre-shared key is bound to a hash, SHA-256 here: only suites with that one. Nothing is signed
 * (there are no certificates), but GnuTLS takes no list without signatures. */
static const char priority[] = "NONE:+VERS-TLS1.3:+AES-128-GCM:+CHACHA20-POLY1305:+AEAD:"
                               "+ECDHE-PSK:+GROUP-X25519:+GROUP-SECP256R1:+SIGN-ALL";
static const char identity[] = "xvm-ha"; /* it says nothing: the key does */

static int give_key(gnutls_session_t session, const char *name, gnutls_datum_t *key)
{
    const struct xvm_tls *tls = gnutls_session_get_ptr(session);
    (void)name;
    key->data = gnutls_malloc(XVM_KEY_SIZE);
    if (!key->data)
        return -1;
    memcpy(key->data, tls->key, XVM_KEY_SIZE);
    key->size = XVM_KEY_SIZE;
    return 0;
}

static int set_credentials(struct xvm_tls *tls, bool client)
{
    const gnutls_datum_t key = {tls->key, XVM_KEY_SIZE};
    int r;
    if (client) {
        r = gnutls_psk_allocate_client_credentials(&tls->client);
        if (r == 0)
            r = gnutls_psk_set_client_credentials(tls->client, identity, &key, GNUTLS_PSK_KEY_RAW);
        return r ? r : gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->client);
    }
    r = gnutls_psk_allocate_server_credentials(&tls->server);
    if (r)
        return r;
    gnutls_psk_set_server_credentials_function(tls->server, give_key);
    return gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->server);
}

static int make_session(const struct xvm_channel_options *o, struct xvm_tls *tls)
{
    /* No tickets: nothing may follow the handshake that the kernel could not digest. */
    unsigned role = o->send ? GNUTLS_CLIENT : GNUTLS_SERVER;
    int r =
        gnutls_init(&tls->session, role | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL);
    if (r)
        return r;
    gnutls_session_set_ptr(tls->session, tls);
    r = gnutls_priority_set_direct(tls->session, priority, NULL);
    if (r == 0)
        r = set_credentials(tls, o->send);
    gnutls_transport_set_int(tls->session, o->socket);
    gnutls_handshake_set_timeout(tls->session, 0); /* ours is the limit */
    return r;
}

/* Waits for the socket. 0; -ETIMEDOUT; -ECANCELED: the daemon is gone. */
static int wait_socket(const struct xvm_channel_options *o, struct xvm_tls *tls, ha_ms deadline)
{
    short events = gnutls_record_get_direction(tls->session) ? POLLOUT : POLLIN;
    struct pollfd p[2] = {{.fd = o->socket, .events = events}, {.fd = o->control}};
    ha_ms left = deadline - xvm_channel_now();
    if (left <= 0)
        return -ETIMEDOUT;
    if (poll(p, 2, (int)left) < 0 && errno != EINTR)
        return -errno;
    return p[1].revents & (POLLHUP | POLLERR) ? -ECANCELED : 0;
}

static int explain(struct xvm_tls *tls, int r, bool heard, char why[HA_TEXT_MAX])
{
    if (r == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        snprintf(why, HA_TEXT_MAX,
                 "the other host does not accept the key (%s): do both have the same corosync "
                 "authkey and the same cluster name?",
                 gnutls_alert_get_name(gnutls_alert_get(tls->session)));
        return XVM_CHANNEL_REFUSED;
    }
    if (!heard && (r == GNUTLS_E_PREMATURE_TERMINATION || r == GNUTLS_E_PULL_ERROR ||
                   r == GNUTLS_E_PUSH_ERROR)) {
        snprintf(why, HA_TEXT_MAX, "the other host closed the connection at once");
        return XVM_CHANNEL_CLOSED;
    }
    if (r == GNUTLS_E_PREMATURE_TERMINATION || r == GNUTLS_E_PULL_ERROR ||
        r == GNUTLS_E_PUSH_ERROR) {
        snprintf(why, HA_TEXT_MAX, "the connection broke during the handshake");
        return XVM_CHANNEL_CLOSED;
    }
    snprintf(why, HA_TEXT_MAX,
             "the key of the other host is not ours (%s): do both have the same corosync authkey "
             "and the same cluster name?",
             gnutls_strerror(r));
    return XVM_CHANNEL_REFUSED;
}

static int handshake(const struct xvm_channel_options *o, struct xvm_tls *tls,
                     char why[HA_TEXT_MAX])
{
    ha_ms deadline = xvm_channel_now() + o->handshake_ms;
    bool heard = false;
    int r;
    while ((r = gnutls_handshake(tls->session)) < 0) {
        if (r != GNUTLS_E_AGAIN && r != GNUTLS_E_INTERRUPTED && gnutls_error_is_fatal(r)) {
            if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
                (void)gnutls_alert_send_appropriate(tls->session, r);
            return explain(tls, r, heard, why);
        }
        heard = heard ||
                gnutls_handshake_get_last_in(tls->session) != (gnutls_handshake_description_t)-1;
        int e = wait_socket(o, tls, deadline);
        if (e < 0) {
            snprintf(why, HA_TEXT_MAX, "%s",
                     e == -ETIMEDOUT ? "the other host did not finish the handshake in time"
                                     : "the daemon is gone");
            return e == -ETIMEDOUT ? XVM_CHANNEL_CLOSED : XVM_CHANNEL_FAILED;
        }
    }
    return XVM_CHANNEL_DONE;
}

int xvm_tls_open(const struct xvm_channel_options *o, struct xvm_tls *tls,
                 char ret_why[HA_TEXT_MAX])
{
    if (xvm_channel_key(o->authkey, &o->context, tls->key, ret_why) < 0)
        return XVM_CHANNEL_FAILED;
    int flags = fcntl(o->socket, F_GETFL);
    if (flags < 0 || fcntl(o->socket, F_SETFL, flags | O_NONBLOCK) < 0) {
        snprintf(ret_why, HA_TEXT_MAX, "the socket cannot be used: %s", strerror(errno));
        return XVM_CHANNEL_FAILED;
    }
    int r = make_session(o, tls);
    if (r) {
        snprintf(ret_why, HA_TEXT_MAX, "TLS cannot be set up: %s", gnutls_strerror(r));
        return XVM_CHANNEL_FAILED;
    }
    return handshake(o, tls, ret_why);
}

void xvm_tls_done(struct xvm_tls *tls)
{
    if (tls->session)
        gnutls_deinit(tls->session);
    if (tls->client)
        gnutls_psk_free_client_credentials(tls->client);
    if (tls->server)
        gnutls_psk_free_server_credentials(tls->server);
    explicit_bzero(tls->key, sizeof(tls->key));
    *tls = (struct xvm_tls){0};
}

void xvm_tls_words(const struct xvm_tls *tls, char *buf, size_t size)
{
    snprintf(buf, size, "TLS 1.3, %s", gnutls_cipher_get_name(gnutls_cipher_get(tls->session)));
}

/* ------------------------------------------------------------------------------- kernel TLS */

union crypto {
    struct tls_crypto_info info;
    struct tls12_crypto_info_aes_gcm_128 aes;
#ifdef TLS_CIPHER_CHACHA20_POLY1305
    struct tls12_crypto_info_chacha20_poly1305 chacha;
#endif
};

/* What the kernel needs for one direction. Returns its size, 0: not a cipher it takes. */
static socklen_t fill(struct xvm_tls *tls, bool read, union crypto *c)
{
    gnutls_datum_t mac, iv, key;
    unsigned char seq[8];
    if (gnutls_record_get_state(tls->session, read, &mac, &iv, &key, seq) < 0)
        return 0;
    memset(c, 0, sizeof(*c));
    c->info.version = TLS_1_3_VERSION;
    if (gnutls_cipher_get(tls->session) == GNUTLS_CIPHER_AES_128_GCM &&
        key.size == TLS_CIPHER_AES_GCM_128_KEY_SIZE &&
        iv.size == TLS_CIPHER_AES_GCM_128_SALT_SIZE + TLS_CIPHER_AES_GCM_128_IV_SIZE) {
        c->info.cipher_type = TLS_CIPHER_AES_GCM_128;
        memcpy(c->aes.salt, iv.data, TLS_CIPHER_AES_GCM_128_SALT_SIZE);
        memcpy(c->aes.iv, iv.data + TLS_CIPHER_AES_GCM_128_SALT_SIZE,
               TLS_CIPHER_AES_GCM_128_IV_SIZE);
        memcpy(c->aes.key, key.data, key.size);
        memcpy(c->aes.rec_seq, seq, sizeof(seq));
        return sizeof(c->aes);
    }
#ifdef TLS_CIPHER_CHACHA20_POLY1305
    if (gnutls_cipher_get(tls->session) == GNUTLS_CIPHER_CHACHA20_POLY1305 &&
        key.size == TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE &&
        iv.size == TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE) {
        c->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
        memcpy(c->chacha.iv, iv.data, iv.size);
        memcpy(c->chacha.key, key.data, key.size);
        memcpy(c->chacha.rec_seq, seq, sizeof(seq));
        return sizeof(c->chacha);
    }
#endif
    return 0;
}

bool xvm_tls_to_kernel(struct xvm_tls *tls, int socket, bool *ret_broken)
{
    union crypto rx, tx;
    socklen_t nrx = fill(tls, true, &rx), ntx = fill(tls, false, &tx);
    bool done = false;
    *ret_broken = false;
    /* What GnuTLS has read already the kernel would never see. */
    if (nrx && ntx && gnutls_record_check_pending(tls->session) == 0 &&
        setsockopt(socket, SOL_TCP, TCP_ULP, "tls", sizeof("tls")) == 0) {
        done = setsockopt(socket, SOL_TLS, TLS_TX, &tx, ntx) == 0;
        if (done && setsockopt(socket, SOL_TLS, TLS_RX, &rx, nrx) < 0)
            *ret_broken = true;
    }
    explicit_bzero(&rx, sizeof(rx));
    explicit_bzero(&tx, sizeof(tx));
    return done;
}
