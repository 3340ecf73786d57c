# SPDX-License-Identifier: GPL-2.0-or-later
"""Where guests run: rules, maintenance, evacuation, want of room, and what an operator is told of it."""
import json
import time

from cases_failover import others
from lib.cluster import Cluster
from lib.room import wait_until


def host_status(c, node, host):
    """What `status` on the node says of a host."""
    status = json.loads(c.ctl(node, "status", "--json").stdout)
    return next(h for h in status["hosts"] if h["name"] == host)


def pair(priority=500):
    return {"memory": "64M", "priority": priority}


def case_rule_apart(room):
    """Two guests that are to be apart never share a host: not at first, not after a failure."""
    guests = {"db1": pair(900), "db2": pair(800), "web1": pair()}
    c = Cluster(room, guests=guests, rules=[{"apart": ["db1", "db2"]}]).start()
    assert c.where("db1") != c.where("db2")
    victim = c.by_name[c.where("db1")]
    left = others(c, victim)
    why = " ".join(c.ctl(left[0], "why", "db1").stdout.split())
    print(why)
    assert "a rule keeps it apart from db2" in why
    plan = json.loads(c.ctl(left[0], "plan", "--down", victim.name, "--json").stdout)
    assert plan["placement"]["db1"] not in (victim.name, plan["placement"]["db2"])
    victim.power_cut()
    c.wait_all_run(on=left, timeout=40)
    assert c.where("db1") != c.where("db2")
    # what the planner said is what happened
    assert c.where("db1") == plan["placement"]["db1"]


def case_rule_added(room):
    """A new rule that running guests are against moves one of them, alive, also with `rebalance: no`.
    When it is gone again nobody moves."""
    guests = {"db1": pair(900), "db2": pair(800)}
    for g in guests.values():
        g["prefer"] = {"host2": 5}
    c = Cluster(room, guests=guests, placement={"rebalance": "no"}).start()
    assert c.where("db1") == c.where("db2") == "host2"
    starts = {g: len(c.witness.history(g)) for g in guests}

    def take(rules):
        c.options["rules"] = rules
        for x in c.nodes:
            c.write_config(x)
            c.ctl(x, "reload")

    take([{"apart": ["db1", "db2"]}])
    wait_until("them to be apart", lambda: c.where("db1") and c.where("db2") and
               c.where("db1") != c.where("db2"), 40)
    moved = [g for g in guests if c.where(g) != "host2"]
    assert len(moved) == 1, moved
    events = c.ctl(c.nodes[0], "events", "-n", "200").stdout
    assert "stop and start" not in events, events
    stay = next(g for g in guests if g not in moved)
    assert len(c.witness.history(stay)) == starts[stay], "the other one was disturbed"
    place = {g: c.where(g) for g in guests}
    take([])
    time.sleep(5)
    assert {g: c.where(g) for g in guests} == place


def case_maintenance(room):
    """A host in maintenance is emptied alive, gets nothing, and its guests come home afterwards."""
    c = Cluster(room, placement={"failback": "maintenance-window"}).start()
    host = c.nodes[1]
    here = [g for g in c.guests if c.where(g) == host.name]
    assert here, "the host has no guests to lose"
    seen = {g: len(c.witness.history(g)) for g in c.guests}
    answer = c.ctl(c.nodes[0], "maintenance", "on", host.name, "--wait", timeout=90)
    print(answer.stdout, answer.stderr)
    assert not [g for g in c.guests if c.where(g) == host.name]
    assert host_status(c, c.nodes[0], host.name)["maintenance"] == "maintenance"
    assert "in maintenance" in c.ctl(c.nodes[2], "status").stdout
    why = " ".join(c.ctl(c.nodes[2], "why", here[0]).stdout.split())
    print(why)
    assert f"not on {host.name}: maintenance" in why
    c.ctl(c.nodes[2], "maintenance", "off", host.name)
    wait_until("the guests to be home again",
               lambda: all(c.where(g) == host.name for g in here), 60)
    for guest in c.guests:
        assert c.where(guest) is not None
        if guest not in here:
            assert len(c.witness.history(guest)) == seen[guest], f"{guest} was disturbed"


def case_evacuate(room):
    """An evacuated host is empty, and takes guests again; there must be room, unless forced."""
    guests = {f"g{i}": pair(100 + i) for i in range(1, 7)}
    c = Cluster(room, guests=guests, memory="192M").start()
    host = c.nodes[2]
    node = c.nodes[0]
    c.ctl(node, "evacuate", host.name, "--wait", timeout=90)
    wait_until("it to take guests again",
               lambda: host_status(c, node, host.name)["maintenance"] == "", 20)
    assert not [g for g in c.guests if c.where(g) == host.name]
    c.wait_all_run(timeout=20)
    c.ctl(node, "maintenance", "on", host.name, "--wait", timeout=90)
    # now the other two are full
    refusal = c.ctl(node, "evacuate", c.nodes[1].name, check=False)
    print(refusal.stderr)
    assert refusal.returncode == 1 and "no room" in " ".join(refusal.stderr.split())
    assert host_status(c, node, c.nodes[1].name)["maintenance"] == ""
    assert c.ctl(node, "evacuate", "host9", check=False).returncode == 6
    c.ctl(node, "maintenance", "off", host.name)
    c.ctl(node, "evacuate", c.nodes[1].name, "--wait", timeout=90)
    assert not [g for g in c.guests if c.where(g) == c.nodes[1].name]


def case_preempted(room):
    """Too little room after a failure: the least important guest gives way, says so, and comes back."""
    guests = {f"g{i}": pair(100 * i) for i in range(1, 7)}
    c = Cluster(room, guests=guests, memory="128M", placement={"reserve": 1}).start()
    node = c.nodes[0]
    status = json.loads(c.ctl(node, "status", "--json").stdout)
    assert status["tolerates"]["hosts"] == 0 and status["tolerates"]["reserve"] == 1, status["tolerates"]
    victim = next(x for x in c.nodes[1:] if any(c.where(g) == x.name for g in ("g5", "g6", "g4")))
    left = others(c, victim)
    victim.power_on_after = None
    victim.power_cut()
    c.wait_all_run(["g3", "g4", "g5", "g6"], left, 60)
    wait_until("g1 to have given way", lambda: c.where("g1") is None and c.where("g2") is None, 30)
    why = c.ctl(left[0], "why", "g1").stdout
    print(why)
    assert "MiB" in why
    victim.power_on()
    c.wait_all_run(timeout=90)
