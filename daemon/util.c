/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the small helpers of util.h. */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

ha_ms xvm_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (ha_ms)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int xvm_uuid_parse(const char *text, struct ha_uuid *ret_uuid)
{
    struct ha_uuid uuid = {{0}};
    size_t digits = 0;

    for (; *text && *text != '\n'; text++) {
        int digit = hex_digit(*text);

        if (*text == '-')
            continue;
        if (digit < 0 || digits == 32)
            return -EINVAL;
        uuid.b[digits / 2] = (uint8_t)(uuid.b[digits / 2] << 4 | digit);
        digits++;
    }
    if (digits != 32)
        return -EINVAL;
    *ret_uuid = uuid;
    return 0;
}

int xvm_uuid_read(const char *path, struct ha_uuid *ret_uuid)
{
    char text[64];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n < 0)
        return -EIO;
    text[n] = '\0';
    return xvm_uuid_parse(text, ret_uuid);
}

void xvm_uuid_random(struct ha_uuid *ret_uuid)
{
    ssize_t n;

    do
        n = getrandom(ret_uuid->b, sizeof(ret_uuid->b), 0);
    while (n != (ssize_t)sizeof(ret_uuid->b));
}

int xvm_mkdirs(const char *path, unsigned mode)
{
    char part[4096];
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(part))
        return -ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return -errno;
        part[i] = path[i];
    }
    return 0;
}

uint32_t xvm_crc32c(uint32_t crc, const void *data, size_t len)
{
    static uint32_t table[256];
    const unsigned char *at = data;

    if (table[1] == 0) {
        /* from the top, so that table[1], the sign that it is ready, is written last */
        for (uint32_t i = 256; i-- > 0;) {
            uint32_t c = i;

            for (int bit = 0; bit < 8; bit++)
                c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
            table[i] = c;
        }
    }
    crc = ~crc;
    while (len-- > 0)
        crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
    return ~crc;
}

/* The name is the network namespace's, as corosync's own is; it goes with the process. */
int xvm_be_the_only_one(int *ret_fd)
{
    static const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0xvm-had"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 8) == 0) {
        *ret_fd = fd;
        return 0;
    }
    r = -errno;
    close(fd);
    return r;
}

int xvm_detach(void)
{
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        _exit(0);
    return setsid() < 0 ? -errno : 0;
}
