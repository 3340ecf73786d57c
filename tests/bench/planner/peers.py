# SPDX-License-Identifier: GPL-2.0-or-later
"""Other planners on an instance in our form: Pacemaker's crm_simulate, Ganeti's hail and hbal.

Each returns (usage, placement): usage has user and wall seconds and resident MB; placement
tells for each guest the host or None. What a planner cannot be told (weak rules: Ganeti) is
left out for it."""
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

HAIL = "/usr/lib/ganeti/iallocators/hail"
UUID = "11111111-1111-1111-1111-111111111111"


def missing():
    """Names of the Debian packages without which nothing can be compared."""
    need = {"pacemaker-cli-utils": shutil.which("crm_simulate"), "coinor-cbc": shutil.which("cbc"),
            "ganeti-htools": shutil.which("hbal") and os.path.exists(HAIL),
            "glpk-utils": shutil.which("glpsol")}
    return [name for name, there in need.items() if not there]


def measured(argv, out, timeout, stdin=None):
    """Runs argv with its output to the file `out`: {"user", "wall", "mb", "status"}."""
    begin = time.monotonic()
    with open(out, "wb") as f:
        p = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL, stdout=f,
                             stderr=subprocess.DEVNULL,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        while True:
            pid, status, used = os.wait4(p.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begin > timeout:
                os.kill(p.pid, signal.SIGKILL)
                status, used = "timeout", os.wait4(p.pid, 0)[2]
                break
            time.sleep(.001)
    p.returncode = 0
    return {"user": used.ru_utime, "wall": time.monotonic() - begin, "mb": used.ru_maxrss / 1024,
            "status": status}


def survivors(x):
    """Where guests are that are not lost: the placement before anything is planned."""
    up = {h["name"] for h in x["hosts"] if h["state"] == "up"}
    return {g["name"]: g["on"] if g["on"] in up else None for g in x["guests"]}


# --------------------------------------------------------------------------------------- Pacemaker

def digest(name, interval):
    text = " <parameters/>\n"
    if name != "fence":
        timeout = ' CRM_meta_timeout="30000"' if interval else ""
        text = f' <parameters{timeout} config="/etc/libvirt/qemu/{name}.xml"/>\n'
    return hashlib.md5(text.encode()).hexdigest()


def operation(key, name, what, rc, interval, host, call):
    return (f'<lrm_rsc_op id="{key}" operation_key="{name}_{what}_{interval}" operation="{what}" '
            f'crm-debug-origin="build_active_RAs" crm_feature_set="3.16.1" '
            f'transition-key="{call}:1:{rc}:{UUID}" transition-magic="0:{rc};{call}:1:{rc}:{UUID}" '
            f'exit-reason="" on_node="{host}" call-id="{call}" rc-code="{rc}" op-status="0" '
            f'interval="{interval}" last-rc-change="1795200000" exec-time="20" queue-time="0" '
            f'op-digest="{digest(name, interval)}"/>')


def primitive(g):
    n = g["name"]
    return (f'<primitive id="{n}" class="ocf" provider="heartbeat" type="VirtualDomain">'
            f'<utilization id="{n}-u"><nvpair id="{n}-um" name="memory" value="{g["memory_mib"]}"/>'
            f'</utilization><meta_attributes id="{n}-m"><nvpair id="{n}-mp" name="priority" '
            f'value="{g["priority"]}"/></meta_attributes><instance_attributes id="{n}-i">'
            f'<nvpair id="{n}-ic" name="config" value="/etc/libvirt/qemu/{n}.xml"/>'
            f'</instance_attributes><operations>'
            f'<op id="{n}-mon" name="monitor" interval="10s" timeout="30s"/>'
            f'<op id="{n}-st" name="start" interval="0s" timeout="90s"/>'
            f'<op id="{n}-sp" name="stop" interval="0s" timeout="90s"/></operations></primitive>')


def constraints(x):
    for g in x["guests"]:
        for h, weight in g["prefer"].items():
            yield (f'<rsc_location id="l-{g["name"]}-{h}" rsc="{g["name"]}" node="{h}" '
                   f'score="{weight}"/>')
    for r in x["rules"]:
        a, b = r["guests"][:2]
        score = {"apart": "-INFINITY", "together": "INFINITY"}[r["kind"]]
        if r["strength"] == "weak":
            score = {"apart": "-500", "together": "500"}[r["kind"]]
        yield f'<rsc_colocation id="c-{a}-{b}" rsc="{b}" with-rsc="{a}" score="{score}"/>'


def node_state(x, h, i, lean):
    n = h["name"]
    if h["state"] == "down":
        yield (f'<node_state id="{i}" uname="{n}" in_ccm="false" crmd="offline" '
               'crm-debug-origin="send_stonith_update" join="down" expected="down"/>')
        return
    yield (f'<node_state id="{i}" uname="{n}" in_ccm="true" crmd="online" '
           f'crm-debug-origin="do_update_resource" join="member" expected="member"><lrm id="{i}">'
           '<lrm_resources>')
    if i == 2:
        yield ('<lrm_resource id="fence" type="fence_fake" class="stonith">' +
               operation("fence_last_0", "fence", "start", 0, 0, n, 1) + '</lrm_resource>')
    call = 2
    for g in x["guests"]:
        m = g["name"]
        head = f'<lrm_resource id="{m}" type="VirtualDomain" class="ocf" provider="heartbeat">'
        if g["on"] == n:
            yield (head + operation(f"{m}_last_0", m, "start", 0, 0, n, call) +
                   operation(f"{m}_monitor_10000", m, "monitor", 0, 10000, n, call + 1) +
                   '</lrm_resource>')
            call += 2
        elif not lean:
            yield (head + operation(f"{m}_last_0", m, "monitor", 7, 0, n, call) + '</lrm_resource>')
            call += 1
    yield '</lrm_resources></lrm></node_state>'


def cib(x, lean=False):
    """The cluster as Pacemaker records it, with a probe's result for each guest on each live host;
    lean: without. The failed host is fenced already."""
    options = {"have-watchdog": "false", "dc-version": "2.1.5-a3f44794f94",
               "cluster-infrastructure": "corosync", "cluster-name": "bench",
               "stonith-enabled": "true", "placement-strategy": "balanced"}
    if lean:
        options["enable-startup-probes"] = "false"
    out = ['<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="10" num_updates="1" '
           'admin_epoch="0" have-quorum="1" dc-uuid="2" '
           'cib-last-written="Fri Nov 20 20:00:00 2026" update-origin="h001" '
           'update-client="cibadmin" update-user="root"><configuration>'
           '<crm_config><cluster_property_set id="o">']
    out += [f'<nvpair id="o-{k}" name="{k}" value="{v}"/>' for k, v in options.items()]
    out.append('</cluster_property_set></crm_config><nodes>')
    for i, h in enumerate(x["hosts"], 1):
        out.append(f'<node id="{i}" uname="{h["name"]}"><utilization id="{h["name"]}-u"><nvpair '
                   f'id="{h["name"]}-um" name="memory" value="{h["memory_mib"]}"/></utilization>'
                   '</node>')
    out.append('</nodes><resources><primitive id="fence" class="stonith" type="fence_fake"/>')
    out += [primitive(g) for g in x["guests"]]
    out.append('</resources><constraints>')
    out += constraints(x)
    out.append('</constraints><rsc_defaults><meta_attributes id="rd"><nvpair id="rd-s" '
               'name="resource-stickiness" value="1000"/></meta_attributes></rsc_defaults>'
               '</configuration><status>')
    for i, h in enumerate(x["hosts"], 1):
        out += node_state(x, h, i, lean)
    out.append('</status></cib>')
    return "\n".join(out)


def pacemaker(x, timeout=300, lean=False):
    with tempfile.TemporaryDirectory(prefix="planner.") as folder:
        with open(folder + "/cib.xml", "w", encoding="ascii") as f:
            f.write(cib(x, lean))
        used = measured(["crm_simulate", "-x", folder + "/cib.xml", "-R"], folder + "/out", timeout)
        with open(folder + "/out", encoding="utf-8", errors="replace") as f:
            text = f.read()
    place, hosts = survivors(x), {h["name"] for h in x["hosts"]}
    text = text[max(text.find("Transition Summary"), 0):]
    restarted = 0
    for line in text.splitlines():
        m = re.match(r"\s*\* (\w+)\s+(\S+)\s+\(\s*(.*?)\s*\)", line)
        if not m or m.group(2) not in place:
            continue
        to = [w for w in m.group(3).split("->")[-1].split() if w in hosts]
        if m.group(1) == "Stop":
            place[m.group(2)] = None
        elif to and "blocked" not in line:
            place[m.group(2)] = to[-1]
            restarted += m.group(1) == "Restart"
    used["restarted"] = restarted
    return used, place


# ------------------------------------------------------------------------------------------ Ganeti

def ganeti(x):
    """(htools data file, request for hail): shared storage; rules `apart` are exclusion tags."""
    failed = {h["name"] for h in x["hosts"] if h["state"] == "down"}
    load = {h["name"]: 0 for h in x["hosts"]}
    for g in x["guests"]:
        load[g["on"]] += g["memory_mib"]
    tag = {}
    for i, r in enumerate(r for r in x["rules"] if r["kind"] == "apart"):
        tag.update({g: f"ha:p{i}" for g in r["guests"]})
    n = len(x["guests"])
    data = [f"default|{UUID}|preferred||", ""]
    for h in x["hosts"]:
        free = h["memory_mib"] - load[h["name"]]
        data.append(f"{h['name']}|{h['memory_mib']}|0|{free}|1000000|900000|{n}|"
                    f"{'Y' if h['name'] in failed else 'N'}|{UUID}|{n}||N|{n}|0|1.0")
    data.append("")
    for g in x["guests"]:
        state = "ERROR_nodedown" if g["on"] in failed else "running"
        data.append(f"{g['name']}|{g['memory_mib']}|1024|1|{state}|Y|{g['on']}||rbd|"
                    f"{tag.get(g['name'], '')}|1")
    data += ["", "htools:iextags:ha", "",
             "|256,1,1024,1,1,1|128,1,128,1,1,1;65536,64,1048576,16,8,12|rbd|64.0|1000.0", ""]

    def spec(memory, cpu, disk, **more):
        return dict({"memory-size": memory, "cpu-count": cpu, "disk-size": disk, "disk-count": 1,
                     "nic-count": 1, "spindle-use": 1}, **more)

    most = spec(65536, 64, 1048576, **{"disk-count": 16, "nic-count": 8, "spindle-use": 12})
    policy = {"minmax": [{"min": spec(128, 1, 128), "max": most}], "std": spec(256, 1, 1024),
              "disk-templates": ["rbd"], "vcpu-ratio": 64.0, "spindle-ratio": 1000.0}
    nodes = {h["name"]: {
        "offline": h["name"] in failed, "drained": False, "group": UUID, "vm_capable": True,
        "master_candidate": True, "master_capable": True, "tags": [], "primary_ip": "1",
        "secondary_ip": "1", "ndparams": {"spindle_count": n, "exclusive_storage": False,
                                          "oob_program": "", "cpu_speed": 1.0, "ovs": False},
        "total_memory": h["memory_mib"], "reserved_memory": 0,
        "free_memory": h["memory_mib"] - load[h["name"]], "total_disk": 1000000,
        "free_disk": 900000,
        "total_cpus": n, "reserved_cpus": 0, "free_spindles": n, "total_spindles": n,
        "i_pri_memory": load[h["name"]], "i_pri_up_memory": load[h["name"]]} for h in x["hosts"]}
    instances = {g["name"]: {
        "memory": g["memory_mib"], "vcpus": 1, "tags": [tag[g["name"]]] if g["name"] in tag else [],
        "disk_template": "rbd", "disk_space_total": 1024,
        "disks": [{"size": 1024, "mode": "rw", "spindles": None}], "spindle_use": 1, "nics": [],
        "admin_state": "up", "os": "x", "hypervisor": "xen-pvm", "nodes": [g["on"]]}
        for g in x["guests"]}
    lost = sorted((g for g in x["guests"] if g["on"] in failed), key=lambda g: -g["priority"])
    request = {"version": 2, "cluster_name": "c", "cluster_tags": ["htools:iextags:ha"],
               "enabled_hypervisors": ["xen-pvm"], "ipolicy": policy,
               "nodegroups": {UUID: {"name": "default", "alloc_policy": "preferred", "networks": [],
                                     "ipolicy": policy, "tags": []}},
               "nodes": nodes, "instances": instances,
               "request": {"type": "node-evacuate", "evac_mode": "primary-only",
                           "instances": [g["name"] for g in lost]}}
    return "\n".join(data), json.dumps(request)


def hail(x, timeout=120):
    place = survivors(x)
    with tempfile.TemporaryDirectory(prefix="planner.") as folder:
        with open(folder + "/request", "w", encoding="ascii") as f:
            f.write(ganeti(x)[1])
        used = measured([HAIL, "--no-capacity-checks", folder + "/request"], folder + "/out",
                        timeout)
        with open(folder + "/out", encoding="utf-8") as f:
            for g, _, nodes in json.load(f)["result"][0]:
                place[g] = nodes[-1] if nodes else None
    return used, place


def hbal(x, timeout=120):
    place = survivors(x)
    with tempfile.TemporaryDirectory(prefix="planner.") as folder:
        with open(folder + "/data", "w", encoding="ascii") as f:
            f.write(ganeti(x)[0])
        used = measured(["hbal", "-t", folder + "/data", "-E", "-C"], folder + "/out", timeout)
        with open(folder + "/out", encoding="utf-8") as f:
            for m in re.finditer(r"^\s*\d+\. (\S+)\s+\S+\s+=>\s+(\S+)", f.read(), re.M):
                place[m.group(1)] = m.group(2)
    return used, place
