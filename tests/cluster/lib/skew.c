/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For LD_PRELOAD: the time of day is SKEW_S seconds ahead. All other clocks are as they are. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ts)
{
    const char *skew = getenv("SKEW_S");
    long r = syscall(SYS_clock_gettime, id, ts);

    if (r == 0 && id == CLOCK_REALTIME && skew != NULL)
        ts->tv_sec += atol(skew);
    return (int)r;
}
