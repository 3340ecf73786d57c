/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running agents for their metadata, and the folder where it is kept. */
#include "fence_agents.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_MS = 30 * 1000, /* of one agent; python and its modules take long on a busy or cold host */
    HEADER_MAX = PATH_MAX + 128,
};

struct entry {
    struct entry *next;
    char *path;
    struct xvm_fence_meta *meta; /* NULL: r and why say what is wrong */
    int r;
    char why[XVM_META_WHY];
};

struct xvm_fence_agents {
    char *dir, *cache_dir;
    int64_t limit_ms;
    bool run;
    struct entry *entries;
};

struct text {
    char *data;
    size_t n;
};

/* ----------------------------------------------------------------------------------- running */

static int64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until end of file, the limit, or too much. */
static int read_until(int fd, int64_t end, struct text *ret_text)
{
    struct text t = {.data = malloc(XVM_META_SIZE_MAX + 1)};
    int r = t.data == NULL ? -ENOMEM : 0;

    while (r == 0 && t.n <= XVM_META_SIZE_MAX) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - clock_ms();
        ssize_t n;

        if (left <= 0)
            r = -ETIMEDOUT;
        else if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
            r = -errno;
        else if (p.revents != 0) {
            n = read(fd, t.data + t.n, XVM_META_SIZE_MAX + 1 - t.n);
            if (n == 0)
                break;
            if (n < 0 && errno != EINTR)
                r = -errno;
            t.n += n > 0 ? (size_t)n : 0;
        }
    }
    if (r < 0)
        free(t.data);
    else
        *ret_text = t;
    return r;
}

/* The exit status as waitpid has it; the whole group ends with its leader. */
static int reap(pid_t pid, int64_t end, int *ret_status)
{
    const struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};
    bool killed = false;
    pid_t p;

    while ((p = waitpid(pid, ret_status, WNOHANG)) == 0 || (p < 0 && errno == EINTR)) {
        if (clock_ms() >= end && !killed) {
            kill(-pid, SIGKILL);
            killed = true;
        } else if (clock_ms() >= end + 2000) {
            return -ETIMEDOUT; /* stuck in the kernel: left behind */
        }
        nanosleep(&nap, NULL);
    }
    kill(-pid, SIGKILL);
    return p < 0 ? -errno : killed ? -ETIMEDOUT : 0;
}

static int spawn(const char *path, int in, int out, pid_t *ret_pid)
{
    char *argv[] = {(char *)path, NULL};
    char search[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char locale[] = "LC_ALL=C", home[] = "HOME=/root";
    char *envp[] = {search, locale, home, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int r;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    r = posix_spawn_file_actions_adddup2(&files, in, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&files, out, 1);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn(ret_pid, path, &files, &attr, argv, envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -r;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

static int talk(const char *path, int64_t end, int in[2], int out[2], struct text *ret_text,
                int *ret_status)
{
    static const char input[] = "action=metadata\n";
    pid_t pid = 0;
    int r, s;

    *ret_text = (struct text){0};
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    /* fits the pipe, which has a reader: ourselves */
    if (write(in[1], input, sizeof(input) - 1) != (ssize_t)sizeof(input) - 1)
        return -EIO;
    r = spawn(path, in[0], out[1], &pid);
    if (r < 0 || pid <= 0)
        return r < 0 ? r : -ECHILD;
    close_pair(in);
    close(out[1]);
    out[1] = -1;
    r = read_until(out[0], end, ret_text);
    s = reap(pid, r < 0 ? clock_ms() : end, ret_status);
    if (r < 0 || s >= 0)
        return r;
    free(ret_text->data);
    ret_text->data = NULL;
    return s;
}

static int ask(const char *path, int64_t limit_ms, struct text *ret_text,
               char why[static XVM_META_WHY])
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, status = 0;
    struct text text = {0};
    int r = talk(path, clock_ms() + limit_ms, in, out, &text, &status);

    close_pair(in);
    close_pair(out);
    if (r == -ETIMEDOUT)
        snprintf(why, XVM_META_WHY, "it did not answer action=metadata within %.1f s",
                 (double)limit_ms / 1000);
    else if (r < 0)
        snprintf(why, XVM_META_WHY, "it cannot be run: %s", strerror(-r));
    if (r < 0)
        return r == -ENOMEM || r == -ETIMEDOUT ? r : -ENOENT;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        free(text.data);
        snprintf(why, XVM_META_WHY,
                 WIFEXITED(status) ? "action=metadata failed with exit code %d"
                                   : "action=metadata ended with wait status %d",
                 WIFEXITED(status) ? WEXITSTATUS(status) : status);
        return -EBADMSG;
    }
    *ret_text = text;
    return 0;
}

/* -------------------------------------------------------------------------------------- kept */

/* One line that names the agent's file as it was when it was asked. */
static void header(const char *path, const struct stat *st, char line[static HEADER_MAX])
{
    snprintf(line, HEADER_MAX, "xvm-agent-metadata 1 %ju %ju %jd %jd.%09ld %.*s\n",
             (uintmax_t)st->st_dev, (uintmax_t)st->st_ino, (intmax_t)st->st_size,
             (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, PATH_MAX, path);
}

static int cache_name(const struct xvm_fence_agents *agents, const char *path, char **ret_name)
{
    char *slash;

    if (agents->cache_dir == NULL)
        return -ENODATA;
    if (asprintf(ret_name, "%s/%s.xml", agents->cache_dir, path + 1) < 0)
        return -ENOMEM;
    slash = *ret_name + strlen(agents->cache_dir) + 1;
    while ((slash = strchr(slash, '/')) != NULL)
        *slash = '%';
    return 0;
}

static int cache_read(const struct xvm_fence_agents *agents, const char *path,
                      const struct stat *st, struct text *ret_text)
{
    char line[HEADER_MAX], *name;
    struct text text = {0};
    struct stat own;
    size_t n;
    int fd, r = cache_name(agents, path, &name);

    if (r < 0)
        return r;
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    free(name);
    if (fd < 0)
        return -errno;
    r = fstat(fd, &own) < 0 || !S_ISREG(own.st_mode) || (own.st_mode & 022) != 0 ||
                (own.st_uid != 0 && own.st_uid != geteuid())
            ? -EACCES
            : read_until(fd, clock_ms() + LIMIT_MS, &text);
    close(fd);
    if (r < 0)
        return r;
    header(path, st, line);
    n = strlen(line);
    if (text.n <= n || memcmp(text.data, line, n) != 0) {
        free(text.data);
        return -ESTALE;
    }
    memmove(text.data, text.data + n, text.n - n);
    text.n -= n;
    *ret_text = text;
    return 0;
}

/* Best effort: what cannot be kept is asked for again. */
static void cache_write(const struct xvm_fence_agents *agents, const char *path,
                        const struct stat *st, const struct text *text)
{
    char line[HEADER_MAX], *name, *fresh;
    ssize_t n;
    bool ok;
    int fd;

    if (cache_name(agents, path, &name) < 0)
        return;
    (void)mkdir(agents->cache_dir, 0755);
    if (asprintf(&fresh, "%s.XXXXXX", name) < 0) {
        free(name);
        return;
    }
    fd = mkostemp(fresh, O_CLOEXEC);
    if (fd >= 0) {
        header(path, st, line);
        n = (ssize_t)strlen(line);
        ok = write(fd, line, (size_t)n) == n &&
             write(fd, text->data, text->n) == (ssize_t)text->n && rename(fresh, name) == 0;
        if (!ok)
            unlink(fresh);
        close(fd);
    }
    free(fresh);
    free(name);
}

/* ------------------------------------------------------------------------------------ looking */

static int look(const struct xvm_fence_agents *agents, struct entry *entry)
{
    struct text text = {0};
    struct stat st;
    int r;

    if (stat(entry->path, &st) < 0 || !S_ISREG(st.st_mode) || access(entry->path, X_OK) < 0) {
        snprintf(entry->why, sizeof(entry->why), "%s",
                 access(entry->path, F_OK) < 0 ? "there is no such agent on this host"
                                               : "it is no program that can be run");
        return -ENOENT;
    }
    r = cache_read(agents, entry->path, &st, &text);
    if (r == 0) {
        r = xvm_fence_meta_parse(text.data, text.n, &entry->meta, entry->why);
        free(text.data);
        if (r == 0 || r == -ENOMEM)
            return r;
    }
    if (!agents->run) {
        snprintf(entry->why, sizeof(entry->why), "it has not been asked what it knows yet");
        return -ENODATA;
    }
    r = ask(entry->path, agents->limit_ms, &text, entry->why);
    if (r < 0)
        return r;
    r = xvm_fence_meta_parse(text.data, text.n, &entry->meta, entry->why);
    if (r == 0)
        cache_write(agents, entry->path, &st, &text);
    free(text.data);
    return r;
}

int xvm_fence_agents_get(struct xvm_fence_agents *agents, const char *agent,
                         const struct xvm_fence_meta **ret_meta, char why[static XVM_META_WHY])
{
    struct entry *entry;
    char *path;
    int n = agent[0] == '/' ? asprintf(&path, "%s", agent)
                            : asprintf(&path, "%s/%s", agents->dir, agent);

    if (n < 0)
        return -ENOMEM;
    for (entry = agents->entries; entry != NULL; entry = entry->next) {
        if (strcmp(entry->path, path) == 0)
            break;
    }
    if (entry != NULL) {
        free(path);
    } else if ((entry = calloc(1, sizeof(*entry))) == NULL) {
        free(path);
        return -ENOMEM;
    } else {
        entry->path = path;
        entry->next = agents->entries;
        agents->entries = entry;
        entry->r = look(agents, entry);
    }
    if (entry->r < 0)
        snprintf(why, XVM_META_WHY, "%s", entry->why);
    else
        *ret_meta = entry->meta;
    return entry->r;
}

/* ----------------------------------------------------------------------------------- new, free */

struct xvm_fence_agents *xvm_fence_agents_new(const struct xvm_agents_env *env)
{
    struct xvm_fence_agents *agents = calloc(1, sizeof(*agents));

    if (agents == NULL)
        return NULL;
    agents->run = env->run;
    agents->limit_ms = env->limit_ms > 0 ? env->limit_ms : LIMIT_MS;
    agents->dir = strdup(env->dir != NULL ? env->dir : "/usr/sbin");
    if (env->cache_dir != NULL)
        agents->cache_dir = strdup(env->cache_dir);
    if (agents->dir == NULL || (env->cache_dir != NULL && agents->cache_dir == NULL))
        return xvm_fence_agents_free(agents);
    return agents;
}

struct xvm_fence_agents *xvm_fence_agents_free(struct xvm_fence_agents *agents)
{
    if (agents == NULL)
        return NULL;
    while (agents->entries != NULL) {
        struct entry *entry = agents->entries;

        agents->entries = entry->next;
        xvm_fence_meta_free(entry->meta);
        free(entry->path);
        free(entry);
    }
    free(agents->dir);
    free(agents->cache_dir);
    free(agents);
    return NULL;
}
