/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each fact means to an operator, said once it is stable. Every host says the same. */
#include "core.h"

const char *ha_released_words(uint8_t how)
{
    switch ((enum ha_release)how) {
    case HA_RELEASE_STOPPED:
        return "was shut down";
    case HA_RELEASE_POWEROFF:
        return "powered itself off";
    case HA_RELEASE_REBOOT:
        return "reboots";
    case HA_RELEASE_CRASH:
        return "crashed";
    case HA_RELEASE_START_FAILED:
        return "could not be started";
    case HA_RELEASE_LEASE:
        return "was ended because its host's lease had lapsed";
    case HA_RELEASE_OTHER:
        return "was found as a copy that nobody owns";
    case HA_RELEASE_PROBE:
        return "was ended because its probes failed";
    }
    return "ended";
}

static const char *confirmed(const struct ha_fact *f)
{
    if (f->how == HA_CONF_DEVICE)
        return "its fence device says that it is off";
    if (f->how == HA_CONF_BOUND)
        return "its watchdog must have ended it by now";
    if (f->how == HA_CONF_PILL)
        return "it took a poison pill, or could not read the shared disk: it or its guests are ended";
    return "an operator vouches for it: ";
}

static void say_host(struct ha *ha, const struct ha_facts *before, const struct ha_fact *f)
{
    const char *name = ha_host_name(ha, f->host);
    const struct ha_host_fact *h = ha_facts_host(before, f->host);
    switch (f->kind) {
    case HA_FACT_IN:
        if (h && h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &f->boot) &&
            ha_uuid_eq(&h->journal, &f->journal)) {
            /* its keeper was away, or has armed the watchdog since it was admitted */
            if (f->armed && !h->armed)
                ha_report(ha, HA_REPORT_HOST_IN, HA_SEV_INFO, f->host, NULL,
                          "%s has its watchdog armed", name);
            break;
        }
        ha_report(ha, HA_REPORT_HOST_IN, HA_SEV_NOTICE, f->host, NULL, "%s is a synced member%s",
                  name, f->armed ? "" : " (no watchdog: it cannot fence itself)");
        if (h && h->state == HA_HOST_DEAD && h->how == HA_CONF_DEVICE &&
            ha_uuid_eq(&h->boot, &f->boot))
            ha_report(ha, HA_REPORT_DISTRUST, HA_SEV_ALERT, f->host, NULL,
                      "%s came back without having been off: its fence device said off and lied",
                      name);
        break;
    case HA_FACT_LOST:
        ha_report(ha, HA_REPORT_HOST_LOST, HA_SEV_ERROR, f->host, NULL, "%s is lost (loss %u)",
                  name, f->loss);
        if (h && ha->config->fencing.host_limit && h->flaps + 1U >= ha->config->fencing.host_limit)
            ha_report(ha, HA_REPORT_QUARANTINE, HA_SEV_ALERT, f->host, NULL,
                      "%s was lost %u times lately: it gets no guests until it is calm, or "
                      "`xvmhactl host clear %s`", name, h->flaps + 1U, name);
        break;
    case HA_FACT_ORDER:
        ha_report(ha, HA_REPORT_HOST_LOST, HA_SEV_WARNING, f->host, NULL,
                  "%s is to be fenced by order of %s (loss %u)", name, f->name, f->loss);
        break;
    case HA_FACT_CALM:
        ha_report(ha, HA_REPORT_QUARANTINE, HA_SEV_NOTICE, f->host, NULL,
                  "the losses of %s are forgotten: %s%s", name,
                  f->name[0] ? "by order of " : "it was calm for long enough", f->name);
        break;
    case HA_FACT_MAINT:
        ha_report(ha, HA_REPORT_HOST_MAINT, HA_SEV_NOTICE, f->host, NULL, "%s %s%s%s", name,
                  f->level == HA_MAINT_ON         ? "goes into maintenance: its guests leave it"
                  : f->level == HA_MAINT_EVACUATE ? "is to be emptied"
                  : h && h->maint == HA_MAINT_ON  ? "takes guests again: its maintenance is over"
                                                  : "takes guests again",
                  f->name[0] ? ", by order of " : "", f->name);
        break;
    case HA_FACT_DOWN:
        ha_report(ha, HA_REPORT_HOST_MAINT, HA_SEV_NOTICE, f->host, NULL,
                  f->level ? "%s goes down: its guests leave it" : "%s does not go down after all",
                  name);
        break;
    case HA_FACT_TURN:
        break;
    case HA_FACT_FENCING:
        ha_report(ha, HA_REPORT_HOST_FENCING, HA_SEV_WARNING, f->host, NULL,
                  "%s is being fenced, level %u", name, f->level + 1);
        break;
    case HA_FACT_FENCE_END:
        ha_report(ha, HA_REPORT_HOST_FENCE_FAIL, HA_SEV_WARNING, f->host, NULL,
                  "fence level %u of %s %s", f->level + 1, name,
                  f->how == 3   ? "was the last: the host stays, for it could not be switched off"
                  : f->how == 2 ? "was cancelled: the host is back"
                                : "did not succeed: nothing is confirmed by that");
        break;
    case HA_FACT_CONF:
        ha_report(ha, HA_REPORT_HOST_CONFIRMED, HA_SEV_NOTICE, f->host, NULL,
                  "%s is dead: %s%s", name, confirmed(f), f->name);
        break;
    case HA_FACT_OUT:
        ha_report(ha, HA_REPORT_HOST_OUT, HA_SEV_NOTICE, f->host, NULL, "%s said goodbye", name);
        break;
    case HA_FACT_REPLACE:
        ha_report(ha, HA_REPORT_HOST_OUT, HA_SEV_NOTICE, f->host, NULL,
                  "%s may come back as another machine (%s)", name, f->name);
        break;
    default:
        break;
    }
}

static void say_disk(struct ha *ha, const struct ha_fact *f)
{
    if (f->kind == HA_FACT_BOUND)
        ha_report(ha, HA_REPORT_DISK, HA_SEV_INFO, f->host, NULL,
                  "%s depends on the shared disk: without it, or with a poison pill, it ends",
                  ha_host_name(ha, f->host));
    else if (f->level == 1)
        ha_report(ha, HA_REPORT_DISK, HA_SEV_NOTICE, 0, NULL,
                  "the hosts have the shared disk: who loses it for %lu s stops its guests",
                  (unsigned long)f->lease_ms / 1000);
    else
        ha_report(
            ha, HA_REPORT_DISK, HA_SEV_ALERT, 0, NULL,
            "no host has the shared disk, or it is configured anew: the hosts see each other and "
            "go on without it; nobody is stopped for it, and it fences nobody");
}

static void say_want(struct ha *ha, const struct ha_guest_fact *g, const struct ha_fact *f)
{
    const char *what = !f->enabled ? "disabled" : f->want_run ? "to run" : "to be stopped";
    ha_report(ha, HA_REPORT_GUEST_WANT, HA_SEV_NOTICE, 0, g->name, "%s is %s", g->name, what);
}

static void say_guest(struct ha *ha, const struct ha_facts *before, const struct ha_fact *f)
{
    if (f->guest >= before->nguests)
        return;
    const struct ha_guest_fact *g = &before->guests[f->guest];
    const char *host = ha_host_name(ha, f->host);
    switch (f->kind) {
    case HA_FACT_WANT:
        say_want(ha, g, f);
        break;
    case HA_FACT_ASSIGN:
        ha_report(ha, HA_REPORT_GUEST_ASSIGN, HA_SEV_INFO, f->host, g->name,
                  "%s is to start on %s (incarnation %lu)", g->name, host, (unsigned long)f->inc);
        break;
    case HA_FACT_ADOPT:
        ha_report(ha, HA_REPORT_GUEST_ADOPT, HA_SEV_NOTICE, f->host, g->name,
                  "%s runs on %s already and is taken over", g->name, host);
        break;
    case HA_FACT_RUN:
        ha_report(ha, HA_REPORT_GUEST_RUNNING, HA_SEV_NOTICE, g->owner, g->name, "%s runs on %s",
                  g->name, ha_host_name(ha, g->owner));
        break;
    case HA_FACT_RELEASED: {
        bool asked = f->how == HA_RELEASE_STOPPED || (!ha_wanted(g) && f->how == HA_RELEASE_CRASH);
        ha_report(ha, HA_REPORT_GUEST_RELEASED, asked ? HA_SEV_NOTICE : HA_SEV_WARNING, g->owner,
                  g->name, "%s %s on %s", g->name,
                  ha_released_words(asked ? HA_RELEASE_STOPPED : f->how),
                  ha_host_name(ha, g->owner));
        if (f->failed && ha_wanted(g))
            ha_report(ha, HA_REPORT_GUEST_FAILED, HA_SEV_ALERT, g->owner, g->name,
                      "%s has failed too often and is left alone: `xvmhactl clear %s` tries again",
                      g->name, g->name);
        break;
    }
    case HA_FACT_PREEMPT: {
        const struct ha_guest_fact *other =
            f->old_inc && f->old_inc <= before->nguests ? &before->guests[f->old_inc - 1] : NULL;
        ha_report(ha, HA_REPORT_GUEST_PREEMPT, HA_SEV_WARNING, g->owner, g->name,
                  "%s is stopped on %s for want of room%s%s; it starts again when there is some",
                  g->name, ha_host_name(ha, g->owner), other ? ", for the sake of " : "",
                  other ? other->name : "");
        break;
    }
    case HA_FACT_RESTART:
        ha_report(ha, HA_REPORT_GUEST_WANT, HA_SEV_NOTICE, g->owner, g->name,
                  "%s is to be stopped on %s and started again", g->name,
                  ha_host_name(ha, g->owner));
        break;
    case HA_FACT_RECALL:
        ha_report(ha, HA_REPORT_MIGRATE, HA_SEV_NOTICE, f->host, g->name,
                  "%s moves from %s to %s by stop and start", g->name,
                  ha_host_name(ha, g->owner), host);
        break;
    case HA_FACT_MIG:
        ha_report(ha, HA_REPORT_MIGRATE, HA_SEV_NOTICE, f->host, g->name, "%s moves from %s to %s",
                  g->name, ha_host_name(ha, g->owner), host);
        break;
    case HA_FACT_COMMIT:
        ha_report(ha, HA_REPORT_COMMIT, HA_SEV_NOTICE, g->mig_host, g->name,
                  "the move of %s is committed: it belongs to %s now", g->name,
                  ha_host_name(ha, g->mig_host));
        break;
    case HA_FACT_ABORT:
        ha_report(ha, HA_REPORT_ABORT, HA_SEV_WARNING, g->owner, g->name,
                  "the move of %s is off%s%s", g->name, g->owner ? ": it goes on on " : "",
                  g->owner ? ha_host_name(ha, g->owner) : "");
        break;
    case HA_FACT_DEFINE:
        ha_report(ha, HA_REPORT_GUEST_REGISTER, HA_SEV_INFO, 0, g->name,
                  "%s has %s definition: it needs %lu MiB%s", g->name,
                  ha_uuid_zero(&g->def) ? "a" : "a new", (unsigned long)(f->inc / 1024),
                  g->owner ? ", from its next start on" : "");
        break;
    case HA_FACT_CLEAR:
        ha_report(ha, HA_REPORT_GUEST_WANT, HA_SEV_INFO, 0, g->name,
                  "the failures of %s are forgotten", g->name);
        break;
    default:
        break;
    }
}

void ha_say_stable(struct ha *ha, const struct ha_facts *before, const struct ha_fact *f)
{
    if (!ha_facts_fits(before, f))
        return;
    if (f->kind == HA_FACT_REGISTER)
        ha_report(ha, HA_REPORT_GUEST_REGISTER, HA_SEV_INFO, 0, f->name, "%s is registered",
                  f->name);
    else if (f->kind == HA_FACT_FOUND)
        ha_report(ha, HA_REPORT_SYNC, HA_SEV_NOTICE, 0, NULL, "the cluster is founded");
    else if (f->kind == HA_FACT_FREEZE || f->kind == HA_FACT_THAW)
        ha_report(ha, HA_REPORT_FREEZE, HA_SEV_NOTICE, 0, NULL, "the cluster is %s by order of %s",
                  f->kind == HA_FACT_FREEZE ? "frozen" : "thawed", f->name);
    else if (f->kind == HA_FACT_LOOKED)
        ha_report(ha, HA_REPORT_FREEZE, HA_SEV_INFO, 0, NULL,
                  "every host has looked round since the thaw");
    else if (f->kind == HA_FACT_CHAIR)
        ha_report(ha, HA_REPORT_COMMAND, HA_SEV_NOTICE, f->host, NULL,
                  "%s is to coordinate by order of %s", ha_host_name(ha, f->host), f->name);
    else if (f->kind == HA_FACT_CONFIG)
        ha_report(ha, HA_REPORT_COMMAND, HA_SEV_NOTICE, 0, NULL,
                  "the configuration is changed on all hosts by order of %s", f->name);
    else if (f->kind == HA_FACT_VOTERS)
        ha_report(ha, HA_REPORT_SYNC, HA_SEV_NOTICE, 0, NULL,
                  "%u voters count from here on", (unsigned)f->nvoters);
    else if (f->host && ha_facts_host(before, f->host) && f->guest == 0 &&
             f->kind <= HA_FACT_OUT)
        say_host(ha, before, f);
    else if (f->kind == HA_FACT_REPLACE || f->kind == HA_FACT_ORDER || f->kind == HA_FACT_CALM ||
             f->kind == HA_FACT_MAINT || f->kind == HA_FACT_DOWN)
        say_host(ha, before, f);
    else if (f->kind == HA_FACT_DISK || f->kind == HA_FACT_BOUND)
        say_disk(ha, f);
    else if (f->kind == HA_FACT_TURN)
        return;
    else
        say_guest(ha, before, f);
}
