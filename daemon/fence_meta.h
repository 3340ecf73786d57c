/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a ClusterLabs fence agent says about itself (action=metadata): its parameters and what it
 * can do. Parsed with expat from text that nobody vouches for. */
#ifndef XVM_FENCE_META_H
#define XVM_FENCE_META_H

#include <stdbool.h>
#include <stddef.h>

enum {
    XVM_META_SIZE_MAX = 1024 * 1024, /* bytes of metadata; the largest known has 12 KiB */
    XVM_META_PARAMS_MAX = 512,
    XVM_META_WHY = 200, /* bytes of a reason, with its NUL */
};

/* Actions, as bits. */
enum xvm_meta_action {
    XVM_META_OFF = 1 << 0,
    XVM_META_ON = 1 << 1,
    XVM_META_REBOOT = 1 << 2,
    XVM_META_STATUS = 1 << 3,
    XVM_META_MONITOR = 1 << 4,
};

struct xvm_meta_param {
    char *name;
    char *type;      /* "string", "integer", "second", "boolean", "select", …; NULL: not said */
    char *fallback;  /* its default; NULL: none */
    char *text;      /* the agent's own description; NULL: none */
    char *obsoletes; /* the deprecated name of the same thing; NULL: none */
    char **choices;  /* of a select */
    size_t nchoices;
    bool required, deprecated;
};

struct xvm_fence_meta {
    char *agent; /* the name that it calls itself by */
    struct xvm_meta_param *params;
    size_t nparams;
    unsigned actions;
};

/* Parses the XML. 0, -EBADMSG with the reason in `why` for anything else than metadata, or -ENOMEM.
 */
int xvm_fence_meta_parse(const char *xml, size_t len, struct xvm_fence_meta **ret_meta,
                         char why[static XVM_META_WHY]);
struct xvm_fence_meta *xvm_fence_meta_free(struct xvm_fence_meta *meta);

/* NULL: the agent does not know it. */
const struct xvm_meta_param *xvm_fence_meta_param(const struct xvm_fence_meta *meta,
                                                  const char *name);
/* The parameter that took the place of a deprecated one, or NULL. */
const struct xvm_meta_param *xvm_fence_meta_successor(const struct xvm_fence_meta *meta,
                                                      const char *name);

#endif
