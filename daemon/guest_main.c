/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-guest: its command line. As `xvm-ha-guest --name NAME ...` it is a guest of the process
 * driver, as `xvm-ha-guest worker OPERATION ...` it carries out one operation on one. */
#include "guest.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: xvm-ha-guest --name NAME (--shared DIR | --disk DIR/NAME.disk) [options]\n"
    "       xvm-ha-guest worker OPERATION --name NAME --shared DIR [options]\n"
    "\n"
    "A guest of xvm-had's process driver, for tests and demonstrations: a process that appends\n"
    "\"host incarnation tick\" to its disk while it holds the lock on it. Started by hand it runs "
    "at\n"
    "once, with incarnation 0, in the background.\n"
    "\n"
    "  --name NAME      the guest\n"
    "  --shared DIR     the shared storage that holds NAME.disk\n"
    "  --disk FILE      the same, by the name of the disk\n"
    "  --run DIR        run directory of the daemon (default /run/xvm-had)\n"
    "  --host HOST      name of this host (default: the host name)\n"
    "  --tick MS        pace (default 100)\n"
    "  --paused         wait for an unpause\n"
    "  --foreground     stay in the foreground\n"
    "  --inc N, --mig N, --memory TICKS, --running, --lock-fd N, --ready-fd N\n"
    "                   for workers that start a guest\n"
    "  --until MS, --timeout MS\n"
    "                   for workers: limits on CLOCK_BOOTTIME\n"
    "  --channel FD, --progress FD, --live, --suspended\n"
    "                   for workers that send or receive a guest\n"
    "OPERATION: create unpause shutdown destroy tag send receive resume\n";

enum {
    OPT_NAME = 256,
    OPT_SHARED,
    OPT_DISK,
    OPT_RUN,
    OPT_HOST,
    OPT_TICK,
    OPT_PAUSED,
    OPT_RUNNING,
    OPT_FOREGROUND,
    OPT_INC,
    OPT_MIG,
    OPT_MEMORY,
    OPT_LOCK_FD,
    OPT_READY_FD,
    OPT_UNTIL,
    OPT_TIMEOUT,
    OPT_CHANNEL,
    OPT_PROGRESS,
    OPT_LIVE,
    OPT_SUSPENDED,
    OPT_HELP,
};

static const struct option options[] = {
    {"name", required_argument, NULL, OPT_NAME},
    {"shared", required_argument, NULL, OPT_SHARED},
    {"disk", required_argument, NULL, OPT_DISK},
    {"run", required_argument, NULL, OPT_RUN},
    {"host", required_argument, NULL, OPT_HOST},
    {"tick", required_argument, NULL, OPT_TICK},
    {"paused", no_argument, NULL, OPT_PAUSED},
    {"running", no_argument, NULL, OPT_RUNNING},
    {"foreground", no_argument, NULL, OPT_FOREGROUND},
    {"inc", required_argument, NULL, OPT_INC},
    {"mig", required_argument, NULL, OPT_MIG},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"lock-fd", required_argument, NULL, OPT_LOCK_FD},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"until", required_argument, NULL, OPT_UNTIL},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"channel", required_argument, NULL, OPT_CHANNEL},
    {"progress", required_argument, NULL, OPT_PROGRESS},
    {"live", no_argument, NULL, OPT_LIVE},
    {"suspended", no_argument, NULL, OPT_SUSPENDED},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

/* Both lives share most options. */
struct arguments {
    struct xvm_guest_options guest;
    ha_ms until, timeout_ms;
    int channel, progress;
    bool live, help, bad;
};

static uint64_t number(const char *text, uint64_t max, struct arguments *a)
{
    char *end = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n > max)
        a->bad = true;
    return n;
}

static void parse_number(int c, const char *text, struct arguments *a)
{
    if (c == OPT_INC)
        a->guest.inc = number(text, UINT64_MAX, a);
    else if (c == OPT_MIG)
        a->guest.mig = number(text, UINT64_MAX, a);
    else if (c == OPT_MEMORY)
        a->guest.tick = number(text, UINT64_MAX, a);
    else if (c == OPT_TICK)
        a->guest.tick_ms = (ha_ms)number(text, 1000000, a);
    else if (c == OPT_UNTIL)
        a->until = (ha_ms)number(text, INT64_MAX, a);
    else if (c == OPT_TIMEOUT)
        a->timeout_ms = (ha_ms)number(text, INT32_MAX, a);
    else if (c == OPT_CHANNEL)
        a->channel = (int)number(text, 1024, a);
    else if (c == OPT_PROGRESS)
        a->progress = (int)number(text, 1024, a);
    else if (c == OPT_LOCK_FD)
        a->guest.lock_fd = (int)number(text, 1024, a);
    else if (c == OPT_READY_FD)
        a->guest.ready_fd = (int)number(text, 1024, a);
    else
        a->bad = true;
}

static void parse_one(int c, char *text, struct arguments *a)
{
    if (c == OPT_NAME)
        a->guest.name = text;
    else if (c == OPT_SHARED)
        a->guest.shared_dir = text;
    else if (c == OPT_RUN)
        a->guest.run_dir = text;
    else if (c == OPT_HOST)
        a->guest.host = text;
    else if (c == OPT_PAUSED)
        a->guest.paused = true;
    else if (c == OPT_RUNNING)
        a->guest.paused = false;
    else if (c == OPT_FOREGROUND)
        a->guest.foreground = true;
    else if (c == OPT_LIVE || c == OPT_SUSPENDED)
        a->live = c == OPT_LIVE;
    else if (c == OPT_HELP)
        a->help = true;
    else
        parse_number(c, text, a);
}

/* DIR/NAME.disk names both the shared storage and the guest. */
static void use_disk(const char *disk, struct arguments *a)
{
    static char dir[PATH_MAX], base[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", disk);
    snprintf(base, sizeof(base), "%s", disk);
    a->guest.shared_dir = dirname(dir);
    char *name = basename(base), *dot = strrchr(name, '.');
    if (!dot || strcmp(dot, ".disk") != 0) {
        a->bad = true;
        return;
    }
    *dot = '\0';
    if (!a->guest.name)
        a->guest.name = name;
    else if (strcmp(a->guest.name, name) != 0)
        a->bad = true;
}

/* The guest leaves the directory it was started in. */
static const char *absolute(const char *path, char full[static PATH_MAX], struct arguments *a)
{
    if (path && realpath(path, full))
        return full;
    fprintf(stderr, "%s: %s\n", path ? path : "--shared", path ? strerror(errno) : "missing");
    a->bad = true;
    return NULL;
}

static void parse(int argc, char **argv, struct arguments *a)
{
    static char host[HA_NAME_MAX], shared[PATH_MAX], run[PATH_MAX];
    const char *disk = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == OPT_DISK)
            disk = optarg;
        else
            parse_one(c == 'h' ? OPT_HELP : c, optarg, a);
    }
    if (disk)
        use_disk(disk, a);
    if (!a->guest.host && gethostname(host, sizeof(host) - 1) == 0)
        a->guest.host = host;
    if (a->help)
        return;
    a->guest.shared_dir = absolute(a->guest.shared_dir, shared, a);
    a->guest.run_dir = absolute(a->guest.run_dir, run, a);
    if (optind != argc || !a->guest.name || !xvm_guest_name_ok(a->guest.name) || !a->guest.host ||
        !xvm_guest_name_ok(a->guest.host))
        a->bad = true;
}

/* Started by an operator: like a worker, it holds the worker lock until the guest is registered. */
static int start_by_hand(const struct xvm_guest_options *guest)
{
    char why[HA_TEXT_MAX] = "the run directory cannot be used";
    int guests = xvm_guests_open(guest->run_dir);
    int dir = guests < 0 ? guests : xvm_guest_open(guests, guest->name);
    int lock = dir < 0 ? dir : xvm_lock_open(dir, "lock");
    int r = lock < 0 ? lock : -EAGAIN;
    const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
    for (int i = 0; r == -EAGAIN && i < 250; i++)
        if ((r = xvm_lock_try(lock)) == -EAGAIN)
            nanosleep(&nap, NULL);
    if (r == -EAGAIN) {
        snprintf(why, sizeof(why), "a worker of the daemon is at this guest");
    } else if (r == 0) {
        const struct xvm_guest_holder me = {.pid = getpid(), .op = HA_OP_CREATE, .inc = guest->inc};
        r = xvm_holder_write(lock, &me);
    }
    if (r == 0)
        r = xvm_guest_spawn(guest, lock, why);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", guest->name, why);
    return r < 0;
}

static int run_worker(int argc, char **argv)
{
    struct arguments a = {.guest = {.run_dir = "/run/xvm-had", .lock_fd = -1, .ready_fd = -1},
                          .channel = -1,
                          .progress = -1};
    struct xvm_worker_options w = {0};
    for (size_t i = HA_OP_CREATE; i <= HA_OP_RESUME; i++)
        if (argc > 2 && !strcmp(argv[2], xvm_op_names[i]))
            w.op = (enum ha_op)i;
    if (w.op)
        parse(argc - 2, argv + 2, &a);
    if (a.help || a.bad || !w.op) {
        fputs(usage, a.help ? stdout : stderr);
        return a.help ? 0 : XVM_WORKER_FAILED;
    }
    w.name = a.guest.name;
    w.host = a.guest.host;
    w.run_dir = a.guest.run_dir;
    w.shared_dir = a.guest.shared_dir;
    w.inc = a.guest.inc;
    w.mig = a.guest.mig;
    w.until = a.until;
    w.timeout_ms = a.timeout_ms;
    w.channel = a.channel;
    w.progress = a.progress;
    w.live = a.live;
    return xvm_worker_run(&w);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "worker"))
        return run_worker(argc, argv);
    struct arguments a = {.guest = {.run_dir = "/run/xvm-had", .lock_fd = -1, .ready_fd = -1}};
    parse(argc, argv, &a);
    if (a.help || a.bad) {
        fputs(usage, a.help ? stdout : stderr);
        return a.help ? 0 : 2;
    }
    if (a.guest.foreground || a.guest.ready_fd >= 0)
        return xvm_guest_run(&a.guest);
    return start_by_hand(&a.guest);
}
