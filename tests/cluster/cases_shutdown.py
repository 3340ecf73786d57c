# SPDX-License-Identifier: GPL-2.0-or-later
"""A host goes down: what systemd runs before all else is stopped, in time, whatever is broken."""
import os
import signal
import subprocess
import time

from cases_failover import assert_undisturbed
from cases_migration import ticks_without_gap
from lib.cluster import TREE, Cluster, program
from lib.room import wait_until


def exec_stop():
    """The words of the very command that the unit runs."""
    with open(TREE + "/conf/xvm-ha-leave.service", encoding="utf-8") as f:
        line = next(x for x in f if x.startswith("ExecStop="))
    words = line.strip().partition("=")[2].split()
    assert words[0].endswith("/xvmhactl")
    return words[1:]


def go_down(c, node, *args, timeout=120):
    """Runs it; (result, seconds)."""
    begin = time.monotonic()
    r = c.ctl(node, *exec_stop(), *args, check=False, timeout=timeout)
    seconds = time.monotonic() - begin
    print(f"{seconds:.1f} s, exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r, seconds


def behave(c, guest, text):
    with open(f"{c.room.shared_dir}/{guest}.behave", "w", encoding="ascii") as f:
        f.write(text + "\n")


def one(priority, **more):
    return dict({"memory": "64M", "priority": priority}, **more)


def case_down_moves(room):
    """A host goes down: live moves first, the rest is stopped and started elsewhere; nobody is fenced; it
    boots, is a member, and those that had left come back. A restart of its daemon before that moves nobody."""
    guests = {"live1": one(900, hosts=["host1", "host2"]), "live2": one(800, hosts=["host1", "host3"]),
              "cold": one(700, move={"type": "normal"}, hosts=["host1", "host2"]),
              "stays": one(600, hosts=["host1"]), "other": one(500, hosts=["host3"])}
    c = Cluster(room, guests=guests, placement={
        "failback": "maintenance-window", "shutdown": {"evacuate": True, "timeout": "40s"}}).start()
    node, rest = c.nodes[0], c.nodes[1:]
    for g in ("live1", "live2", "cold"):
        if c.where(g) != node.name:
            c.ctl(rest[0], "move", g, node.name, "--wait", timeout=60)
    c.wait_all_run(["live1", "live2", "cold", "stays"], [node], 20)
    before = time.time()
    node.services["xvm-had"].kill(signal.SIGTERM)  # systemctl restart
    wait_until("its daemon to be back", lambda: (c.status(node) or {}).get("synced"), 30)
    assert_undisturbed(c, guests, before)
    r, seconds = go_down(c, node)
    assert r.returncode == 0 and "has left" in r.stdout and seconds < 80
    assert node.watchdog.timeout is None, "the watchdog is armed"
    c.wait_all_run(["live1", "live2", "cold"], rest, 30)
    for g in ("live1", "live2"):
        assert ticks_without_gap(c, g), f"{g} was stopped, not moved"
    c.wait_all_run(["other"], [c.nodes[2]], 10)
    wait_until("its disk to tell that it stopped", lambda: c.where("stays") is None, 5)
    node.power_cut("switches itself off")
    time.sleep(6)
    assert not c.power.offs(), "a host that had left was fenced"
    node.power_on()
    wait_until("it to be a member again", lambda: (c.status(node) or {}).get("synced"), 60)
    c.wait_all_run(["live1", "live2", "stays"], [node], 60)
    assert not c.power.offs()


def case_down_short(room):
    """Too little time: what does not move in it is shut down in it, by force in the end; and a guest that
    cannot be ended keeps the shutdown no longer than that."""
    guests = {"slow": one(900), "deaf": one(800, hosts=["host1"])}
    c = Cluster(room, guests=guests, defaults={"stop_timeout": "10m"})
    behave(c, "slow", "image=400000\ntick=100")
    behave(c, "deaf", "shutdown=ignore")
    c.start()
    node, rest = c.nodes[0], c.nodes[1:]
    if c.where("slow") != node.name:
        c.ctl(rest[0], "move", "slow", node.name, "--type", "normal", "--wait", timeout=60)
    r, seconds = go_down(c, node, "--timeout", "10s")
    assert r.returncode == 0 and seconds < 30, "two guests that are ended by force after 10 s"
    c.wait_all_run(["slow"], rest, 30)
    wait_until("its disk to tell that it ended", lambda: c.where("deaf") is None, 5)
    assert not c.power.offs()
    # a worker that hangs: nobody can say whether the guest has ended
    node = c.by_name[c.where("slow")]
    pids = [p for p, line in node.processes().items() if "--name slow" in line]
    for pid in pids:
        subprocess.run(["kill", "-STOP", str(pid)], check=True)
    r, seconds = go_down(c, node, "--timeout", "6s")
    assert r.returncode in (0, 7) and seconds < 30
    if r.returncode == 7:
        assert "has not left after" in r.stderr


def case_down_no_quorum(room):
    """The last host that is left goes down: its guests are shut down, not pulled out, and it does not wait
    for a cluster that will not answer."""
    guests = {"g1": one(900, hosts=["host1"]), "g2": one(800, hosts=["host1"])}
    c = Cluster(room, guests=guests, placement={"shutdown": {"timeout": "10m"}}).start()
    node, rest = c.nodes[0], c.nodes[1:]
    for x in rest:
        x.power_cut()
    wait_until("quorum to be lost", lambda: not (c.status(node) or {"quorate": True})["quorate"], 20)
    r, seconds = go_down(c, node)
    assert r.returncode == 7 and "quorum" in r.stderr and seconds < 120
    wait_until("their disks to tell that they ended", lambda: not c.guests_on(node), 5)
    log = node.log("xvm-had")
    assert "without quorum nobody takes its guests" in log
    assert "shutdown g1" in log or "g1 powered itself off" in log, "g1 was not asked"


def case_down_stuck(room):
    """A daemon that is stopped, or does not run, does not hold the shutdown; with Xen, xl asks the guests
    then."""
    c = Cluster(room, each=1).start()
    node = c.nodes[0]
    node.services["xvm-had"].kill(signal.SIGSTOP)
    asked = f"{c.room.folder}/xl"
    with open(asked, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\necho \"$@\" >>{asked}.log\nexec sleep 60\n")
    os.chmod(asked, 0o755)
    r, seconds = go_down(c, node)
    assert r.returncode == 7 and "stuck" in r.stderr and 20 < seconds < 90
    os.environ["XVM_HA_XL"] = asked
    r, seconds = go_down(c, node, "--timeout", "42s")
    del os.environ["XVM_HA_XL"]
    assert r.returncode == 7 and seconds < 90
    with open(asked + ".log", encoding="ascii") as f:
        assert f.read().split() == ["shutdown", "-a", "-w", "-F"]
    r, seconds = go_down(c, node, "--timeout", "5s")
    assert r.returncode == 7 and seconds < 30
    node.services["xvm-had"].kill(signal.SIGCONT)
    wait_until("the daemon to answer", lambda: c.status(node), 20)
    node.services["xvm-had"].stop()
    r, seconds = go_down(c, node)
    assert r.returncode == 3 and "does not run" in r.stderr and seconds < 60
    c.wait_all_run(timeout=20)  # nobody was stopped by any of that
    c.start_daemons(node, names=("xvm-had",))
    wait_until("it to be back", lambda: (c.status(node) or {}).get("synced"), 60)
    c.wait_all_run(timeout=20)


def case_down_all(room):
    """Power fails and every host is told to go down: all guests are shut down, all hosts say goodbye, those
    that are done first keep their vote for the others, and nobody is fenced."""
    c = Cluster(room, each=2, placement={"shutdown": {"timeout": "60s"}})
    for g in list(c.guests)[:2]:
        behave(c, g, "shutdown=slow:8000")
    c.start()
    running = [(x, subprocess.Popen(x.enter([program("xvmhactl"), *exec_stop()]), text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)) for x in c.nodes]
    for x, process in running:
        out, _ = process.communicate(timeout=90)
        print(f"{x.name}: exit {process.returncode}\n{out}")
        assert process.returncode == 0, x.name
        x.power_cut("switches itself off")
    assert not c.power.offs()
    for x in c.nodes:
        x.power_on()
    c.wait_all_run(timeout=90)
    assert not c.power.offs()


case_down_moves.limit = case_down_short.limit = 240
case_down_stuck.limit = case_down_all.limit = 240
