/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interfaces of the control socket in varlink's own language, for clients that ask for them. */
#include <string.h>

#include "ipc_internal.h"

static const char service[] =
    "# What any varlink service answers.\n"
    "interface org.varlink.service\n"
    "\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string,\n"
    "  interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n"
    "\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error InvalidParameter (parameter: string)\n";

static const char xvmha[] =
    "# High availability for Xen guests. Group xvm-ha-read may call Ping, Status, Events and\n"
    "# Instance; root and group xvm-ha may call everything.\n"
    "interface org.xvmha\n"
    "\n"
    "type Host (name: string, id: int, condition: string, state: string, member: bool,\n"
    "  daemon: bool, synced: bool, armed: bool, coordinator: bool, drift: bool,\n"
    "  frozen: bool, loss: int,\n"
    "  fence_level: int, ordered: bool, quarantined: bool, losses: int, guests: int,\n"
    "  maintenance: string, guests_to_leave: int, guests_leaving: int,\n"
    "  memory_kib: int, memory_used_kib: int, why: string)\n"
    "\n"
    "type Guest (name: string, condition: string, state: string, host: string, target: string,\n"
    "  managed: bool, external: bool, enabled: bool, want_run: bool, failed: bool,\n"
    "  quarantined: bool, preempted: bool,\n"
    "  incarnation: int, migration: int, priority: int, memory_kib: int, restarts: int,\n"
    "  why: string)\n"
    "\n"
    "# Host failures that would be borne, and the reserve that is wanted. exact: not one more.\n"
    "type Tolerates (hosts: int, exact: bool, reserve: int, why: string)\n"
    "\n"
    "# Something under way, or something an operator should look at; text says the way out.\n"
    "type Note (kind: string, name: string, condition: string, text: string)\n"
    "\n"
    "# time is UTC (RFC 3339); usec is the same in microseconds since 1970.\n"
    "type Event (time: string, usec: int, what: string, severity: string, host: string,\n"
    "  guest: string, text: string)\n"
    "\n"
    "type Entry (time: string, usec: int, what: string, severity: string, host: string,\n"
    "  text: string)\n"
    "type Validated (guest: string, host: string, result: string, text: string)\n"
    "type Check (host: string, device: string, level: int, result: string, good: bool,\n"
    "  took_ms: int, text: string)\n"
    "\n"
    "method Ping() -> ()\n"
    "method Status() -> (version: string, cluster: string, self: string, coordinator: string,\n"
    "  quorate: bool, phase: string, sentence: string, epoch: (number: int, host: string),\n"
    "  founded: bool, synced: bool, waiting: bool, lease_ms: int, lapsed: bool,\n"
    "  unheard: bool, keeper: bool, armed: bool, leaving: bool, empty: bool,\n"
    "  frozen: bool, looking: bool,\n"
    "  head: int, stable: int, survivor: string, survivor_why: string,\n"
    "  tolerates: ?Tolerates, hosts: []Host,\n"
    "  guests: []Guest, underway: []Note,\n"
    "  attention: []Note)\n"
    "# The last events that this host knows of, oldest first.\n"
    "method Events(last: ?int) -> (events: []Event)\n"
    "# The cluster as the planner sees it; the form is that of `xvmhactl plan --file`.\n"
    "method Instance() -> (instance: object)\n"
    "# command: start stop enable disable clear move move-cancel (guest); fence fence-confirm\n"
    "# host-clear host-replace evacuate maintenance-on maintenance-off coordinator (host); init\n"
    "# lineage-force freeze thaw.\n"
    "# text: live, migrate or normal, with move; force, with start, enable, evacuate,\n"
    "# maintenance-on and move (there `live,force` and so on, too).\n"
    "method Command(command: string, guest: ?string, host: ?string, text: ?string)\n"
    "  -> (code: int, text: string)\n"
    "method Reload() -> (text: string)\n"
    "# This host goes down: it gives up its guests, then disarms its watchdog. Status tells when.\n"
    "method Leave() -> ()\n"
    "# What happened to hosts and their fence devices, oldest first; kept across restarts.\n"
    "method FenceHistory(host: ?string, last: ?int) -> (entries: []Entry)\n"
    "# Asks fence devices whether they work. result: on off works failed unknown.\n"
    "method FenceCheck(host: ?string) -> (checks: []Check)\n"
    "# Has every host look whether a guest (or each) could be started there. result: fit, unfit,\n"
    "# \"not here\", unknown. silent: hosts that did not answer.\n"
    "method Validate(guest: ?string) -> (results: []Validated, silent: []string)\n"
    "\n"
    "# code is a negative errno. quorate tells whether this host had quorum.\n"
    "error Failed (code: int, text: string, quorate: bool)\n"
    "error UnknownName (kind: string, name: string, nearest: string, text: string)\n"
    "error PermissionDenied (text: string)\n"
    "error NotReady (text: string)\n"
    "error BadMessage (text: string)\n";

const char *xvm_varlink_description(const char *interface)
{
    if (strcmp(interface, "org.varlink.service") == 0)
        return service;
    if (strcmp(interface, "org.xvmha") == 0)
        return xvmha;
    return NULL;
}
