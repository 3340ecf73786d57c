# SPDX-License-Identifier: GPL-2.0-or-later
"""The shared disk: a plain file that all hosts read and write past every cache. Poison pills,
storage that one host or all of them lose, garbage, another cluster's disk."""
import os
import signal
import subprocess
import time

from cases_failover import assert_undisturbed, others
from lib.cluster import Cluster, program
from lib.room import wait_until

TIMERS = {"chair": "1500ms", "exchange": "500ms"}
DISK_TIMEOUT = 9  # what these timers and the interval make of it
BLOCK = 4096


def make_disk(room, nodes, cluster="xvm-ha-test"):
    path = room.shared_dir + "/heartbeat"
    argv = [program("xvm-ha-disk"), "init", "--path", path, "--cluster", cluster]
    for i in range(1, nodes + 1):
        argv += ["--node", str(i)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


def disk_cluster(room, n=3, levels=("disk",), cluster="xvm-ha-test", **more):
    path = make_disk(room, n, cluster)
    return Cluster(room, n=n, levels=levels, timers=TIMERS,
                   disk={"path": path, "interval": "300ms"}, **more)


def host(c, asked, name):
    return next((h for h in (c.status(asked) or {}).get("hosts", []) if h["name"] == name), {})


def wait_bound(c, timeout=60):
    """Until every host has said that it depends on the disk, and that is a fact."""
    wait_until("every host to depend on the disk", lambda: all(
        host(c, c.nodes[0], x.name).get("disk_bound") for x in c.nodes), timeout)


def disk_pid(node):
    """The node's xvm-ha-disk, by the number it has out here."""
    found = [p for p, line in node.processes().items() if "xvm-ha-disk run " in line]
    assert len(found) == 1, f"{node.name} has {len(found)} of them"
    return found[0]


def stop_disk(node):
    os.kill(disk_pid(node), signal.SIGSTOP)


def go_on(node):
    os.kill(disk_pid(node), signal.SIGCONT)


def case_disk_pill(room):
    """A host that lost the network takes a poison pill; its guests run elsewhere."""
    c = disk_cluster(room).start()
    wait_bound(c)
    victim = others(c, c.coordinator())[-1]
    guests, rest = c.guests_on(victim), others(c, victim)
    cut = time.time()
    victim.cut()
    wait_until("the disk to tell that it lives", lambda: "writes to the shared disk" in host(
        c, rest[0], victim.name).get("why", ""), 30)
    wait_until("it to be reset", lambda: victim.watchdog.fired, 30)
    fired = time.time()
    c.wait_all_run(guests, rest, 60)
    runs = max(c.runs_after(g, cut)[0].first for g in guests)
    print(f"reset {fired - cut:.1f} s after the cut, guests elsewhere after {runs - cut:.1f} s")
    assert_undisturbed(c, [g for g in c.guests if g not in guests], cut)
    assert not c.power.offs(), "there was no device to be asked"


def case_disk_pill_unread(room):
    """It cannot read the pill: its lease ends without the disk, its watchdog without the lease."""
    c = disk_cluster(room).start()
    wait_bound(c)
    victim = others(c, c.coordinator())[-1]
    guests, rest = c.guests_on(victim), others(c, victim)
    cut = time.time()
    stop_disk(victim)
    victim.cut()
    c.wait_all_run(guests, rest, 90)
    for g in guests:
        old = [r for r in c.witness.history(g) if r.host == victim.name][-1]
        new = c.runs_after(g, cut)[0]
        assert old.last < new.first - 1, f"{g}: until {old.last - cut}, from {new.first - cut}"


def case_disk_lost_by_one(room):
    """A host whose disk hangs ends its guests and lives on; they run elsewhere; then it is back."""
    c = disk_cluster(room).start()
    wait_bound(c)
    victim = others(c, c.coordinator())[-1]
    guests, rest = c.guests_on(victim), others(c, victim)
    before = time.time()
    stop_disk(victim)
    c.wait_all_run(guests, rest, 60)
    assert_undisturbed(c, [g for g in c.guests if g not in guests], before)
    assert "lost the shared disk" in host(c, rest[0], victim.name)["why"]
    time.sleep(8)  # longer than its watchdog takes
    assert victim.powered and victim.boots == 1, "it was reset"
    go_on(victim)
    wait_until("the disk to be back", lambda: host(c, rest[0], victim.name).get("disk_ok"), 30)
    assert not c.power.offs()


def case_disk_lost_by_all(room):
    """All hosts lose the storage and see each other: nobody is stopped, no guest notices."""
    c = disk_cluster(room).start()
    wait_bound(c)
    before = time.time()
    for x in c.nodes:
        stop_disk(x)
    wait_until("the disk not to be needed", lambda: not (c.status(c.nodes[0]) or {}).get(
        "disk", {}).get("needed", True), 30)
    time.sleep(DISK_TIMEOUT + 8)
    assert_undisturbed(c, c.guests, before)
    assert all(x.powered and x.boots == 1 for x in c.nodes), "a host was reset"
    for x in c.nodes:
        go_on(x)
    wait_bound(c)
    assert_undisturbed(c, c.guests, before)


def case_disk_garbage(room):
    """Garbage in a slot is written over by its host; garbage in the first block is a lost disk."""
    c = disk_cluster(room).start()
    wait_bound(c)
    before = time.time()
    path = c.options["disk"]["path"]
    with open(path, "r+b") as f:
        header = f.read(BLOCK)
        f.seek(2 * BLOCK)
        f.write(os.urandom(BLOCK))
    time.sleep(3)
    assert all(host(c, c.nodes[0], x.name)["disk_ok"] for x in c.nodes), "the slot was not mended"
    with open(path, "r+b") as f:
        f.write(os.urandom(BLOCK))
    wait_until("the disk not to be needed", lambda: not (c.status(c.nodes[0]) or {}).get(
        "disk", {}).get("needed", True), 30)
    with open(path, "r+b") as f:
        f.write(header)
    wait_bound(c)
    assert_undisturbed(c, c.guests, before)
    assert all(x.powered and x.boots == 1 for x in c.nodes), "a host was reset"


def case_disk_of_another_cluster(room):
    """Another cluster's disk is left alone: no slot is written, nobody depends on it."""
    c = disk_cluster(room, cluster="somebody-else", levels=("disk", "power")).start()
    time.sleep(DISK_TIMEOUT)
    with open(c.options["disk"]["path"], "rb") as f:
        f.seek(BLOCK)
        untouched = f.read(BLOCK)
    assert untouched[32:36] == b"\0\0\0\0", "a slot was written"
    s = c.status(c.nodes[0])
    assert not s["disk"]["needed"] and not any(h["disk_ok"] for h in s["hosts"])
    victim = others(c, c.coordinator())[-1]
    guests = c.guests_on(victim)
    victim.power_cut()
    c.wait_all_run(guests, others(c, victim), 60)


def case_disk_two_hosts_one_dies(room):
    """Two hosts, no fence device: one loses power, and the disk is proof enough."""
    c = disk_cluster(room, n=2).start()
    wait_bound(c)
    victim = others(c, c.coordinator())[-1]
    guests, cut = c.guests_on(victim), time.time()
    victim.power_cut()
    c.wait_all_run(guests, others(c, victim), 90)
    print(f"all ran again {max(c.runs_after(g, cut)[0].first for g in guests) - cut:.1f} s after")


def case_disk_two_hosts_split(room):
    """Two hosts that cannot see each other: exactly one is reset, and all guests run once."""
    c = disk_cluster(room, n=2).start()
    wait_bound(c)
    c.nodes[1].cut()
    wait_until("one of them to be reset", lambda: any(x.watchdog.fired for x in c.nodes), 60)
    loser = next(x for x in c.nodes if x.watchdog.fired)
    rest = others(c, loser)
    c.wait_all_run(None, rest, 90)
    time.sleep(10)
    assert not rest[0].watchdog.fired, "both were reset"


case_disk_pill.limit = case_disk_pill_unread.limit = 240
case_disk_lost_by_all.limit = case_disk_garbage.limit = 240
case_disk_two_hosts_one_dies.limit = case_disk_two_hosts_split.limit = 240
