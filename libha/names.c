/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of enums, for operators and logs. */
#include "ha.h"

const char *ha_phase_name(enum ha_phase phase)
{
    switch (phase) {
    case HA_PHASE_START:
        return "starting";
    case HA_PHASE_EXCHANGE:
        return "exchange";
    case HA_PHASE_OPENING:
        return "opening";
    case HA_PHASE_OPEN:
        return "open";
    }
    return "?";
}

const char *ha_host_state_name(enum ha_host_state state)
{
    switch (state) {
    case HA_HOST_NEW:
        return "new";
    case HA_HOST_IN:
        return "in";
    case HA_HOST_LOST:
        return "lost";
    case HA_HOST_FENCING:
        return "fencing";
    case HA_HOST_DEAD:
        return "dead";
    case HA_HOST_OUT:
        return "out";
    }
    return "?";
}

const char *ha_guest_state_name(enum ha_guest_state state)
{
    switch (state) {
    case HA_GUEST_FREE:
        return "free";
    case HA_GUEST_STARTING:
        return "starting";
    case HA_GUEST_RUNNING:
        return "running";
    case HA_GUEST_MIGRATING:
        return "migrating";
    case HA_GUEST_ARRIVED:
        return "arrived";
    }
    return "?";
}

const char *ha_health_name(enum ha_health health)
{
    switch (health) {
    case HA_HEALTH_NONE:
        return "none";
    case HA_HEALTH_PENDING:
        return "pending";
    case HA_HEALTH_GOOD:
        return "good";
    case HA_HEALTH_BAD:
        return "bad";
    }
    return "?";
}

const char *ha_stop_phase_name(enum ha_stop_phase phase)
{
    switch (phase) {
    case HA_STOP_NONE:
        return "none";
    case HA_STOP_WAITS:
        return "waits";
    case HA_STOP_ASKED:
        return "asked";
    case HA_STOP_FORCED:
        return "forced";
    case HA_STOP_OVERDUE:
        return "overdue";
    }
    return "?";
}

const char *ha_op_name(enum ha_op op)
{
    switch (op) {
    case HA_OP_CREATE:
        return "create";
    case HA_OP_UNPAUSE:
        return "unpause";
    case HA_OP_SHUTDOWN:
        return "shutdown";
    case HA_OP_DESTROY:
        return "destroy";
    case HA_OP_TAG:
        return "tag";
    case HA_OP_SEND:
        return "send";
    case HA_OP_RECEIVE:
        return "receive";
    case HA_OP_RESUME:
        return "resume";
    }
    return "?";
}

const char *ha_report_name(enum ha_report what)
{
    static const char *const names[] = {
#define X(name, text) text,
        HA_REPORTS(X)
#undef X
    };
    return what < HA_REPORT_COUNT ? names[what] : "?";
}
