/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pidfd system calls, for C libraries that do not have them yet. */
#ifndef XVM_PIDFD_H
#define XVM_PIDFD_H

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* A descriptor that becomes readable when the process ends, or -1 with errno. Close-on-exec. */
static inline int xvm_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static inline int xvm_pidfd_signal(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

#endif
