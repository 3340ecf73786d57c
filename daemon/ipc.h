/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: varlink framing (NUL-terminated JSON objects over a unix stream socket), who may
 * call decided by the peer's credentials. Root and group xvm-ha change things, group xvm-ha-read reads.
 * Also keeps the ring buffer of reports that `xvmhactl events` shows. */
#ifndef XVM_IPC_H
#define XVM_IPC_H

#include <jansson.h>
#include <systemd/sd-event.h>

#include "../libha/ha.h"
#include "register.h"

struct xvm_ipc;

struct xvm_ipc_env {
    sd_event *loop;
    const char *socket_path;
    void *user;
    /* The core to look into; may be NULL while the daemon starts. */
    const struct ha *(*core)(void *user);
    /* What the daemon waits for while there is no core (borrowed); may be NULL. */
    const char *(*waits_for)(void *user);
    ha_ms (*now)(void *user);
    /* Hands a command to the core. The answer comes by xvm_ipc_reply(request->client). */
    void (*command)(void *user, const struct ha_request *request);
    /* Reload the configuration: 0, or a negative errno with a text for the operator in ret_text
     * (malloc'd; several lines `FILE:LINE:COL: …`). -EINPROGRESS: the answer comes by
     * xvm_ipc_reply(client). */
    int (*reload)(void *user, uint64_t client, char **ret_text);
    void (*leave)(void *user, ha_ms limit_ms); /* this host goes down; 0: as configured */
    /* Asks fence devices whether they work (host NULL: of every host). 0: the answer comes by
     * xvm_ipc_answer(client); or a negative errno. May be NULL. */
    int (*fence_check)(void *user, uint64_t client, const char *host);
    /* The last n entries (host NULL: of every host). NULL: out of memory. May be NULL. */
    json_t *(*fence_history)(void *user, const char *host, size_t n);
    /* Has all hosts look whether a guest (NULL: each) could be started. As fence_check. */
    int (*validate)(void *user, uint64_t client, const char *guest);
    /* Changes the configuration of all hosts; shows a host's file (NULL: this one's); a guest's lines
     * in it. As xvm_register_ask, xvm_register_file and xvm_register_export. May be NULL. */
    int (*config_change)(void *user, const struct xvm_register_request *request, char **ret_text);
    int (*config_file)(void *user, uint64_t client, const char *host, char **ret_text);
    int (*guest_export)(void *user, const char *guest, json_t **ret_answer, char **ret_text);
    /* Messages for debugging a guest, a host (NULL: all), on or off. 0 or a negative errno. */
    int (*debug)(void *user, const char *name, bool host, bool on, const char *who);
    /* How far a host's clock is ahead of ours; false: not known. May be NULL. */
    bool (*clock)(void *user, const char *host, ha_ms *ret_ms);
    /* Running configuration (borrowed). */
    const struct ha_config *(*config)(void *user);
};

int xvm_ipc_new(const struct xvm_ipc_env *env, struct xvm_ipc **ret_ipc, struct ha_error *ret_error);
struct xvm_ipc *xvm_ipc_free(struct xvm_ipc *ipc);
void xvm_ipc_reply(struct xvm_ipc *ipc, uint64_t client, int code, const char *text);
/* Answers a client that waits with these parameters; takes them over. */
void xvm_ipc_answer(struct xvm_ipc *ipc, uint64_t client, json_t *parameters);
/* Adds a report to the ring buffer (the last 1000), with the wall-clock time of now. */
void xvm_ipc_report(struct xvm_ipc *ipc, enum ha_report what, enum ha_severity severity,
                    const char *host, const char *guest, const char *text);

#endif
