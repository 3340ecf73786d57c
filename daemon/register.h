/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The register of guests on this host: changes of the configuration file, asked for here and agreed
 * on by the cluster, are made to the file; other hosts' files are shown. */
#ifndef XVM_REGISTER_H
#define XVM_REGISTER_H

#include <jansson.h>

#include "../libha/ha.h"

struct xvm_daemon;
struct xvm_register;

/* 0 or a negative errno. */
int xvm_register_new(struct xvm_daemon *daemon, struct xvm_register **ret_register);
struct xvm_register *xvm_register_free(struct xvm_register *reg);
/* HA_ACT_CONFIG. HA_EV_CONFIG_TAKEN follows, from the loop. */
void xvm_register_act(struct xvm_register *reg, const struct ha_action *action);
/* Bytes that a host lacked are here. */
void xvm_register_arrived(struct xvm_register *reg, const struct ha_uuid *hash);
/* Is something under way here that these bytes are for? */
bool xvm_register_needs(const struct xvm_register *reg, const struct ha_uuid *hash);
/* A message of any host. */
void xvm_register_heard(struct xvm_register *reg, ha_node from, const char *kind,
                        const json_t *body);

/* What an operator wants of the configuration. */
struct xvm_register_request {
    uint64_t client; /* who gets the answer */
    enum {
        XVM_REGISTER_ADD,
        XVM_REGISTER_REMOVE,
        XVM_REGISTER_PUSH,
    } what;
    const char *guest;    /* REMOVE */
    const char *fragment; /* ADD */
    const char *who;
    bool force; /* REMOVE: though it runs */
};

/* register_ask.c. 0: the answer comes by xvm_ipc_reply or xvm_ipc_answer; or a negative errno with
 * *ret_text (malloc'd, may be NULL). */
int xvm_register_ask(struct xvm_register *reg, const struct xvm_register_request *request,
                     char **ret_text);
/* The configuration file of a host (0: this one): {host, path, text, hash, used}. */
int xvm_register_file(struct xvm_register *reg, uint64_t client, ha_node host, char **ret_text);
/* A guest as a fragment: {guest, text}. 0 and *ret_answer, or a negative errno with *ret_text. */
int xvm_register_export(struct xvm_register *reg, const char *guest, json_t **ret_answer,
                        char **ret_text);

#endif
