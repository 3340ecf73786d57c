/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the writes to a watchdog: the kernel's watchdog API, and the FIFO of demo and tests. */
#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int close_device(struct xvm_watchdog *dog, int r)
{
    close(dog->fd);
    dog->fd = -1;
    return r;
}

/* ---------------------------------------------------------------------------------------- none */

static int none_arm(struct xvm_watchdog *dog, unsigned seconds)
{
    (void)dog;
    (void)seconds;
    return -ENODEV;
}

static int none_pet(struct xvm_watchdog *dog)
{
    (void)dog;
    return -ENODEV;
}

static const struct xvm_watchdog_ops none_ops = {
    .name = "none",
    .arm = none_arm,
    .pet = none_pet,
    .set_timeout = none_arm,
    .disarm = none_pet,
};

/* ------------------------------------------------------------------------- Documentation/watchdog
 */

static int device_set_timeout(struct xvm_watchdog *dog, unsigned seconds)
{
    int timeout = (int)seconds;

    if (ioctl(dog->fd, WDIOC_SETTIMEOUT, &timeout) < 0)
        return -errno;
    if (ioctl(dog->fd, WDIOC_GETTIMEOUT, &timeout) < 0)
        return -errno;
    /* One that takes longer than W would let a lost host live beyond the bound. */
    return timeout > (int)seconds ? -ERANGE : 0;
}

static int device_disarm(struct xvm_watchdog *dog)
{
    if (write(dog->fd, "V", 1) != 1)
        return -errno;
    return close_device(dog, 0);
}

static int device_arm(struct xvm_watchdog *dog, unsigned seconds)
{
    int r;

    if (dog->fd < 0)
        dog->fd = open(dog->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (dog->fd < 0)
        return -errno;
    r = device_set_timeout(dog, seconds);
    if (r < 0 && device_disarm(dog) < 0)
        return close_device(dog, r);
    return r;
}

static int device_pet(struct xvm_watchdog *dog)
{
    return ioctl(dog->fd, WDIOC_KEEPALIVE, 0) < 0 ? -errno : 0;
}

static const struct xvm_watchdog_ops device_ops = {
    .name = "device",
    .arm = device_arm,
    .pet = device_pet,
    .set_timeout = device_set_timeout,
    .disarm = device_disarm,
};

/* ---------------------------------------------------------------------------------------- FIFO */

static int fifo_write(struct xvm_watchdog *dog, const char *text)
{
    size_t len = strlen(text);

    return write(dog->fd, text, len) == (ssize_t)len ? 0 : -errno;
}

static int fifo_set_timeout(struct xvm_watchdog *dog, unsigned seconds)
{
    char text[16];

    snprintf(text, sizeof(text), "T%u\n", seconds);
    return fifo_write(dog, text);
}

static int fifo_arm(struct xvm_watchdog *dog, unsigned seconds)
{
    int r;

    if (dog->fd < 0)
        dog->fd = open(dog->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (dog->fd < 0)
        return -errno;
    r = fifo_set_timeout(dog, seconds);
    return r < 0 ? close_device(dog, r) : 0;
}

static int fifo_pet(struct xvm_watchdog *dog)
{
    return fifo_write(dog, "p");
}

static int fifo_disarm(struct xvm_watchdog *dog)
{
    int r = fifo_write(dog, "V");

    return r < 0 ? r : close_device(dog, 0);
}

static const struct xvm_watchdog_ops fifo_ops = {
    .name = "fifo",
    .arm = fifo_arm,
    .pet = fifo_pet,
    .set_timeout = fifo_set_timeout,
    .disarm = fifo_disarm,
};

/* ----------------------------------------------------------------------------------- interface */

/* The hypervisor's own watchdog is one of the kernel's devices, by whatever number: its identity is the
 * name of its driver, and was "Xen Watchdog" in old kernels (drivers/watchdog/xen_wdt.c). 0, or -ENODEV:
 * the driver is not loaded, or this is no dom0. */
static int find_xen(struct xvm_watchdog *dog)
{
    for (unsigned i = 0; i < 16; i++) {
        char path[64], identity[64] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/sys/class/watchdog/watchdog%u/identity", i);
        file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fgets(identity, sizeof(identity), file) != NULL && strncasecmp(identity, "xen", 3) == 0) {
            fclose(file);
            snprintf(dog->found, sizeof(dog->found), "/dev/watchdog%u", i);
            return 0;
        }
        fclose(file);
    }
    return -ENODEV;
}

int xvm_watchdog_choose(struct xvm_watchdog *ret_dog, const char *path)
{
    struct stat st;

    *ret_dog = (struct xvm_watchdog){.ops = &none_ops, .path = path, .fd = -1};
    if (strcmp(path, "none") == 0)
        return 0;
    if (strcmp(path, "xen") == 0) {
        if (find_xen(ret_dog) < 0)
            return -ENODEV;
        path = ret_dog->path = ret_dog->found;
    }
    if (stat(path, &st) < 0)
        return -errno;
    if (S_ISCHR(st.st_mode))
        ret_dog->ops = &device_ops;
    else if (S_ISFIFO(st.st_mode))
        ret_dog->ops = &fifo_ops;
    else
        return -ENODEV;
    return 0;
}

int xvm_watchdog_arm(struct xvm_watchdog *dog, unsigned seconds)
{
    int r = dog->ops->arm(dog, seconds);

    dog->armed = r == 0;
    if (r == 0)
        dog->seconds = seconds;
    return r;
}

int xvm_watchdog_pet(struct xvm_watchdog *dog)
{
    return dog->armed ? dog->ops->pet(dog) : -ENODEV;
}

int xvm_watchdog_set_timeout(struct xvm_watchdog *dog, unsigned seconds)
{
    int r = dog->armed ? dog->ops->set_timeout(dog, seconds) : -ENODEV;

    if (r == 0)
        dog->seconds = seconds;
    return r;
}

int xvm_watchdog_disarm(struct xvm_watchdog *dog)
{
    int r = dog->armed ? dog->ops->disarm(dog) : 0;

    if (r == 0)
        dog->armed = false;
    return r;
}
