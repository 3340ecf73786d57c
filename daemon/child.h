/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs one program to its end for the event loop: input fed, output captured with a limit, a time
 * limit, and the whole process group killed when it is over. Fence agents and the process driver's
 * workers are run with it. Never blocks the loop. */
#ifndef XVM_CHILD_H
#define XVM_CHILD_H

#include <systemd/sd-event.h>

#include "../libha/types.h"

enum {
    XVM_CHILD_TAIL = 4096, /* bytes kept of each output stream: the last ones */
    XVM_CHILD_FDS = 4,
    XVM_CHILD_LINE_MAX = 1024 * 1024, /* bytes of a line for xvm_child_line */
};

struct xvm_child;

enum xvm_child_how {
    XVM_CHILD_EXITED,      /* code: the exit code */
    XVM_CHILD_SIGNALED,    /* code: the signal; 0: nobody knows */
    XVM_CHILD_TIMED_OUT,   /* killed by us for taking too long */
    XVM_CHILD_NOT_STARTED, /* code: an errno; the program certainly never ran */
};

struct xvm_child_end {
    enum xvm_child_how how;
    int code;
    const char *out; /* NUL-terminated raw bytes (NULs in them became spaces) */
    const char *err;
};

/* One line of standard output, without its end. Lines with NULs in them, longer than
 * XVM_CHILD_LINE_MAX or without an end are left out. May kill the child, must not free it. */
typedef void (*xvm_child_line)(void *user, const char *line);

struct xvm_child_spec {
    const char *path; /* absolute */
    char *const *argv;
    char *const *envp;
    const char *input; /* given on standard input; copied */
    size_t input_len;
    const int *fds; /* the program gets copies of them as 3, 4, ... (borrowed; may be NULL) */
    size_t nfds;    /* at most XVM_CHILD_FDS */
    ha_ms timeout_ms; /* 0: none */
    xvm_child_line line; /* NULL: only the tail is kept */
};

/* Called once, always from the loop; the child is freed by itself right after. */
typedef void (*xvm_child_done)(void *user, const struct xvm_child_end *end);

/* Starts a program as the leader of a session and process group of its own. What is left of the
 * group when the program ends is killed. A program that cannot be executed is reported through
 * done(NOT_STARTED). 0, or a negative errno when not even that is possible (done is never called).
 */
int xvm_child_new(sd_event *loop, const struct xvm_child_spec *spec, xvm_child_done done,
                  void *user, struct xvm_child **ret_child);
/* Its time, counted from now, in place of what is left of it. Not for one without a limit.
 * 0, or a negative errno: what was left stays. */
int xvm_child_limit(struct xvm_child *child, ha_ms timeout_ms);
/* SIGKILL to the whole group; the end is still reported (SIGNALED). */
void xvm_child_kill(struct xvm_child *child);
/* A signal to the program itself. */
void xvm_child_signal(struct xvm_child *child, int sig);
/* Kills the group; done is not called. */
struct xvm_child *xvm_child_free(struct xvm_child *child);
/* Lets the program go on alone; done is not called. */
struct xvm_child *xvm_child_abandon(struct xvm_child *child);

/* Path of a program of ours: what the environment variable says, else beside our own program (a
 * build folder, an unpacked archive), else where it is installed. malloc'd; NULL: out of memory. */
char *xvm_child_find(const char *name, const char *variable);

/* Copies one line's worth of `from` for an operator's eyes: control characters and invalid UTF-8
 * become spaces, runs of blanks become one, and if it is too long its end is kept. */
void xvm_child_sanitise(const char *from, char *to, size_t size);

#endif
