/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the migration's transport share: transfers (migration.c), the programs that
 * secure a connection for one (migration_attempt.c), and the listener with the connections that
 * are not anybody's yet (migration_listen.c). */
#ifndef XVM_MIGRATION_INTERNAL_H
#define XVM_MIGRATION_INTERNAL_H

#include "child.h"
#include "migration.h"

enum {
    XVM_CALLERS_MAX = 16, /* connections that are no transfer's yet */
    XVM_CALLERS_OF_HOST = 6,
    XVM_ATTEMPTS_MAX = 3, /* that handshake for one transfer at once */
    XVM_PREAMBLE_MS = 3000,
    XVM_HOLD_MS = 10000, /* for a transfer that this host has not heard of yet */
    XVM_HANDSHAKE_MS = 10000,
};

enum xvm_stage {
    XVM_STAGE_CONNECT, /* source: connecting, or about to try again */
    XVM_STAGE_LISTEN,  /* target: nobody has proved to be the source yet */
    XVM_STAGE_SECURE,  /* source: handshake */
    XVM_STAGE_DRIVER,  /* the worker is at it */
    XVM_STAGE_FAILED,  /* the answer is on its way */
};

struct xvm_transfer {
    struct xvm_transfer *next;
    struct xvm_migration *m;
    struct ha_action action;
    enum xvm_stage stage;
    bool cancelled; /* whatever it ends with then is not the reason for anything */
    ha_ms began, connect_until;
    int socket; /* source: being connected */
    sd_event_source *on_socket, *on_time, *on_fail, *on_progress;
    int progress; /* from the worker */
    char line[256];
    size_t nline;
    struct ha_transfer told;
    ha_ms counted_at, told_at;
    char why[HA_TEXT_MAX];
};

/* One xvm-ha-channel. */
struct xvm_attempt {
    struct xvm_attempt *next;
    struct xvm_migration *m;
    struct xvm_transfer *transfer; /* NULL: it is over, or another attempt was it */
    struct xvm_child *child;
    int control, stream, socket;
    sd_event_source *on_control;
    bool ready;
    char line[512];
    size_t nline;
};

/* A connection that nobody has claimed yet. */
struct xvm_caller {
    struct xvm_caller *next;
    struct xvm_migration *m;
    int fd;
    ha_node from; /* whose address it comes from */
    uint8_t bytes[XVM_PREAMBLE_SIZE];
    size_t n;
    bool named; /* the preamble is complete */
    struct xvm_preamble preamble;
    sd_event_source *on_io, *on_time;
};

struct xvm_migration {
    struct xvm_migration_env env;
    char *program;
    int listen_fd;
    struct in6_addr listen_address;
    int listen_port;
    sd_event_source *on_listen;
    struct xvm_transfer *transfers;
    struct xvm_attempt *attempts;
    struct xvm_caller *callers;
    ha_ms stranger_said;
    unsigned strangers; /* not said yet */
};

void xvm_close(int *fd);
/* Lines out of what is read from a stream; `line` is called for each, without its end. False: the
 * end of the stream, or an error. */
bool xvm_read_lines(int fd, char *buf, size_t size, size_t *n,
                    void (*line)(void *user, const char *line), void *user);

/* migration.c */
struct xvm_transfer *xvm_transfer_receiving(struct xvm_migration *m, uint64_t mig);
/* The first attempt that is ready: it is the transfer's from now on. */
void xvm_transfer_ready(struct xvm_transfer *t, struct xvm_attempt *a, bool direct,
                        const char *words);
/* An attempt ended before it was ready. */
void xvm_transfer_attempt_failed(struct xvm_transfer *t, int code, const char *why);
void xvm_transfer_bytes(struct xvm_transfer *t, uint64_t out, uint64_t in);

/* migration_attempt.c: takes the connected socket over in any case. */
int xvm_attempt_new(struct xvm_transfer *t, int socket);
/* Those of a transfer but `keep`: to be ended, they are nobody's any more. */
void xvm_attempts_drop(struct xvm_migration *m, const struct xvm_transfer *t,
                       const struct xvm_attempt *keep);
/* Lets the transfer's own go on alone; what it still has to do it does. */
void xvm_attempts_release(struct xvm_migration *m, const struct xvm_transfer *t);
size_t xvm_attempts_count(const struct xvm_migration *m, const struct xvm_transfer *t);
void xvm_attempts_free(struct xvm_migration *m);

/* migration_listen.c */
/* Opens or re-opens the listener where the configuration wants it. 0, or a negative errno with a
 * sentence. */
int xvm_listen(struct xvm_migration *m, char ret_why[HA_TEXT_MAX]);
/* Gives the held connections of a transfer to it. */
void xvm_callers_claim(struct xvm_migration *m, struct xvm_transfer *t);
void xvm_callers_free(struct xvm_migration *m);
void xvm_listen_close(struct xvm_migration *m);

#endif
