/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns RUN_DIR/ring: one line with a checksum. */
#include "ring_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define FORMAT "%s node %u token %lld consensus %lld modes %d%d%d%d%d"

static int render(const struct ha_uuid *boot, const struct xvm_corosync_facts *facts, char *line,
                  size_t size)
{
    const struct xvm_ring_facts *ring = &facts->ring;
    char text[40];
    int n;

    for (size_t i = 0; i < sizeof(boot->b); i++)
        sprintf(text + 2 * i, "%02x", boot->b[i]);
    n = snprintf(line, size, FORMAT, text, facts->self, (long long)ring->token_ms,
                 (long long)ring->consensus_ms, ring->two_node, ring->qdevice,
                 ring->last_man_standing, ring->wait_for_all, ring->allow_downscale);
    return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

int xvm_ring_load(const char *run_dir, const struct ha_uuid *boot,
                  struct xvm_corosync_facts *ret_facts)
{
    struct xvm_corosync_facts facts = {0};
    char path[4096], line[256], again[256];
    long long token, consensus;
    int m[5], n;
    FILE *file;

    snprintf(path, sizeof(path), "%s/ring", run_dir);
    file = fopen(path, "re");
    if (!file)
        return -errno;
    n = fgets(line, sizeof(line), file) ? 1 : 0;
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    if (n != 1 || sscanf(line, "%*32s node %u token %lld consensus %lld modes %1d%1d%1d%1d%1d",
                         &facts.self, &token, &consensus, &m[0], &m[1], &m[2], &m[3], &m[4]) != 8)
        return -ENOENT;
    facts.ring = (struct xvm_ring_facts){token, consensus, m[0], m[1], m[2], m[3], m[4]};
    /* rendered again it must be the same: the right boot, nothing cut off, nothing odd */
    if (render(boot, &facts, again, sizeof(again)) < 0 || strcmp(line, again) != 0)
        return -ENOENT;
    *ret_facts = facts;
    return 0;
}

int xvm_ring_save(const char *run_dir, const struct ha_uuid *boot,
                  const struct xvm_corosync_facts *facts)
{
    char path[4096], temporary[4200], line[256];
    FILE *file;
    int r = render(boot, facts, line, sizeof(line));

    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/ring", run_dir);
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    file = fopen(temporary, "we");
    if (!file)
        return -errno;
    fprintf(file, "%s\n", line);
    if (fclose(file) != 0)
        return -errno;
    return rename(temporary, path) < 0 ? -errno : 0;
}
