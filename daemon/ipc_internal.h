/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the control socket share. Private to daemon/ipc*.c and their test. */
#ifndef XVM_IPC_INTERNAL_H
#define XVM_IPC_INTERNAL_H

#include <jansson.h>
#include <sys/types.h>

#include "ipc.h"

enum {
    XVM_CLIENTS_MAX = 64,
    XVM_MESSAGE_MAX = 1024 * 1024,     /* bytes of one message from a client */
    XVM_QUEUED_MAX = 32 * 1024 * 1024, /* bytes of answers not read yet, of all clients */
    XVM_EVENTS_MAX = 1000,
};

/* What a peer may do. Ordered. */
enum xvm_access {
    XVM_ACCESS_NONE,
    XVM_ACCESS_READ,
    XVM_ACCESS_CHANGE,
};

/* The two groups; (gid_t)-1 where this host has none of that name. */
struct xvm_groups {
    gid_t change, read;
};

struct xvm_client {
    struct xvm_ipc *ipc;
    sd_event_source *source;
    int fd;
    enum xvm_access access;
    uid_t uid;
    uint64_t waiting;  /* id of the command the core has not answered yet; 0: none */
    bool oneway;       /* of the call under way: no answer wanted */
    bool closing;      /* close once `out` is sent */
    uint64_t activity; /* ipc->clock at its last message; the idlest is put out first */
    char *in, *out;
    size_t in_len, in_size, out_len, out_sent;
};

struct xvm_event_log; /* ipc_events.c */

struct xvm_ipc {
    struct xvm_ipc_env env;
    char *path;
    sd_event_source *source;
    int fd;
    struct xvm_groups groups;
    struct xvm_client *clients[XVM_CLIENTS_MAX];
    size_t queued; /* bytes in all clients' `out` */
    uint64_t last_id, clock;
    struct xvm_event_log *events;
};

/* ipc.c: the client has closed its end altogether. */
bool xvm_client_gone(const struct xvm_client *client);
/* Queue an answer; takes over `parameters` (may be NULL: empty). */
void xvm_client_answer(struct xvm_client *client, json_t *parameters);
void xvm_client_error(struct xvm_client *client, const char *error, json_t *parameters);
/* The same, with {"text": …} as its parameters. */
void xvm_client_error_text(struct xvm_client *client, const char *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ipc_methods.c: one call. A message that is no call is answered and the client told to close. */
void xvm_client_call(struct xvm_client *client, const char *message, size_t len);
/* The answer of the core to the command a client waits for. */
void xvm_client_command_done(struct xvm_client *client, int code, const char *text);

/* The core; NULL: there is none yet, and the client has been told. */
const struct ha *xvm_client_core(struct xvm_client *client);
void xvm_client_bad_parameter(struct xvm_client *client, const char *name);
/* An optional host by name. False: answered with an error already. */
bool xvm_client_take_host(struct xvm_client *client, json_t *params, char host[static HA_NAME_MAX]);
/* Is there such a guest; such a host or guest? False: answered with an error already. */
bool xvm_client_know_guest(struct xvm_client *client, const struct ha *core, const char *guest);
bool xvm_client_know_name(struct xvm_client *client, const struct ha *core, const char *name,
                          bool *ret_host);

/* ipc_register.c: methods about the register of guests. */
void xvm_client_config_change(struct xvm_client *client, json_t *params);
void xvm_client_config_file(struct xvm_client *client, json_t *params);
void xvm_client_guest_export(struct xvm_client *client, json_t *params);
void xvm_client_debug(struct xvm_client *client, json_t *params);

/* ipc_access.c */
void xvm_groups_find(struct xvm_groups *ret_groups);
enum xvm_access xvm_access_of(const struct xvm_groups *groups, uid_t uid, gid_t gid,
                              const gid_t *more, size_t nmore);
/* Of the peer of a connected socket. 0 or a negative errno. */
int xvm_access_of_peer(const struct xvm_groups *groups, int fd, enum xvm_access *ret_access,
                       uid_t *ret_uid);
/* Login name, or "uid 1234"; never asks the network. */
void xvm_user_name(uid_t uid, char *buf, size_t size);

/* ipc_events.c */
struct xvm_event_log *xvm_event_log_new(void);
struct xvm_event_log *xvm_event_log_free(struct xvm_event_log *log);
void xvm_event_log_add(struct xvm_event_log *log, enum ha_report what, enum ha_severity severity,
                       const char *host, const char *guest, const char *text);
/* The last n events, oldest first. NULL: out of memory. */
json_t *xvm_event_log_json(const struct xvm_event_log *log, size_t n);

/* ipc_varlink.c: the interfaces in varlink's own language; NULL: no such interface. */
const char *xvm_varlink_description(const char *interface);

#endif
