/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of the domains of a host, without a word to Xen: how the worker program
 * xvm-ha-domain writes them down (one JSON object a line) and the daemon reads them, whose guest a
 * domain is, and what state of a copy that makes.
 *
 * Each domain of a guest carries a tag in xenstore, in the part of the domain's own directory that
 * only dom0 writes: /local/domain/N/xvm-ha/{guest,inc,mig}. It is there before the domain can run,
 * and goes with the domain. Before that, and when the directory is gone already, the record says
 * the same: RUN_DIR/guests/NAME/domain, written by the worker before it begins. */
#ifndef XVM_DOMAIN_FACTS_H
#define XVM_DOMAIN_FACTS_H

#include <jansson.h>

#include "../libha/ha.h"

enum {
    XVM_DOMAIN_NAME_MAX = 256,
};

enum xvm_domain_end {
    XVM_END_NONE = 0,
    XVM_END_POWEROFF,
    XVM_END_REBOOT,
    XVM_END_SUSPEND,
    XVM_END_CRASH,
    XVM_END_WATCHDOG,
    XVM_END_SOFT_RESET,
    XVM_END_UNKNOWN,
};

struct xvm_domain {
    uint32_t domid;
    struct ha_uuid uuid;            /* zero: not known (the domain itself is gone) */
    char name[XVM_DOMAIN_NAME_MAX]; /* "": none, or none any more */
    char guest[HA_NAME_MAX];        /* from its tag; "": no tag */
    uint64_t inc, mig;              /* from its tag */
    bool gone;                      /* no such domain any more, only its writers are left */
    bool dying;                     /* being taken apart by the hypervisor */
    bool paused;
    bool ran;                /* has ever used a processor here */
    enum xvm_domain_end end; /* how it ended (SUSPEND: it may go on); NONE: it has not */
    bool writers;   /* a block backend may still write for it, or a device model of it is alive */
    bool monitored; /* an xl process waits for its end, and would react to it */
};

/* What a worker remembers of a guest's domain on this host. */
struct xvm_domain_record {
    struct ha_uuid uuid;
    uint32_t domid; /* 0: about to be built */
    uint64_t inc, mig;
    bool ending; /* a destroy has begun, and has perhaps paused it: it does not run again */
};

/* By what a guest's domains are recognised. */
struct xvm_known {
    char guest[HA_NAME_MAX];
    struct ha_uuid uuid;            /* zero: not known */
    char name[XVM_DOMAIN_NAME_MAX]; /* in its configuration file, if that differs; or "" */
    bool has_record;
    struct xvm_domain_record record;
};

/* The tag's place below /local/domain/N. */
#define XVM_TAG "xvm-ha"

/* One domain as a JSON object, and back. xvm_domain_json: NULL without memory. xvm_domain_parse:
 * 0, or -EBADMSG. */
json_t *xvm_domain_json(const struct xvm_domain *domain);
int xvm_domain_parse(const json_t *json, struct xvm_domain *ret_domain);

/* Whether the domain is one of that guest's, by the most certain sign there is: its tag, the
 * record, the UUID, the name. On true *ret_inc and *ret_mig are what it is tagged with (0: not ours
 * yet). */
bool xvm_domain_is(const struct xvm_domain *domain, const struct xvm_known *known,
                   uint64_t *ret_inc, uint64_t *ret_mig);
/* What a copy of that state counts as. */
enum ha_copy_state xvm_domain_state(const struct xvm_domain *domain);
/* POWEROFF, REBOOT, ... or KILLED for a domain that has no end of its own. */
enum ha_exit xvm_domain_exit(enum xvm_domain_end end);
const char *xvm_domain_end_name(enum xvm_domain_end end);
/* UNKNOWN for anything that is not a name. */
enum xvm_domain_end xvm_domain_end_parse(const char *name);
/* "" when there is none of it. */
const char *xvm_domain_uuid_text(const struct ha_uuid *uuid, char text[static 37]);

/* The record in a guest's directory. 0, -ENOENT, -EBADMSG or another negative errno. */
int xvm_record_read(int dir, struct xvm_domain_record *ret_record);
int xvm_record_write(int dir, const struct xvm_domain_record *record);
void xvm_record_remove(int dir);

#endif
