/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two halves of the register share. Private to daemon/register*.c. */
#ifndef XVM_REGISTER_INTERNAL_H
#define XVM_REGISTER_INTERNAL_H

#include "child.h"
#include "config_edit.h"
#include "daemon.h"

enum { XVM_QUESTIONS = 8 };

/* Somebody here wants to see another host's file. */
struct xvm_question {
    struct xvm_register *reg; /* NULL: free */
    uint64_t client, id;
    ha_node host;
    bool told, used;
    struct ha_uuid hash; /* of the file, once told */
    char path[256];
    sd_event_source *timer;
};

struct xvm_register {
    struct xvm_daemon *d;
    /* the change that is to be made to this host's file */
    uint64_t taken; /* latest that is done with; kept in STATE_DIR/config-taken */
    bool due;
    struct ha_uuid file;
    struct ha_config_change changes[HA_CONFIG_CHANGES];
    struct xvm_child *checker;
    char *temp;
    uint64_t from, to; /* hashes of the file that is replaced, and of the new one */
    char trouble[HA_TEXT_MAX]; /* said last */
    sd_event_source *soon, *retry;
    /* the change that somebody here asked for, while it is checked */
    struct xvm_child *proposal;
    char *proposal_path;
    struct xvm_edit edit;
    struct ha_request request;
    char what[8];
    uint64_t base;
    struct xvm_question questions[XVM_QUESTIONS];
    uint64_t next_id;
};

/* register_ask.c */
void xvm_register_ask_done(struct xvm_register *reg);
void xvm_register_file_arrived(struct xvm_register *reg);

#endif
