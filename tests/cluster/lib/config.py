# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes xvm-ha.yaml for a test cluster."""


def flow(value):
    """A Python value as YAML flow style (JSON is YAML, but plain words read better)."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def text(room, hosts, guests, *, watchdogs=None, levels=("power",), timers=None, memory="4G",
         device=None, defaults=None, watchdog_timeout="5s", name="xvm-ha-test", bmcs=None, ipmi=None,
         fencing=None, migration=None, disk=None, labels=None, rules=None, placement=None,
         starts=None):
    """hosts: names, ids follow their order. guests: {name: {key: value}}.

    levels: fence levels of each host; "power" is the test's power switch.
    device: further keys of the power switch's fence device.
    bmcs: {host: Bmc}; the level "ipmi" is then the host's own. ipmi: further keys of these devices.
    disk: the section `shared_disk`.
    fencing: the section of that name; without it nothing is asked or limited.
    labels: {host: [label]}. rules: a list of rules. placement: reserve, failback, preempt, rebalance.
    """
    d = {"agent": "fence_xvm_node", "options": {"nodes_dir": room.nodes_dir}, "timeout": "10s",
         "verify": True}
    d.update(device or {})
    out = ["# Written by the cluster tests.",
           f"cluster: {flow({'name': name})}",
           "driver: process",
           f"process: {flow({'shared_dir': room.shared_dir, 'memory': memory})}"]
    if watchdogs:
        out.append(f"watchdog: {flow({'device': watchdogs, 'timeout': watchdog_timeout})}")
    else:
        out.append("watchdog: {device: none}")
    out.append(f"timers: {flow(timers)}" if timers else "")
    out.append(f"migration: {flow(migration)}" if migration else "")
    out.append(f"shared_disk: {flow(disk)}" if disk else "")
    out.append(f"starts: {flow(starts)}" if starts else "")
    out.append(f"fence_devices:\n  power: {flow(d)}")
    for host, bmc in (bmcs or {}).items():
        keys = {"agent": "fence_ipmilan", "options": bmc.options(),
                "secrets": {"password": bmc.secret}, "timeout": "15s", "retries": 0}
        keys.update(ipmi or {})
        out.append(f"  ipmi-{host}: {flow(keys)}")
    limits = {"check": 0, "host_losses": 0, "cluster_losses": 0}
    limits.update(fencing or {})
    out.insert(1, f"fencing: {flow(limits)}")
    for other in ("broken", "liar"):
        if other in str(levels):
            out.append(f"  {other}: {{agent: fence_{other}, timeout: 5s, verify: true}}")
    out.append("hosts:")
    for i, host in enumerate(hosts, 1):
        def own_name(x, host=host):
            if isinstance(x, (list, tuple)):
                return [own_name(y) for y in x]
            return f"ipmi-{host}" if x == "ipmi" else x
        own = [own_name(x) for x in levels]
        keys = {"id": i, "fence": own, "options": {"plug": host}}
        if (labels or {}).get(host):
            keys["labels"] = labels[host]
        out.append(f"  {host}: {flow(keys)}")
    if defaults:
        out.append(f"guest_defaults: {flow(defaults)}")
    out.append("guests:" if guests else "guests: {}")
    for guest, keys in guests.items():
        out.append(f"  {guest}: {flow(keys)}")
    if guests and rules:  # there may be a configuration without guests at first
        out.append(f"rules: {flow(rules)}")
    out += [f"{key}: {flow(value)}" for key, value in (placement or {}).items()]
    return "\n".join(line for line in out if line) + "\n"
