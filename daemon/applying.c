/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the mapped file of applying.h. */
#include "applying.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util.h"

enum {
    CRASHES_MAX = 3,
    WINDOW_MS = 10 * 60 * 1000,
};

struct xvm_applying {
    volatile uint64_t current; /* what is being applied; 0: nothing */
    volatile uint64_t suspect; /* what was, when the daemon ended last in the middle of it */
    volatile uint32_t crashes; /* in the window */
    volatile ha_ms since;      /* when the window began */
};

static bool judge(struct xvm_applying *a, ha_ms now)
{
    bool safe_mode = false;

    if (a->current != 0) {
        if (a->crashes == 0 || a->since > now || now - a->since > WINDOW_MS) {
            a->crashes = 0;
            a->since = now;
        }
        a->crashes++;
        safe_mode = a->current == a->suspect || a->crashes >= CRASHES_MAX;
        a->suspect = a->current;
        a->current = 0;
    }
    if (safe_mode) {
        /* The way out of safe mode is an operator's restart. */
        a->suspect = 0;
        a->crashes = 0;
    }
    return safe_mode;
}

int xvm_applying_open(const char *run_dir, ha_ms now, struct xvm_applying **ret_applying,
                      bool *ret_safe_mode)
{
    char path[4096];
    void *map = MAP_FAILED;
    int fd, r = 0;

    snprintf(path, sizeof(path), "%s/applying", run_dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, sizeof(struct xvm_applying)) == 0)
        map = mmap(NULL, sizeof(struct xvm_applying), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        r = -errno;
    close(fd);
    if (r < 0)
        return r;
    *ret_applying = map;
    *ret_safe_mode = judge(map, now);
    return 0;
}

void xvm_applying_begin(struct xvm_applying *a, const void *data, size_t len)
{
    a->current = (uint64_t)len << 32 | xvm_crc32c(0, data, len) | 1;
}

void xvm_applying_end(struct xvm_applying *a)
{
    a->current = 0;
}
