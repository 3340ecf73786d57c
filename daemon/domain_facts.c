/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains as plain facts: written down, read, matched to guests. */
#include "domain_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest_files.h"
#include "util.h"

/* ------------------------------------------------------------------------------------- words */

static const char *const ends[] = {
    [XVM_END_NONE] = "none",
    [XVM_END_POWEROFF] = "poweroff",
    [XVM_END_REBOOT] = "reboot",
    [XVM_END_SUSPEND] = "suspend",
    [XVM_END_CRASH] = "crash",
    [XVM_END_WATCHDOG] = "watchdog",
    [XVM_END_SOFT_RESET] = "soft-reset",
    [XVM_END_UNKNOWN] = "unknown",
};

const char *xvm_domain_end_name(enum xvm_domain_end end)
{
    return ends[end];
}

enum xvm_domain_end xvm_domain_end_parse(const char *name)
{
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (!strcmp(ends[i], name))
            return (enum xvm_domain_end)i;
    return XVM_END_UNKNOWN;
}

enum ha_exit xvm_domain_exit(enum xvm_domain_end end)
{
    switch (end) {
    case XVM_END_POWEROFF:
        return HA_EXIT_POWEROFF;
    case XVM_END_REBOOT:
    case XVM_END_SOFT_RESET: /* a kernel of the guest's asks for a new start: it gets one */
        return HA_EXIT_REBOOT;
    case XVM_END_CRASH:
    case XVM_END_WATCHDOG: /* the guest did not pet its own watchdog */
        return HA_EXIT_CRASH;
    case XVM_END_NONE:
    case XVM_END_SUSPEND: /* suspended, and then gone: that was somebody else */
        return HA_EXIT_KILLED;
    case XVM_END_UNKNOWN:
        return HA_EXIT_UNKNOWN;
    }
    return HA_EXIT_UNKNOWN;
}

static bool uuid_zero(const struct ha_uuid *uuid)
{
    static const struct ha_uuid zero;
    return !memcmp(uuid, &zero, sizeof(zero));
}

static bool uuid_same(const struct ha_uuid *a, const struct ha_uuid *b)
{
    return !uuid_zero(a) && !memcmp(a, b, sizeof(*a));
}

const char *xvm_domain_uuid_text(const struct ha_uuid *uuid, char text[static 37])
{
    char *at = text;
    if (!uuid_zero(uuid)) {
        for (size_t i = 0; i < sizeof(uuid->b); i++)
            at +=
                sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid->b[i]);
    }
    *at = '\0';
    return text;
}

/* ------------------------------------------------------------------------------------- JSON */

json_t *xvm_domain_json(const struct xvm_domain *d)
{
    char uuid[37];
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:b, s:b}", "domid", (int)d->domid,
                  "uuid", xvm_domain_uuid_text(&d->uuid, uuid), "name", d->name, "gone", d->gone,
                  "dying", d->dying, "paused", d->paused, "ran", d->ran, "end",
                  xvm_domain_end_name(d->end), "writers", d->writers, "monitored", d->monitored);
    /* Numbers of 64 bits as text: JSON's own need not survive. */
    char inc[24], mig[24];
    snprintf(inc, sizeof(inc), "%" PRIu64, d->inc);
    snprintf(mig, sizeof(mig), "%" PRIu64, d->mig);
    json_t *tag = d->guest[0]
                      ? json_pack("{s:s, s:s, s:s}", "guest", d->guest, "inc", inc, "mig", mig)
                      : NULL;
    if (json && tag)
        json_object_set_new(json, "tag", tag);
    if (d->guest[0] && !tag) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static bool parse_number(const char *text, uint64_t *ret)
{
    int end = 0;
    return text[0] >= '0' && text[0] <= '9' && sscanf(text, "%" SCNu64 "%n", ret, &end) == 1 &&
           !text[end];
}

int xvm_domain_parse(const json_t *json, struct xvm_domain *ret_domain)
{
    struct xvm_domain d = {0};
    const char *uuid, *name, *end, *guest = "", *inc = "0", *mig = "0";
    int domid, gone, dying, paused, ran, writers, monitored;
    json_t *tag = NULL;
    if (json_unpack((json_t *)json, "{s:i, s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:b, s:b, s?o}",
                    "domid", &domid, "uuid", &uuid, "name", &name, "gone", &gone, "dying", &dying,
                    "paused", &paused, "ran", &ran, "end", &end, "writers", &writers, "monitored",
                    &monitored, "tag", &tag) < 0)
        return -EBADMSG;
    if (tag && json_unpack(tag, "{s:s, s:s, s:s}", "guest", &guest, "inc", &inc, "mig", &mig) < 0)
        return -EBADMSG;
    if (domid <= 0 || strlen(name) >= sizeof(d.name) || strlen(guest) >= sizeof(d.guest) ||
        !parse_number(inc, &d.inc) || !parse_number(mig, &d.mig) ||
        (uuid[0] && xvm_uuid_parse(uuid, &d.uuid) < 0))
        return -EBADMSG;
    d.domid = (uint32_t)domid;
    strcpy(d.name, name);
    strcpy(d.guest, guest);
    d.gone = gone;
    d.dying = dying;
    d.paused = paused;
    d.ran = ran;
    d.end = xvm_domain_end_parse(end);
    d.writers = writers;
    d.monitored = monitored;
    *ret_domain = d;
    return 0;
}

/* --------------------------------------------------------------------------------- matching */

static bool by_record(const struct xvm_domain *d, const struct xvm_known *k)
{
    if (!k->has_record)
        return false;
    if (k->record.domid)
        return k->record.domid == d->domid && (d->gone || uuid_same(&k->record.uuid, &d->uuid));
    /* Half built: it has not come far enough to be tagged, so it has never run. */
    return !d->gone && !d->ran && uuid_same(&k->record.uuid, &d->uuid);
}

bool xvm_domain_is(const struct xvm_domain *d, const struct xvm_known *k, uint64_t *ret_inc,
                   uint64_t *ret_mig)
{
    if (d->guest[0]) {
        if (strcmp(d->guest, k->guest) != 0)
            return false;
        *ret_inc = d->inc;
        *ret_mig = d->mig;
        return true;
    }
    if (by_record(d, k)) {
        *ret_inc = k->record.inc;
        *ret_mig = k->record.mig;
        return true;
    }
    if (!uuid_same(&d->uuid, &k->uuid) &&
        (!d->name[0] || (strcmp(d->name, k->guest) != 0 && strcmp(d->name, k->name) != 0)))
        return false;
    *ret_inc = *ret_mig = 0;
    return true;
}

enum ha_copy_state xvm_domain_state(const struct xvm_domain *d)
{
    if (d->gone || d->dying)
        return HA_COPY_DYING;
    if (d->end == XVM_END_SUSPEND)
        return HA_COPY_SUSPENDED;
    if (d->end != XVM_END_NONE)
        return HA_COPY_DYING;
    /* One that an operator has paused is no new-born one: nobody but him lets it go on. */
    return d->paused && !d->ran ? HA_COPY_PAUSED : HA_COPY_RUNNING;
}

/* ---------------------------------------------------------------------------------- records */

int xvm_record_read(int dir, struct xvm_domain_record *ret_record)
{
    struct xvm_domain_record record = {0};
    char buf[256], uuid[40];
    int end = 0, ending = 0, r = xvm_text_read(dir, "domain", buf, sizeof(buf));
    if (r < 0)
        return r;
    if (sscanf(buf,
               "uuid %39s\ndomid %" SCNu32 "\ninc %" SCNu64 "\nmig %" SCNu64 "\nending %d\nend%n",
               uuid, &record.domid, &record.inc, &record.mig, &ending, &end) != 5 ||
        !end || strcmp(buf + end, "\n") != 0 || xvm_uuid_parse(uuid, &record.uuid) < 0)
        return -EBADMSG;
    record.ending = ending != 0;
    *ret_record = record;
    return 0;
}

int xvm_record_write(int dir, const struct xvm_domain_record *record)
{
    char buf[256], uuid[37];
    if (uuid_zero(&record->uuid))
        return -EINVAL;
    snprintf(buf, sizeof(buf),
             "uuid %s\ndomid %" PRIu32 "\ninc %" PRIu64 "\nmig %" PRIu64 "\nending %d\nend\n",
             xvm_domain_uuid_text(&record->uuid, uuid), record->domid, record->inc, record->mig,
             record->ending);
    return xvm_text_replace(dir, "domain", buf);
}

void xvm_record_remove(int dir)
{
    (void)unlinkat(dir, "domain", 0);
}
