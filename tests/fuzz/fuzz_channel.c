/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes what the migration's transport reads from strangers: the clear preamble, in pieces of any
 * size, and, as it comes over the wire, the image of the process driver's guest. A preamble that is
 * taken is one that we would have written; an image that is taken has the right sum. */
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/channel.h"
#include "../../daemon/guest_transfer.h"

static void preamble(const uint8_t *data, size_t size)
{
    struct xvm_preamble p = {0};
    uint8_t again[XVM_PREAMBLE_SIZE];
    int last = -EAGAIN;

    for (size_t n = 0; n <= size; n++) {
        /* In memory of just that size, so that a sanitizer sees one byte too many. */
        uint8_t *copy = malloc(n ? n : 1);
        int r;

        if (!copy)
            abort();
        memcpy(copy, data, n);
        r = xvm_preamble_read(copy, n, &p);
        free(copy);
        if (last != -EAGAIN && last != 0 && r != last && r != -EBADMSG)
            abort(); /* what was refused does not become good by more of it */
        if (r == 0 && n != XVM_PREAMBLE_SIZE)
            abort();
        if (r == -EAGAIN && n >= XVM_PREAMBLE_SIZE)
            abort();
        last = r;
        if (r != 0)
            continue;
        xvm_preamble_write(&p, again);
        if (memcmp(again, data, sizeof(again)) != 0)
            abort();
    }
}

static void image(const uint8_t *data, size_t size)
{
    static const volatile sig_atomic_t never;
    struct xvm_guest_image got;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        abort();
    if (send(fds[0], data, size, MSG_DONTWAIT) != (ssize_t)size && size > 0)
        abort();
    close(fds[0]);
    struct xvm_image_stream s = {
        .fd = fds[1], .progress = -1, .deadline = xvm_boot_ms() + 10000, .cancelled = &never};
    int r = xvm_image_receive(&s, "web", 9, &got);

    if (r == 0 && got.mig != 9)
        abort();
    if (r == -ETIMEDOUT)
        abort(); /* the end of the stream is its end */
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    preamble(data, size < 64 ? size : 64);
    image(data, size);
    return 0;
}

static size_t make_preamble(uint64_t *seed, uint8_t *data)
{
    const struct xvm_preamble p = {.mig = fuzz_next(seed) % 5,
                                   .source = (ha_node)(fuzz_next(seed) % 4),
                                   .target = (ha_node)(fuzz_next(seed) % 4)};

    xvm_preamble_write(&p, data);
    return XVM_PREAMBLE_SIZE + fuzz_next(seed) % 3;
}

static size_t make_image(uint64_t *seed, uint8_t *data, size_t size)
{
    static const volatile sig_atomic_t never;
    struct xvm_guest_image im = {.mig = 9, .inc = fuzz_next(seed) % 9, .tick = fuzz_next(seed)};
    int fds[2];

    strcpy(im.name, "web");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        abort();
    struct xvm_image_stream s = {
        .fd = fds[0], .progress = -1, .deadline = xvm_boot_ms() + 10000, .cancelled = &never};
    (void)xvm_image_send_head(&s, &im);
    (void)xvm_image_send_memory(&s, fuzz_next(seed) % 2);
    (void)xvm_image_send_state(&s, &im);
    (void)xvm_image_send_end(&s);
    ssize_t n = recv(fds[1], data, size, MSG_DONTWAIT);
    close(fds[0]);
    close(fds[1]);
    return n > 0 ? (size_t)n : 0;
}

size_t fuzz_make(uint64_t *seed, uint8_t *data, size_t size)
{
    uint8_t choices[64];
    struct fuzz_input in = {choices, sizeof(choices)};
    size_t n = 0;

    for (size_t i = 0; i < sizeof(choices); i++)
        choices[i] = (uint8_t)fuzz_next(seed);
    switch (fuzz_next(seed) % 4) {
    case 0:
        return fuzz_random_bytes(seed, data, size);
    case 1:
        n = make_preamble(seed, data);
        break;
    default:
        n = make_image(seed, data, size);
        break;
    }
    return fuzz_next(seed) % 8 ? fuzz_mutate(&in, data, n) : n;
}
