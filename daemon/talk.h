/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What daemons tell each other for people to read, in a CPG group of its own: nothing is ever
 * decided by it, and it never stands in the way of what the hosts agree on. Messages are JSON
 * objects. */
#ifndef XVM_TALK_H
#define XVM_TALK_H

#include <jansson.h>
#include <systemd/sd-event.h>

#include "../libha/types.h"

struct xvm_talk;

/* A message of any host, this one too, in the same order everywhere. `body` is borrowed;
 * whatever is in it is somebody else's word: look before use. */
typedef void (*xvm_talk_heard)(void *user, ha_node from, const char *kind, const json_t *body);

/* Joins the group and keeps joining it. 0 or a negative errno. */
int xvm_talk_new(sd_event *loop, xvm_talk_heard heard, void *user, struct xvm_talk **ret_talk);
struct xvm_talk *xvm_talk_free(struct xvm_talk *talk);
/* Queues a message; takes over `body`. 0; -ENOTCONN: nobody would hear it; -ENOMEM; -EMSGSIZE;
 * -ENOBUFS: too many wait already. */
int xvm_talk_say(struct xvm_talk *talk, const char *kind, json_t *body);

#endif
