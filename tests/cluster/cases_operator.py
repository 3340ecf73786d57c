# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator does, and what happens to single guests: commands, errors, crashes, adoption."""
import os
import signal
import time

from cases_failover import assert_undisturbed, others
from lib.cluster import Cluster, program
from lib.room import wait_until


def guest_pid(cluster, guest):
    """Pid of the process that is this guest, as the room sees it, and its node."""
    node = cluster.by_name[cluster.where(guest)]
    disk = f"{cluster.room.shared_dir}/{guest}.disk"
    for pid in node.processes():
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == disk:
                    return pid, node
        except OSError:
            pass
    raise AssertionError(f"no process on {node.name} holds {disk}")


def case_guest_crashes(room):
    """A guest that dies is started again, on a newer incarnation, and nobody else notices."""
    c = Cluster(room, defaults={"restart": {"limit": 3, "window": "10m", "delay": "100ms"}}).start()
    victim = sorted(c.guests)[0]
    before = time.time()
    pid, _ = guest_pid(c, victim)
    os.kill(pid, signal.SIGKILL)
    wait_until(f"{victim} to be started again", lambda: c.runs_after(victim, before), 20)
    old, new = c.witness.history(victim)[-2:]
    assert new.inc > old.inc
    assert_undisturbed(c, [g for g in c.guests if g != victim], before)


def case_guest_keeps_crashing(room):
    """A guest that dies again and again is given up with a reason; a clear start takes it up again."""
    c = Cluster(room, defaults={"restart": {"limit": 2, "window": "10m", "delay": "100ms"}}).start()
    victim = sorted(c.guests)[0]
    for _ in range(3):
        seen = len(c.witness.history(victim))
        os.kill(guest_pid(c, victim)[0], signal.SIGKILL)
        try:
            wait_until("a restart", lambda: len(c.witness.history(victim)) > seen, 8)
            time.sleep(0.3)
        except TimeoutError:
            break
    wait_until("it to count as failed", lambda: (c.guest_status(victim) or {}).get("failed"), 20)
    why = c.guest_status(victim)["why"]
    print(f"{victim}: {why}")
    assert why
    assert c.where(victim) is None
    c.ctl(c.nodes[0], "start", victim)
    c.wait_all_run([victim], timeout=20)


def case_stop_start(room):
    """stop, start, disable and enable do what they say, also after the host of the guest is lost."""
    c = Cluster(room).start()
    node = c.nodes[0]
    stopped, disabled = sorted(c.guests)[:2]
    c.ctl(node, "stop", stopped)
    wait_until(f"{stopped} to stop", lambda: c.where(stopped) is None, 20)
    c.ctl(node, "disable", disabled)
    wait_until(f"{disabled} to stop", lambda: c.where(disabled) is None, 20)
    quiet = time.time()
    rest = [g for g in c.guests if g not in (stopped, disabled)]
    victim = c.nodes[-1]
    victim.power_cut()
    c.wait_all_run(rest, others(c, victim), 40)
    assert not c.runs_after(stopped, quiet) and not c.runs_after(disabled, quiet)
    c.ctl(node, "start", stopped)
    c.ctl(node, "enable", disabled)
    c.wait_all_run(timeout=20)


def case_status_and_events(room):
    """status fits 80 columns and tells about hosts and guests; events tell the story of a failover."""
    c = Cluster(room).start()
    text = c.ctl(c.nodes[0], "status").stdout
    print(text)
    for line in text.splitlines():
        assert len(line) <= 80, f"status is wider than 80 columns: {line}"
    for name in [x.name for x in c.nodes] + list(c.guests):
        assert name in text, f"status does not show {name}"
    victim = c.nodes[-1]
    guests = c.guests_on(victim)
    victim.power_cut()
    c.wait_all_run(guests, others(c, victim), 40)
    time.sleep(1)
    events = c.ctl(c.nodes[0], "events").stdout
    print(events)
    assert victim.name in events and all(g in events for g in guests)


def case_reload(room):
    """A changed file with a mistake changes nothing and names its line; a good one is taken."""
    c = Cluster(room).start()
    node = c.nodes[0]
    before = time.time()
    good = c.config_text()
    c.write_config(node, good + "  oops: {priorty: 5}\n")
    line = good.count("\n") + 1
    r = c.ctl(node, "reload", check=False)
    words = r.stdout + r.stderr
    print(words)
    assert r.returncode != 0
    assert f"{c.config_path(node)}:{line}:" in words and "priorty" in words, words
    assert "priority" in words, "the error does not say what was meant"
    assert_undisturbed(c, c.guests, before)
    assert c.status(node)["synced"]
    c.guests["extra1"] = {"memory": "64M", "priority": 10}
    for x in c.nodes:
        c.write_config(x)
        c.ctl(x, "reload")
    c.wait_all_run(["extra1"], timeout=20)
    # A daemon that is started with a bad file says so and does not touch the guests either.
    c.write_config(node, "cluster: [\n")
    node.services["xvm-had"].kill(signal.SIGTERM)
    wait_until("the complaint", lambda: f"{c.config_path(node)}:" in node.log("xvm-had"), 10)
    assert_undisturbed(c, [g for g in c.guests if g != "extra1"], before)
    c.write_config(node)
    wait_until("the daemon to be back", lambda: (c.status(node) or {}).get("synced"), 30)


def case_command_errors(room):
    """xvmhactl's errors say what is wrong: no daemon, no such guest, no quorum."""
    c = Cluster(room).start()
    node = c.nodes[0]
    r = c.ctl(node, "stop", "dbb1", check=False)
    print(r.stderr)
    assert r.returncode != 0 and "dbb1" in r.stderr and "db1" in r.stderr.replace("dbb1", "")
    r = c.ctl(node, "frobnicate", check=False)
    assert r.returncode != 0 and r.stderr
    node.services["xvm-had"].stop()
    r = c.ctl(node, "status", check=False)
    print(r.stderr)
    assert r.returncode != 0 and r.stderr.strip()
    assert "Traceback" not in r.stderr
    for x in c.nodes[1:]:
        x.power_on_after = None
    c.nodes[2].power_cut()
    # Two are left, one of them without a daemon: kill that one's corosync too, and quorum is gone.
    node.services["corosync"].stop(signal.SIGKILL)
    wait_until("quorum to be lost", lambda: (c.nodes[1].membership() or (True, 0))[0] is False, 30)
    wait_until("the daemon to know", lambda: (c.status(c.nodes[1]) or {}).get("quorate") is False, 10)
    r = c.ctl(c.nodes[1], "stop", "db1", check=False)
    print(r.stderr)
    assert r.returncode != 0 and "quor" in r.stderr


def case_adopt(room):
    """A guest that somebody started by hand is adopted where it is, without a restart."""
    c = Cluster(room)
    c.guests["byhand"] = {"memory": "64M", "priority": 10, "enabled": False}
    for x in c.nodes:
        c.write_config(x)
    c.start(without=["byhand"])
    node = c.nodes[1]
    start_by_hand(c, node, "byhand")
    wait_until("it to run", lambda: c.where("byhand") == node.name, 10)
    # The hosts see a copy that nobody told them of only when they look: a moment later.
    time.sleep(2)
    c.ctl(c.nodes[0], "enable", "byhand")
    wait_until("its adoption", lambda: (c.guest_status("byhand") or {}).get("host") == node.name, 30)
    time.sleep(2)
    assert c.where("byhand") == node.name
    assert {r.host for r in c.witness.history("byhand")} == {node.name}
    node.power_cut()
    c.wait_all_run(on=others(c, node), timeout=40)


def start_by_hand(cluster, node, guest):
    """As an operator would without us: the guest's program, with no incarnation."""
    node.run(program("xvm-ha-guest"), "--name", guest, "--shared", cluster.room.shared_dir, check=True)


def case_two_hosts(room):
    """Two hosts: no bound, no lease echoes; the survivor fences and takes over."""
    c = Cluster(room, n=2, levels=("power",)).start()
    a, b = c.nodes
    guests = c.guests_on(b)
    b.power_cut()
    c.wait_all_run(guests, [a], 60)
    b.power_on()
    wait_until("the other host to be back", lambda: (c.status(b) or {}).get("synced"), 60)
    guests = c.guests_on(a)
    a.power_cut()
    c.wait_all_run(guests, [b], 60)


def case_two_hosts_keeper(room):
    """Two hosts: a keeper that is killed ends no guest, on its own host or on the other."""
    c = Cluster(room, n=2, levels=("power",)).start()
    before = time.time()
    for x in c.nodes:
        x.services["keeper"].kill(signal.SIGKILL)
        time.sleep(10)  # longer than a lease
    assert_undisturbed(c, c.guests, before)
    assert not c.power.offs(), "a host was fenced"


def case_second_daemon(room):
    """A second daemon on the same host, whatever folders it is given, is refused."""
    c = Cluster(room).start()
    before, node = time.time(), c.nodes[-1]
    r = node.run(program("xvm-had"), "--config", c.config_path(node), "--log-target=console",
                 "--run-dir", "/run/second", "--state-dir", "/run/second/state")
    assert r.returncode != 0 and "another xvm-had runs" in r.stdout + r.stderr, r.stdout + r.stderr
    time.sleep(2)
    assert c.status(node)["synced"]
    assert_undisturbed(c, c.guests, before)


def case_definitions(room):
    """A guest's configuration file is on one host only; that host dies, the others start the guest. A
    file that an operator changes is taken everywhere."""
    c = Cluster(room)
    first, second = c.nodes[0], c.nodes[1]
    path = "/etc/corosync/db9.cfg"  # each node has a folder of its own there
    c.start()
    with open(first.dir + path, "w", encoding="utf-8") as f:
        f.write("# " + "x" * 100000 + "\n")  # several messages
    c.guests["db9"] = {"memory": "64M", "priority": 950, "config": path}
    for x in reversed(c.nodes):
        c.write_config(x)
        c.ctl(x, "reload")
    c.wait_all_run(["db9"], timeout=20)

    def have(n):
        counts = [len([f for f in os.listdir(c.state_dir(x) + "/definitions")
                       if not f.startswith("made-")]) for x in c.nodes]
        return counts == [n] * len(c.nodes)

    wait_until("all hosts to have the definition", lambda: have(1), 20)
    first.power_cut()
    c.wait_all_run(["db9"], c.nodes[1:], 40)
    first.power_on()
    wait_until("the host to be back", lambda: (c.status(first) or {}).get("synced"), 60)
    with open(second.dir + path, "w", encoding="utf-8") as f:
        f.write("# another one\n")
    c.ctl(second, "reload")  # the first one seen there: no reason to believe that it is newer
    time.sleep(1)
    assert "a new definition" not in c.ctl(first, "events").stdout
    with open(second.dir + path, "w", encoding="utf-8") as f:
        f.write("# a changed one\n")
    c.ctl(second, "reload")
    wait_until("the new definition to be told",
               lambda: "db9 has a new definition" in c.ctl(first, "events").stdout, 20)
    c.ctl(first, "reload")  # the old file is still there, and stays where it is
    time.sleep(1)
    assert c.ctl(first, "events").stdout.count("a new definition") == 1


def case_leave(room):
    """A host that leaves gives up its guests, disarms and is not fenced; without quorum it says so in time."""
    c = Cluster(room).start()
    gone, *rest = c.nodes
    before = time.time()
    guests = c.guests_on(gone)
    r = c.ctl(gone, "leave", "--timeout", "60s", timeout=90)
    print(r.stdout, r.stderr)
    assert "has left" in r.stdout
    wait_until("the disks to tell so, too", lambda: not c.guests_on(gone), 10)
    assert gone.watchdog.timeout is None, "the watchdog is armed"
    c.wait_all_run(guests, rest, 40)
    assert c.ctl(gone, "leave", "--timeout", "5s").returncode == 0, "it holds nothing: done at once"
    gone.power_cut()
    time.sleep(8)
    assert not c.power.offs(), "a host that had left was fenced"
    assert_undisturbed(c, [g for g in c.guests if g not in guests], before)
    rest[0].power_cut()
    r = c.ctl(rest[1], "leave", "--timeout", "2s", check=False)
    print(r.stdout, r.stderr)
    assert r.returncode == 7 and "has not left after 2 s" in r.stderr, r.stderr
