// SPDX-License-Identifier: GPL-2.0-or-later
// The only process of a test guest: counts on its console, and guards its disk.
//
// Each line is `tick LIFE COUNT MS`: LIFE names this boot, COUNT rises by one each tick, MS is the
// guest's own clock. The same is written to the disk (xvda), after a look that the disk still holds
// what this guest wrote last: two running copies of a guest cannot both find that.
//
// Kernel command line: tick=MS (default 1000). Console input: off, reboot, crash, hang.
//
// Where the kernel does not know of Xen (HVM with `xen_nopv`) the console is the serial line, there is
// no disk, and the power button is what asks it to power off.
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked_to_reboot;
static char life[37];
static _Alignas(4096) char sector[4096];
static char mine[512];

static void
quit(int how)
{
    sync();
    reboot(how);
    for (;;)
        pause();
}

static void
on_int(int number)
{
    (void)number;
    asked_to_reboot = 1; // Ctrl-Alt-Del: how Linux hears "reboot" from the control node
}

static void
load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0)
        printf("guest: %s: %m\n", path);
    if (fd >= 0)
        close(fd);
}

static long long
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void
obey(const char *line)
{
    if (strncmp(line, "off", 3) == 0)
        quit(RB_POWER_OFF);
    if (strncmp(line, "reboot", 6) == 0)
        quit(RB_AUTOBOOT);
    if (strncmp(line, "hang", 4) == 0)
        for (;;)
            pause();
    if (strncmp(line, "crash", 5) == 0) {
        int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
        if (write(fd, "c", 1) != 1)
            printf("guest: cannot crash: %m\n");
        close(fd);
    }
}

// An input device that is the power button; -1 if this is none.
static int
button_at(int number)
{
    char path[32], name[64] = "";
    snprintf(path, sizeof path, "/dev/input/event%d", number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, EVIOCGNAME(sizeof name), name) > 0 && strcmp(name, "Power Button") == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int
open_button(void)
{
    load("/button.ko");
    load("/evdev.ko");
    for (int i = 0; i < 100; i++) {
        for (int number = 0; number < 8; number++) {
            int fd = button_at(number);
            if (fd >= 0)
                return fd;
        }
        usleep(20000);
    }
    printf("guest: no power button\n");
    return -1;
}

static void
hear_button(int fd)
{
    struct input_event e;
    if (read(fd, &e, sizeof e) == sizeof e && e.type == EV_KEY && e.code == KEY_POWER) {
        puts("the power button was pressed");
        quit(RB_POWER_OFF);
    }
}

// Takes the disk over: from now on it must hold what this guest wrote.
static int
open_disk(void)
{
    int fd = -1;
    for (int i = 0; i < 100 && (fd = open("/dev/xvda", O_RDWR | O_DIRECT | O_CLOEXEC)) < 0; i++)
        usleep(20000);
    if (fd < 0) {
        printf("guest: no disk\n");
        return -1;
    }
    if (pread(fd, sector, sizeof sector, 0) != sizeof sector) {
        printf("guest: disk: read: %m\n");
        return fd;
    }
    sector[sizeof mine - 1] = '\0';
    printf("disk before: %s\n", sector[0] ? sector : "empty");
    memcpy(mine, sector, sizeof mine);
    return fd;
}

static void
write_disk(int fd, const char *line)
{
    if (pread(fd, sector, sizeof sector, 0) != sizeof sector) {
        printf("guest: disk: read: %m\n");
        return;
    }
    sector[sizeof mine - 1] = '\0';
    if (strcmp(sector, mine) != 0)
        printf("TWO COPIES: disk holds \"%s\", this guest wrote \"%s\"\n", sector, mine);
    memset(sector, 0, sizeof sector);
    snprintf(sector, sizeof mine, "%s", line);
    snprintf(mine, sizeof mine, "%s", line);
    if (pwrite(fd, sector, sizeof sector, 0) != sizeof sector)
        printf("guest: disk: write: %m\n");
}

static long
option(const char *name, long value)
{
    char text[1024] = "";
    FILE *f = fopen("/proc/cmdline", "re");
    if (f && fgets(text, sizeof text, f)) {
        const char *p = strstr(text, name);
        if (p)
            value = strtol(p + strlen(name), NULL, 10);
    }
    if (f)
        fclose(f);
    return value;
}

static int
use_console(const char *path)
{
    int fd = open(path, O_RDWR);
    for (int i = 0; i < 3 && fd >= 0; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    return fd >= 0;
}

int
main(int argc, char **argv)
{
    // The kernel runs this program, by another name, when it is asked to power off or to reboot.
    if (argc > 0 && strstr(argv[0], "poweroff"))
        quit(RB_POWER_OFF);
    if (argc > 0 && strstr(argv[0], "reboot"))
        quit(RB_AUTOBOOT);
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    int xen = use_console("/dev/hvc0");
    if (!xen)
        use_console("/dev/ttyS0");
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, on_int);
    reboot(RB_DISABLE_CAD);
    int button = -1;
    if (xen)
        load("/xen-blkfront.ko");
    else
        button = open_button();
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!f || !fgets(life, 9, f))
        snprintf(life, sizeof life, "unknown");
    if (f)
        fclose(f);
    long tick_ms = option("tick=", 1000);
    int disk = xen ? open_disk() : -1;
    long long next = now_ms();
    for (unsigned long count = 1;; count++) {
        char line[128];
        snprintf(line, sizeof line, "tick %s %lu %lld", life, count, now_ms());
        puts(line);
        if (disk >= 0)
            write_disk(disk, line);
        next += tick_ms;
        for (long long left; (left = next - now_ms()) > 0;) {
            if (asked_to_reboot)
                quit(RB_AUTOBOOT);
            struct pollfd p[] = {{.fd = 0, .events = POLLIN}, {.fd = button, .events = POLLIN}};
            if (poll(p, 2, (int)left) <= 0)
                continue;
            if (p[1].revents)
                hear_button(button);
            char text[64] = "";
            if (p[0].revents && read(0, text, sizeof text - 1) > 0)
                obey(text);
            else if (p[0].revents)
                usleep(1000 * (unsigned)tick_ms);
        }
        if (next < now_ms() - tick_ms)
            next = now_ms(); // was suspended or starved: no burst of lines afterwards
    }
}
