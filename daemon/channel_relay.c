/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay between the worker's stream and the TLS connection: both directions, each with one
 * buffer (a full one stops its source), ends passed on one by one, nothing lost at an end. */
#include "channel_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER = 64 * 1024,
    TELL_MS = 500,
    LINGER_MS = 5000,  /* for the other end to take what we sent last */
    BURST_MS = 50,     /* how far the limit may be outrun for a moment */
    BURST_MIN = 16384, /* one record */
};

struct pipe_buffer {
    uint8_t *data;
    size_t n, at;
};

struct relay {
    const struct xvm_channel_options *o;
    struct xvm_tls *tls;
    struct xvm_control *control;
    struct pipe_buffer out, in; /* out: to the other host */
    bool out_eof, out_closed;   /* the worker has ended its direction; and the other end knows */
    bool in_eof, in_closed;
    bool gone;       /* the worker has closed both directions, and all was read */
    bool mid_record; /* GnuTLS wants the same bytes again */
    uint64_t sent, received;
    double tokens;
    ha_ms filled;
};

ha_ms xvm_channel_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (ha_ms)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* -------------------------------------------------------------------------------- the control */

void xvm_control_say(struct xvm_control *control, const char *format, ...)
{
    char line[HA_TEXT_MAX];
    va_list args;
    if (control->fd < 0)
        return;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n <= 0 || (size_t)n >= sizeof(line))
        return;
    /* A busy daemon misses a line; the next one says it all again. */
    if (send(control->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
        errno != EINTR) {
        close(control->fd);
        control->fd = -1;
    }
}

int xvm_control_bytes(struct xvm_control *control, uint64_t out, uint64_t in)
{
    ha_ms now = xvm_channel_now();
    if (now >= control->next) {
        xvm_control_say(control, "bytes %llu %llu\n", (unsigned long long)out,
                        (unsigned long long)in);
        control->next = now + TELL_MS;
    }
    return (int)(control->next - now);
}

/* ----------------------------------------------------------------------------------- the limit */

/* Bytes that may be sent now; fills the bucket. */
static double may_send(struct relay *r)
{
    if (!r->o->rate)
        return BUFFER;
    ha_ms now = xvm_channel_now();
    double rate = (double)r->o->rate, most = rate * BURST_MS / 1000;
    if (most < BURST_MIN)
        most = BURST_MIN;
    r->tokens += rate * (double)(now - r->filled) / 1000;
    r->filled = now;
    if (r->tokens > most)
        r->tokens = most;
    return r->tokens;
}

/* How long until there is something to spend. */
static int wait_for_tokens(const struct relay *r)
{
    double missing = r->tokens < 1 ? 1 - r->tokens : 0;
    double ms = missing * 1000 / (double)r->o->rate;
    return ms > 1000 ? 1000 : (int)ms + 1;
}

/* -------------------------------------------------------------------------------- the traffic */

/* -EAGAIN: nothing to do now. 0: something was done, or an end was reached. Else it is over. */
static int read_stream(struct relay *r)
{
    double allowed = may_send(r);
    size_t room = allowed < BUFFER ? (size_t)(allowed > 0 ? allowed : 0) : BUFFER;
    if (r->out.n || r->out_eof || !room)
        return -EAGAIN;
    ssize_t n = read(r->o->stream, r->out.data, room);
    if (n < 0)
        return errno == EINTR ? 0 : errno == EAGAIN ? -EAGAIN : -errno;
    r->out_eof = n == 0;
    r->out.n = (size_t)n;
    r->out.at = 0;
    r->tokens -= r->o->rate ? (double)n : 0;
    return 0;
}

static bool again(ssize_t n)
{
    return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

static int write_tls(struct relay *r)
{
    if (r->out.n) {
        ssize_t n = gnutls_record_send(r->tls->session, r->out.data + r->out.at, r->out.n);
        r->mid_record = again(n);
        if (r->mid_record)
            return -EAGAIN;
        if (n < 0)
            return -EPIPE;
        r->out.at += (size_t)n;
        r->out.n -= (size_t)n;
        r->sent += (uint64_t)n;
        return 0;
    }
    if (!r->out_eof || r->out_closed)
        return -EAGAIN;
    int n = gnutls_bye(r->tls->session, GNUTLS_SHUT_WR);
    if (again(n))
        return -EAGAIN;
    r->out_closed = true;
    return n < 0 || shutdown(r->o->socket, SHUT_WR) < 0 ? -EPIPE : 0;
}

static int read_tls(struct relay *r)
{
    if (r->in.n || r->in_eof)
        return -EAGAIN;
    ssize_t n = gnutls_record_recv(r->tls->session, r->in.data, BUFFER);
    if (again(n))
        return -EAGAIN;
    if (n < 0 && !gnutls_error_is_fatal((int)n))
        return 0; /* a warning alert, a new key: not for us */
    if (n < 0)
        return -EPIPE; /* also a cut: an end that nobody vouches for */
    r->in_eof = n == 0;
    r->in.n = (size_t)n;
    r->in.at = 0;
    r->received += (uint64_t)n;
    return 0;
}

static int write_stream(struct relay *r)
{
    if (r->in.n) {
        ssize_t n = send(r->o->stream, r->in.data + r->in.at, r->in.n, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EINTR ? 0 : errno == EAGAIN ? -EAGAIN : -EPIPE;
        r->in.at += (size_t)n;
        r->in.n -= (size_t)n;
        return 0;
    }
    if (!r->in_eof || r->in_closed)
        return -EAGAIN;
    r->in_closed = true;
    (void)shutdown(r->o->stream, SHUT_WR);
    return 0;
}

/* What the worker's end is watched for. A hang-up is told whether it is asked for or not, so that
 * end is not watched while there is nothing that it could change. */
static void watch_stream(const struct relay *r, bool starved, struct pollfd *p)
{
    *p = (struct pollfd){.fd = r->o->stream};
    if (!r->out.n && !r->out_eof && !starved)
        p->events |= POLLIN;
    if (r->in.n)
        p->events |= POLLOUT;
    if (r->gone || (!p->events && !r->out_eof))
        p->fd = -1;
}

static void wait_traffic(struct relay *r)
{
    bool starved = r->o->rate && may_send(r) < 1;
    struct pollfd p[2];
    watch_stream(r, starved, &p[0]);
    p[1] = (struct pollfd){.fd = r->o->socket};
    if (!r->in.n && !r->in_eof)
        p[1].events |= POLLIN;
    if (r->mid_record || (r->out_eof && !r->out_closed))
        p[1].events |= POLLOUT;
    int wait = xvm_control_bytes(r->control, r->sent, r->received);
    if (starved && wait_for_tokens(r) < wait)
        wait = wait_for_tokens(r);
    if (gnutls_record_check_pending(r->tls->session) > 0 && !r->in.n)
        wait = 0;
    if (poll(p, 2, wait > 0 ? wait : 0) > 0 && (p[0].revents & (POLLHUP | POLLERR)) && r->out_eof)
        r->gone = true;
}

/* The worker is gone, or wants no more: what it wrote last still has to arrive. A socket that is
 * closed with unread bytes in it would take that back. */
static void linger(struct relay *r)
{
    ha_ms deadline = xvm_channel_now() + LINGER_MS;
    uint8_t *waste = r->in.data;
    (void)shutdown(r->o->socket, SHUT_WR);
    for (ha_ms left; (left = deadline - xvm_channel_now()) > 0;) {
        struct pollfd p = {.fd = r->o->socket, .events = POLLIN};
        if (poll(&p, 1, (int)left) < 0 && errno == EINTR)
            continue;
        ssize_t n = read(r->o->socket, waste, BUFFER);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
    }
}

/* True: both directions ended as they should. */
static bool run(struct relay *r)
{
    while (!(r->out_closed && (r->in_closed || r->gone))) {
        int (*const steps[])(struct relay *) = {read_tls, write_stream, read_stream, write_tls};
        bool moved = false;
        for (size_t i = 0; i < 4; i++) {
            int e = steps[i](r);
            if (e < 0 && e != -EAGAIN) {
                /* A worker that reads no more may still have said something. */
                if (steps[i] != write_stream && steps[i] != read_stream)
                    return false;
                r->in.n = 0;
                r->in_eof = r->in_closed = true;
                r->out_eof = r->out_eof || steps[i] == read_stream;
            }
            moved = moved || e == 0;
        }
        (void)xvm_control_bytes(r->control, r->sent, r->received);
        if (!moved)
            wait_traffic(r);
    }
    return true;
}

int xvm_relay(const struct xvm_channel_options *options, struct xvm_tls *tls,
              struct xvm_control *control)
{
    struct relay r = {.o = options, .tls = tls, .control = control, .filled = xvm_channel_now()};
    int flags = fcntl(options->stream, F_GETFL);
    if (flags < 0 || fcntl(options->stream, F_SETFL, flags | O_NONBLOCK) < 0)
        return XVM_CHANNEL_FAILED;
    r.out.data = malloc(BUFFER);
    r.in.data = malloc(BUFFER);
    bool ok = r.out.data && r.in.data && run(&r);
    if (ok)
        linger(&r);
    control->next = 0;
    (void)xvm_control_bytes(control, r.sent, r.received);
    free(r.out.data);
    free(r.in.data);
    return ok ? XVM_CHANNEL_DONE : XVM_CHANNEL_BROKEN;
}
