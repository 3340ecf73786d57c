/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames: u32 type, u32 length (both little-endian), payload. The sum is over all bytes before the
 * end's payload. */
#include "guest_transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FRAME_MAX = 64 * 1024,
    HEAD = 8,
    SLICE_MS = 50, /* how soon a cancel is noticed */
};

enum frame {
    FRAME_HEAD = 1,
    FRAME_MEMORY,
    FRAME_STATE,
    FRAME_END,
};

/* FNV-1a over words: it has to notice a torn or foreign image, not an attacker (TLS does that). */
static uint64_t add_sum(uint64_t sum, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, data + i, n - i < 8 ? n - i : 8);
        sum = (sum ^ word) * 0x100000001b3u;
    }
    return sum;
}

/* ------------------------------------------------------------------------------------- bytes */

static int wait_for(const struct xvm_image_stream *s, short events)
{
    for (;;) {
        struct pollfd p = {.fd = s->fd, .events = events};
        if (*s->cancelled)
            return -ECANCELED;
        if (xvm_boot_ms() >= s->deadline)
            return -ETIMEDOUT;
        int n = poll(&p, 1, SLICE_MS);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            return 0;
    }
}

static int broken(int e)
{
    return e == ECONNRESET || e == EIO || e == ETIMEDOUT || e == ENOTCONN ? -EPIPE : -e;
}

static int write_all(struct xvm_image_stream *s, const uint8_t *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        int r = wait_for(s, POLLOUT);
        if (r < 0)
            return r;
        ssize_t sent = send(s->fd, data + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return broken(errno);
        at += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

static int read_all(struct xvm_image_stream *s, uint8_t *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        int r = wait_for(s, POLLIN);
        if (r < 0)
            return r;
        ssize_t got = recv(s->fd, data + at, n - at, MSG_DONTWAIT);
        if (got == 0)
            return -EPIPE; /* an end that is not said is none */
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return broken(errno);
        at += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int xvm_image_wait(struct xvm_image_stream *s, char byte)
{
    uint8_t got = 0;
    int r = read_all(s, &got, 1);
    return r < 0 ? r : got == (uint8_t)byte ? 0 : -EPROTO;
}

int xvm_image_say(struct xvm_image_stream *s, char byte)
{
    const uint8_t out = (uint8_t)byte;
    return write_all(s, &out, 1);
}

/* ------------------------------------------------------------------------------------ frames */

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* `frame` has HEAD bytes of room before the payload. */
static int send_frame(struct xvm_image_stream *s, enum frame type, uint8_t *frame, size_t n)
{
    put_u32(frame, type);
    put_u32(frame + 4, (uint32_t)n);
    s->sum = add_sum(s->sum, frame, type == FRAME_END ? HEAD : HEAD + n);
    return write_all(s, frame, HEAD + n);
}

static int send_text(struct xvm_image_stream *s, enum frame type, const char *text)
{
    uint8_t frame[HEAD + 256];
    size_t n = strnlen(text, 256);
    memcpy(frame + HEAD, text, n);
    return send_frame(s, type, frame, n);
}

int xvm_image_send_head(struct xvm_image_stream *s, const struct xvm_guest_image *image)
{
    char text[256];
    snprintf(text, sizeof(text), "xvm-image 2\nname %s\nmig %" PRIu64 "\n", image->name,
             image->mig);
    return send_text(s, FRAME_HEAD, text);
}

int xvm_image_send_state(struct xvm_image_stream *s, const struct xvm_guest_image *image)
{
    char text[256];
    snprintf(text, sizeof(text), "inc %" PRIu64 "\ntick %" PRIu64 "\n", image->inc, image->tick);
    return send_text(s, FRAME_STATE, text);
}

int xvm_image_send_end(struct xvm_image_stream *s)
{
    uint8_t frame[HEAD + 8];
    put_u32(frame, FRAME_END);
    put_u32(frame + 4, 8);
    uint64_t sum = add_sum(s->sum, frame, HEAD);
    put_u32(frame + HEAD, (uint32_t)sum);
    put_u32(frame + HEAD + 4, (uint32_t)(sum >> 32));
    return send_frame(s, FRAME_END, frame, 8);
}

static void tell_round(const struct xvm_image_stream *s, uint64_t left_kib)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "round %" PRIu32 " %" PRIu64 "\n", s->round, left_kib);
    if (s->progress >= 0 && write(s->progress, line, (size_t)n) < 0)
        return; /* nobody reads it just now */
}

int xvm_image_send_memory(struct xvm_image_stream *s, uint64_t kib)
{
    uint8_t frame[HEAD + FRAME_MAX];
    uint64_t left = kib * 1024, told = UINT64_MAX, x = kib + s->round + 1;
    int r = 0;
    s->round++;
    for (size_t i = 0; i < FRAME_MAX; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        frame[HEAD + i] = (uint8_t)(x >> 56);
    }
    while (left > 0 && r == 0) {
        size_t n = left < FRAME_MAX ? (size_t)left : FRAME_MAX;
        if (told - left >= 1 << 20) {
            tell_round(s, left / 1024);
            told = left;
        }
        put_u32(frame + HEAD, (uint32_t)left); /* no two alike */
        r = send_frame(s, FRAME_MEMORY, frame, n);
        left -= n;
    }
    return r;
}

/* ----------------------------------------------------------------------------------- receive */

static bool take_text(const char *text, enum frame type, const char *name, uint64_t mig,
                      struct xvm_guest_image *image)
{
    if (type == FRAME_HEAD)
        return sscanf(text, "xvm-image 2\nname %63s\nmig %" SCNu64 "\n", image->name,
                      &image->mig) == 2 &&
               !strcmp(image->name, name) && image->mig == mig;
    return image->mig == mig &&
           sscanf(text, "inc %" SCNu64 "\ntick %" SCNu64 "\n", &image->inc, &image->tick) == 2;
}

int xvm_image_receive(struct xvm_image_stream *s, const char *name, uint64_t mig,
                      struct xvm_guest_image *ret_image)
{
    uint8_t frame[HEAD + FRAME_MAX + 1] = {0};
    struct xvm_guest_image image = {0};
    bool state = false;
    for (;;) {
        int r = read_all(s, frame, HEAD);
        uint32_t type = get_u32(frame), n = get_u32(frame + 4);
        if (r < 0)
            return r;
        if (n > FRAME_MAX || (type == FRAME_END && n != 8) || type < FRAME_HEAD || type > FRAME_END)
            return -EBADMSG;
        r = read_all(s, frame + HEAD, n);
        if (r < 0)
            return r;
        s->sum = add_sum(s->sum, frame, type == FRAME_END ? HEAD : HEAD + n);
        frame[HEAD + n] = '\0';
        if (type == FRAME_END) {
            uint64_t sum = get_u32(frame + HEAD) | (uint64_t)get_u32(frame + HEAD + 4) << 32;
            if (!state || sum != s->sum)
                return -EBADMSG;
            *ret_image = image;
            return 0;
        }
        if (type != FRAME_MEMORY &&
            !take_text((const char *)frame + HEAD, (enum frame)type, name, mig, &image))
            return -EBADMSG;
        state = state || type == FRAME_STATE;
    }
}
