/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns RUN_DIR/marks: a line with the boot, then a line `incarnation guest` for each mark. */
#include "marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLACK = 4096 }; /* superfluous lines before the file is written anew */

static int remember(struct xvm_marks *m, const struct ha_mark *mark)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->v[i].guest, mark->guest) == 0) {
            if (mark->inc > m->v[i].inc)
                m->v[i].inc = mark->inc;
            return 0;
        }
    }
    if (m->n == m->size) {
        size_t size = m->size ? 2 * m->size : 64;
        struct ha_mark *grown = realloc(m->v, size * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        m->v = grown;
        m->size = size;
    }
    m->v[m->n++] = *mark;
    return 0;
}

static int read_lines(struct xvm_marks *m, FILE *file)
{
    char line[HA_NAME_MAX + 64];
    int r = 0;

    if (!fgets(line, sizeof(line), file) || strcmp(line, m->boot) != 0)
        return 0;
    while (r == 0 && fgets(line, sizeof(line), file)) {
        struct ha_mark mark = {{0}, 0};
        unsigned long long inc;

        if (!strchr(line, '\n'))
            break; /* cut short by a crash: what it stood for has not begun */
        if (sscanf(line, "%llu %63[^\n]", &inc, mark.guest) != 2)
            continue;
        mark.inc = inc;
        r = remember(m, &mark);
    }
    return r;
}

static int write_text(int fd, const char *text, size_t len)
{
    ssize_t n = write(fd, text, len);

    return n == (ssize_t)len ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int write_mark(int fd, const struct ha_mark *mark)
{
    char line[HA_NAME_MAX + 64];
    int n = snprintf(line, sizeof(line), "%llu %s\n", (unsigned long long)mark->inc, mark->guest);

    return write_text(fd, line, (size_t)n);
}

/* All of it into a new file that takes the place of the old one. */
static int rewrite(struct xvm_marks *m)
{
    char temporary[4096];
    int fd, r;

    snprintf(temporary, sizeof(temporary), "%s.new", m->path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = write_text(fd, m->boot, strlen(m->boot));
    for (size_t i = 0; i < m->n && r == 0; i++)
        r = write_mark(fd, &m->v[i]);
    if (r == 0 && rename(temporary, m->path) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    if (m->fd >= 0)
        close(m->fd);
    m->fd = fd;
    m->lines = m->n;
    return 0;
}

int xvm_marks_open(struct xvm_marks *m, const char *run_dir, const struct ha_uuid *boot)
{
    char text[64] = "boot ";
    FILE *file;
    int r = 0;

    memset(m, 0, sizeof(*m));
    m->fd = -1;
    for (size_t i = 0; i < sizeof(boot->b); i++)
        sprintf(text + 5 + 2 * i, "%02x", boot->b[i]);
    strcat(text, "\n");
    m->boot = strdup(text);
    if (!m->boot || asprintf(&m->path, "%s/marks", run_dir) < 0)
        return -ENOMEM;
    file = fopen(m->path, "re");
    if (file) {
        r = read_lines(m, file);
        fclose(file);
    } else if (errno != ENOENT) {
        return -errno;
    }
    return r < 0 ? r : rewrite(m);
}

int xvm_marks_set(struct xvm_marks *m, const struct ha_mark *mark)
{
    int r = remember(m, mark);

    if (r < 0)
        return r;
    if (m->lines > m->n + SLACK)
        return rewrite(m);
    r = write_mark(m->fd, mark);
    if (r < 0)
        return rewrite(m); /* half a line may be at its end: not something to append to */
    m->lines++;
    return 0;
}
