# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases that test the harness itself: nodes, power, cable and watchdog behave like the real things."""
import os
import time

from lib import corosync
from lib.node import Node
from lib.power import PowerNetwork
from lib.room import wait_until


def bare_nodes(room, n=3):
    """n nodes with nothing but corosync."""
    names = [f"host{i}" for i in range(1, n + 1)]
    text = corosync.config(names)
    nodes = [Node(room, i, name) for i, name in enumerate(names, 1)]
    for node in nodes:
        node.on_boot = lambda x: x.start_corosync(text)
        node.power_on()
    return nodes


def members(nodes, want):
    return all(x.membership() == want for x in nodes)


def case_harness_membership(room):
    """Nodes form a ring; power cut, cut and join are seen by corosync as such."""
    a, b, c = nodes = bare_nodes(room)
    wait_until("three members", lambda: members(nodes, (True, 3)), 30)
    c.power_cut()
    wait_until("two members", lambda: members([a, b], (True, 2)), 15)
    assert not c.processes() and not os.path.exists(c.dir + "/init.pid")
    first = c.boot_id
    c.power_on()
    assert c.boot_id != first
    wait_until("three members again", lambda: members(nodes, (True, 3)), 30)
    a.cut()
    wait_until("the rest to go on", lambda: members([b, c], (True, 2)), 15)
    wait_until("the cut node to be alone", lambda: members([a], (False, 1)), 15)
    a.join()
    wait_until("three members after the cut", lambda: members(nodes, (True, 3)), 30)


def case_harness_watchdog(room):
    """The watchdog resets a node that stops petting, and only that one; V disarms."""
    a, b = (Node(room, i, f"host{i}") for i in (1, 2))
    for x in (a, b):
        x.power_on()
    a.power_on_after = 0.2
    for x in (a, b):
        x.run("bash", "-c", f"printf 'T1\\n' >{x.watchdog.path}", check=True)
    b.run("bash", "-c", f"printf V >{b.watchdog.path}", check=True)
    begin = time.monotonic()
    wait_until("the reset", lambda: a.watchdog.fired == 1 and a.boots == 2, 5)
    assert time.monotonic() - begin > 0.8
    time.sleep(1.5)
    assert a.powered and a.boots == 2 and b.boots == 1 and b.watchdog.fired == 0


def case_harness_services(room):
    """Services come back after a kill, children outlive them, a power cut ends everything."""
    node = Node(room, 1, "host1")
    node.power_on()
    s = node.serve("svc", ["bash", "-c", "setsid sleep 777 & exec sleep 888"])
    wait_until("the service", lambda: {"sleep 777", "sleep 888"} <= set(node.processes().values()), 5)
    s.kill(9)
    wait_until("its return", lambda: s.starts == 2 and s.pid(), 5)
    wait_until("its old child", lambda: list(node.processes().values()).count("sleep 777") == 2, 5)
    s.stop()
    assert s.pid() is None
    node.power_cut()
    assert not node.processes()


def case_harness_power_switch(room):
    """A fence agent called on one node ends another; its words and exit codes come back."""
    agent = room.folder + "/agent"
    with open(agent, "w", encoding="ascii") as f:
        f.write('#!/bin/bash\nwhile read -r l; do eval "$l"; done\n'
                '[ "$action" = off ] || { echo "not off but $action" >&2; exit 3; }\n'
                f'read -r pid _ <{room.nodes_dir}/$plug/init.pid; kill -9 "$pid"; echo done\n')
    os.chmod(agent, 0o755)
    power = PowerNetwork(room, {"fence_test": agent})
    a, b = (Node(room, i, f"host{i}") for i in (1, 2))
    for x in (a, b):
        x.power_on()
    call = f"{power.agent_dir}/fence_test"
    r = a.run("bash", "-c", f"printf 'action=on\\nplug=host2\\n' | {call}")
    assert r.returncode == 3 and "not off but on" in r.stderr and b.powered
    r = a.run("bash", "-c", f"printf 'action=off\\nplug=host2\\n' | {call}")
    assert r.returncode == 0 and r.stdout == "done\n", r
    wait_until("the other to be off", lambda: not b.powered, 5)
    assert a.powered and len(power.offs("host2")) == 1


def case_harness_frozen(room):
    """A power cut is complete at once also when services are frozen."""
    node = Node(room, 1, "host1")
    node.power_on()
    s = node.serve("svc", ["sleep", "777"])
    wait_until("the service", s.pid, 5)
    s.kill(19)
    time.sleep(0.3)
    begin = time.monotonic()
    node.power_cut()
    assert time.monotonic() - begin < 10  # a stop that waits for the frozen one takes far longer
    node.power_on()
    assert node.run("true").returncode == 0
