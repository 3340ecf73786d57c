/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the starting and ending of xvm-ha-disk; see disk_link.h. */
#include "disk_link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "log.h"
#include "util.h"

enum { LOOK_MS = 2000, TEXT_MAX = 4200 };

struct xvm_disk_link {
    struct xvm_disk_link_env env;
    sd_event_source *timer;
    char *program;
    char wanted[TEXT_MAX]; /* as the lock file has it; "": none */
    char path[4096], cluster[HA_NAME_MAX];
    ha_ms interval_ms;
    pid_t child; /* the intermediate process of a spawn */
    pid_t told;  /* was asked to end */
};

/* Who holds the lock, and what it says; 0: nobody. */
static pid_t holder(const struct xvm_disk_link *link, char *text)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[4096];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "%s/disk.lock", link->env.run_dir);
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    text[0] = '\0';
    if (fd < 0)
        return 0;
    if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        lock.l_pid = 0;
    n = read(fd, text, TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return lock.l_pid;
}

static void start(struct xvm_disk_link *link)
{
    char boot[40], self[16], interval[24];
    char command[] = "run", a[] = "--path", b[] = "--self", c[] = "--interval", d[] = "--run-dir",
         e[] = "--boot-id", f[] = "--log-target", g[] = "--detach", h[] = "--cluster",
         run_dir[4096], target[32];
    char *argv[] = {link->program, command, a,    link->path, b,      self, c, interval,      d,
                    run_dir,       e,       boot, f,          target, g,    h, link->cluster, NULL};
    posix_spawnattr_t attr;
    sigset_t none;
    int r;

    for (size_t i = 0; i < sizeof(link->env.boot.b); i++)
        sprintf(boot + 2 * i, "%02x", link->env.boot.b[i]);
    snprintf(self, sizeof(self), "%u", link->env.self);
    snprintf(interval, sizeof(interval), "%lld", (long long)link->interval_ms);
    snprintf(run_dir, sizeof(run_dir), "%s", link->env.run_dir);
    snprintf(target, sizeof(target), "%s", link->env.log_target);
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    r = posix_spawn(&link->child, link->program, NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    if (r != 0)
        xvm_log(HA_SEV_ERROR, "cannot start %s: %s", link->program, strerror(r));
}

static int on_look(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_disk_link *link = user;
    char text[TEXT_MAX];
    pid_t pid = holder(link, text);

    (void)at;
    if (link->child > 0 && waitpid(link->child, NULL, WNOHANG) == link->child)
        link->child = 0;
    if (pid > 0 && strcmp(text, link->wanted) != 0 && pid != link->told &&
        !link->env.needed(link->env.user)) {
        kill(pid, SIGTERM);
        link->told = pid;
    }
    if (pid == 0 && link->wanted[0] != '\0' && link->child == 0)
        start(link);
    sd_event_source_set_time_relative(source, LOOK_MS * 1000);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void xvm_disk_link_config(struct xvm_disk_link *link, const struct ha_config *config)
{
    const struct ha_disk_config *disk = &config->disk;

    link->wanted[0] = '\0';
    if (disk->path != NULL && strlen(disk->path) < sizeof(link->path)) {
        strcpy(link->path, disk->path);
        link->interval_ms = disk->interval_ms;
        snprintf(link->cluster, sizeof(link->cluster), "%s", config->cluster_name);
        snprintf(link->wanted, sizeof(link->wanted), "%s %u %lld\n", disk->path, link->env.self,
                 (long long)disk->interval_ms);
    }
    sd_event_source_set_time_relative(link->timer, 0);
    sd_event_source_set_enabled(link->timer, SD_EVENT_ONESHOT);
}

int xvm_disk_link_new(const struct xvm_disk_link_env *env, struct xvm_disk_link **ret_link)
{
    struct xvm_disk_link *link = calloc(1, sizeof(*link));
    int r;

    if (link == NULL)
        return -ENOMEM;
    link->env = *env;
    link->program = xvm_child_find("xvm-ha-disk", "XVM_HA_DISK");
    r = link->program == NULL ? -ENOMEM
                              : sd_event_add_time_relative(env->loop, &link->timer, CLOCK_BOOTTIME,
                                                           0, 10000, on_look, link);
    if (r < 0) {
        free(link->program);
        free(link);
        return r;
    }
    *ret_link = link;
    return 0;
}
