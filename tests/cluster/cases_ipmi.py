# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's fence_ipmilan and ipmitool against ipmi_sim, whose chassis control really switches nodes; and
the operator's fencing commands."""
import json
import os
import time

from cases_failover import others
from cases_fence import assert_none_runs
from lib.bmc import PASSWORD
from lib.cluster import Cluster
from lib.room import wait_until


def ipmi_cluster(room, **options):
    options.setdefault("levels", ("ipmi",))
    options.setdefault("watchdog", False)
    options.setdefault("timers", {"fence_retry": "1s"})
    return Cluster(room, **options).start()


def events(cluster, node):
    return json.loads(cluster.ctl(node, "--json", "events", "-n", "500").stdout)["events"]


def history(cluster, node, *args):
    out = cluster.ctl(node, "--json", "fence", "history", *args).stdout
    return json.loads(out)["entries"]


def assert_not_told(cluster, secret):
    """The secret is nowhere but in its file and the agent's standard input."""
    places = {}
    for x in cluster.live():
        for args in (("status",), ("--json", "status"), ("events", "-n", "1000"),
                     ("--json", "events", "-n", "1000"), ("fence", "history"),
                     ("--json", "fence", "history"), ("config", "check", cluster.config_path(x)),
                     ("--json", "fence", "check")):
            r = cluster.ctl(x, *args, check=False, timeout=60)
            places[f"{x.name}: xvmhactl {' '.join(args)}"] = r.stdout + r.stderr
        for pid, command in x.processes().items():
            places[f"{x.name}: command line of {pid}"] = command
            if "xvm" in command.split(" ")[0]:
                try:
                    with open(f"/proc/{pid}/environ", "rb") as f:
                        places[f"{x.name}: environment of {pid}"] = f.read().decode(errors="replace")
                except OSError:
                    pass
        places[f"{x.name}: run folder"] = x.run(
            "sh", "-c", "find /run/xvm-had -type f -exec cat {} + | tr -cd '[:print:]'").stdout
        for where, _, names in os.walk(x.dir):
            for name in names:
                if os.path.isfile(f"{where}/{name}") and not os.path.islink(f"{where}/{name}"):
                    with open(f"{where}/{name}", "rb") as f:
                        places[f"{x.name}: {where}/{name}"] = f.read().decode(errors="replace")
    assert len(places) > 30, places.keys()
    told = [place for place, text in places.items() if secret in text]
    assert not told, f"the password is in: {told}"


def case_ipmi_off(room):
    """The right password: a host that lost the network is switched off through its BMC. The password
    is nowhere to be seen."""
    c = ipmi_cluster(room)
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    cut = time.time()
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 60)
    assert not victim.powered, "the BMC did not switch it off"
    off = c.power.offs()[-1]
    assert off.agent == "fence_ipmilan" and off.status == 0
    assert all(c.runs_after(g, cut)[0].first >= off.end for g in guests)
    assert_not_told(c, PASSWORD)


def case_ipmi_already_off(room):
    """A host without power whose BMC lives: already off counts."""
    c = ipmi_cluster(room)
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    victim.power_cut()
    c.wait_all_run(guests, others(c, victim), 60)
    assert all(call.action != "reboot" and call.action != "cycle" for call in c.power.calls)


def case_ipmi_wrong_password(room):
    """A wrong password confirms nothing, and says so without the password; mended, it works."""
    c = ipmi_cluster(room)
    victim = others(c, c.coordinator())[0]
    guests, helper = c.guests_on(victim), others(c, victim)[0]
    c.bmcs[victim.name].set_password("wrong-and-secret")
    for x in c.nodes:
        c.ctl(x, "reload")
    victim.cut()
    wait_until("the first failed fencing", lambda: c.power.offs(victim.name), 40)
    assert_none_runs(c, guests, 4)
    assert victim.powered
    assert_not_told(c, "wrong-and-secret")
    failed = [e for e in history(c, c.coordinator()) if e["what"] == "host-fence-failed"]
    assert failed, "the history does not tell that fencing failed"
    print(failed[-1]["text"])
    c.bmcs[victim.name].set_password(PASSWORD)
    for x in others(c, victim):
        c.ctl(x, "reload")
    c.wait_all_run(guests, others(c, victim), 60)
    assert not victim.powered
    assert any(e["what"] == "host-confirmed" for e in history(c, helper, victim.name))


def case_ipmi_unreachable(room):
    """The power cut took the BMC, too: its silence proves nothing; the watchdog's bound does."""
    c = ipmi_cluster(room, levels=("ipmi", "self"), watchdog=True)
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    c.bmcs[victim.name].kill()
    cut = time.time()
    victim.power_cut()
    c.wait_all_run(guests, others(c, victim), 120)
    first = min(c.runs_after(g, cut)[0].first for g in guests) - cut
    assert first > 10, f"guests ran elsewhere after {first:.1f} s: before the watchdog must have fired"
    assert not any(call.status == 0 for call in c.power.offs(victim.name))


case_ipmi_unreachable.limit = 240


def case_ipmi_slow(room):
    """A BMC that takes six seconds to act: waited for."""
    c = ipmi_cluster(room, ipmi={"timeout": "40s"})
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    c.bmcs[victim.name].behave("slow:6")
    cut = time.time()
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 90)
    assert not victim.powered
    assert min(c.runs_after(g, cut)[0].first for g in guests) - cut > 6


def case_ipmi_power_stays_on(room):
    """The BMC takes the order and the power stays on: not believed; the next level works."""
    c = ipmi_cluster(room, levels=("ipmi", "power"), ipmi={"timeout": "6s"})
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    c.bmcs[victim.name].behave("stuck")
    cut = time.time()
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 90)
    last = c.power.offs()[-1]
    assert last.agent == "fence_xvm_node" and last.status == 0
    assert all(c.runs_after(g, cut)[0].first >= last.end for g in guests), "a lie was believed"
    assert not victim.powered


def case_ipmi_two_devices(room):
    """Two devices in one level: both have to succeed."""
    c = ipmi_cluster(room, levels=(["ipmi", "broken"], "power"))
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 60)
    agents = [call.agent for call in c.power.offs()]
    assert agents[0] == "fence_ipmilan" and "fence_broken" in agents and \
        agents[-1] == "fence_xvm_node", agents


def case_fence_check(room):
    """`fence check` asks every device of every host; the regular check calls an operator in time."""
    c = ipmi_cluster(room, levels=("ipmi", "power"), ipmi={"timeout": "60s"},
                     device={"timeout": "60s"}, fencing={"check": "20s"})
    asker = c.nodes[0]
    checks = json.loads(c.ctl(asker, "--json", "fence", "check", timeout=120).stdout)["checks"]
    assert len(checks) == 6 and all(x["good"] and x["result"] == "on" for x in checks), checks
    assert not c.power.offs(), "a check switched something"
    print(c.ctl(asker, "fence", "check", "host2", timeout=120).stdout)
    c.bmcs["host2"].kill()
    r = c.ctl(asker, "fence", "check", check=False, timeout=150)
    print(r.stdout)
    assert r.returncode == 1 and "ipmi-host2" in r.stdout and "DOES NOT WORK" in r.stdout

    def told():
        return [e for x in c.nodes for e in events(c, x)
                if e["what"] == "fence-device" and e["severity"] == "alert" and e["host"] == "host2"]
    wait_until("an alert", told, 120, 0.5)
    before = len(c.power.calls)

    def asked():
        return {call.plug for call in c.power.calls[before:] if call.agent == "fence_xvm_node"}
    wait_until("each device to be asked", lambda: len(asked()) == 3, 120, 0.5)
    assert not c.power.offs(), "a check switched something"


case_fence_check.limit = 400


def case_fence_order(room):
    """`fence HOST` switches a living member off, the coordinator too; the history knows who and when."""
    c = Cluster(room, watchdog=False).start()
    chair = c.coordinator()
    victim = others(c, chair)[0]
    r = c.ctl(chair, "fence", victim.name, check=False)
    assert r.returncode == 2 and victim.powered, "it must ask a person first"
    guests = c.guests_on(victim)
    c.ctl(chair, "fence", victim.name, "--yes")
    c.wait_all_run(guests, others(c, victim), 60)
    assert not victim.powered
    texts = [e["text"] for e in history(c, chair, victim.name)]
    print("\n".join(texts))
    assert any("by order of root" in t for t in texts)
    r = c.ctl(chair, "fence", others(c, chair, victim)[0].name, "--yes", check=False)
    assert r.returncode != 0 and "quorum" in r.stderr, r
    victim.power_on()
    wait_until("all hosts to be in", c.all_ready, 60)
    guests = c.guests_on(chair)
    c.ctl(victim, "fence", chair.name, "--yes")
    c.wait_all_run(guests, others(c, chair), 60)
    assert not chair.powered


def case_two_hosts_survivor(room):
    """Two hosts lose sight of each other: the one that `status` names beforehand survives, which is the
    one with the more important guests, whatever its number."""
    guests = {"db1": {"memory": "64M", "priority": 900, "hosts": "host2"},
              "web1": {"memory": "64M", "priority": 100, "hosts": "host1"}}
    c = Cluster(room, n=2, guests=guests, watchdog=False, device={"timeout": "30s"}).start()
    named = wait_until("the turns to follow the guests", lambda: next(
        (s for s in [c.status(c.nodes[0])] if s and s["survivor"] == "host2"), None), 30)
    print(named["survivor_why"])
    assert "more important guests" in named["survivor_why"]
    assert "host2 would survive" in c.ctl(c.nodes[1], "status").stdout
    c.nodes[0].cut()
    wait_until("one host to be fenced", lambda: not c.nodes[0].powered, 90)
    time.sleep(3)
    assert c.nodes[1].powered, "both hosts are off"
    assert {call.plug for call in c.power.offs()} == {"host1"}
