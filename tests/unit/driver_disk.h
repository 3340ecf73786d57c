/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shared storage of the process driver's tests: its files, and what guests wrote to their disk. */
#ifndef DRIVER_DISK_H
#define DRIVER_DISK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef GUEST
#error "GUEST is the name of the test's guest"
#endif

static void write_file(const char *shared, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", shared, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static bool file_exists(const char *shared, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", shared, name);
    return access(path, F_OK) == 0;
}

struct line {
    char host[64];
    uint64_t inc, tick;
};

/* Number of lines on the disk; the last one in ret_last. */
static size_t read_disk(const char *shared, struct line *ret_last)
{
    char path[256];
    size_t n = 0;
    struct line line;
    snprintf(path, sizeof(path), "%s/" GUEST ".disk", shared);
    FILE *f = fopen(path, "r");
    while (f && fscanf(f, "%63s %" SCNu64 " %" SCNu64, line.host, &line.inc, &line.tick) == 3) {
        *ret_last = line;
        n++;
    }
    if (f)
        fclose(f);
    return n;
}

static size_t disk_lines(const char *shared)
{
    struct line last;
    return read_disk(shared, &last);
}

static void assert_disks_good(const char *shared)
{
    char command[512];
    snprintf(command, sizeof(command), "python3 '%s/tests/cluster/check_disks.py' '%s' >/dev/null",
             XVM_SOURCE_DIR, shared);
    assert_int_equal(system(command), 0);
}

#endif
