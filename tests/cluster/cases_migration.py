# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves with the guest's memory: over a real connection, with hosts, links and programs that break."""
import os
import re
import signal
import socket
import time

from cases_failover import assert_undisturbed, others
from lib import corosync
from lib.cluster import Cluster, program
from lib.room import wait_until

GUEST = "db1"
PORT = 7443


def start(room, image_kib=0, guests=None, **options):
    """Three hosts and one guest (or more), whose image takes a while when it is large."""
    if guests is None:
        guests = {GUEST: {"memory": "64M", "priority": 900}}
    c = Cluster(room, guests=guests, **options)
    for g in guests:
        set_image(c, g, image_kib)
    return c.start()


def set_image(cluster, guest, kib):
    with open(f"{cluster.room.shared_dir}/{guest}.behave", "w", encoding="ascii") as f:
        f.write(f"image={kib}\n")


def home(cluster, guest=GUEST):
    return cluster.by_name[cluster.where(guest)]


def transfer(cluster, guest=GUEST, node=None):
    return (cluster.guest_status(guest, node) or {}).get("transfer") or {}


def move(cluster, target, *args, guest=GUEST, node=None, check=True, timeout=60):
    return cluster.ctl(node or cluster.nodes[0], "move", guest, target.name, *args, check=check,
                       timeout=timeout)


def wait_on_its_way(cluster, guest=GUEST, least=1 << 20):
    """Until so many bytes have gone over the wire."""
    wait_until("the transfer to be under way",
               lambda: transfer(cluster, guest).get("bytes", 0) >= least, 20)


def wait_quiet(cluster, guest=GUEST, timeout=40):
    """Until nothing of a move is left: one copy, no worker, no channel anywhere."""
    def quiet():
        g = cluster.guest_status(guest) or {}
        return g.get("state") == "running" and not g.get("target") and cluster.where(guest) and \
            not [n for n in cluster.live() if channels(n)]
    wait_until("the move to be over", quiet, timeout)


def on(cluster, node, guest=GUEST):
    """It writes on that node: its first tick there comes a moment after it is told to run."""
    wait_until(f"{guest} to write on {node.name}", lambda: cluster.where(guest) == node.name, 10)
    return True


def wait_synced(cluster, node):
    """Until that node knows all hosts to be back."""
    def synced():
        hosts = (cluster.status(node) or {}).get("hosts", [])
        return hosts and all(h["synced"] and h["state"] == "in" for h in hosts)
    wait_until("all hosts to be synced", synced, 60)


def wait_dead(cluster, node, dead):
    """Until that node knows that the other one is off."""
    wait_until(f"{dead.name} to be confirmed dead",
               lambda: [h for h in (cluster.status(node) or {}).get("hosts", [])
                        if h["name"] == dead.name and h["state"] == "dead"], 40)


def processes(node, pattern):
    return [pid for pid, line in node.processes().items() if re.search(pattern, line)]


def channels(node):
    return processes(node, r"xvm-ha-channel|xvm-ha-guest worker (send|receive)")


def last_tick(cluster, guest=GUEST):
    """(host, incarnation, tick) of the guest's last line."""
    with open(f"{cluster.room.shared_dir}/{guest}.disk", encoding="ascii") as f:
        lines = [line.split() for line in f.read().splitlines()]
    return lines[-1][0], int(lines[-1][1]), int(lines[-1][2])


def ticks_without_gap(cluster, guest=GUEST):
    """Its memory counts: a guest that was moved goes on where it was, one that was started does not."""
    with open(f"{cluster.room.shared_dir}/{guest}.disk", encoding="ascii") as f:
        ticks = [int(line.split()[2]) for line in f.read().splitlines() if len(line.split()) == 3]
    return ticks == list(range(1, len(ticks) + 1))


def case_move_back_and_forth(room):
    """Ten live moves there and back: the memory goes along each time, and no tick is lost or twice."""
    c = start(room, image_kib=8192)
    a = home(c)
    b = others(c, a)[0]
    for i in range(20):
        target = b if i % 2 == 0 else a
        r = move(c, target, "--wait")
        assert on(c, target), r.stderr
    move(c, b, "--type", "migrate", "--wait")
    assert on(c, b)
    assert ticks_without_gap(c)
    time.sleep(1)
    assert not [n.name for n in c.live() if channels(n)], "programs of a move were left behind"
    text = c.nodes[0].log("xvm-had") + c.nodes[1].log("xvm-had") + c.nodes[2].log("xvm-had")
    assert "TLS 1.3" in text
    # Without a name the coordinator picks one; the old names for the end of it still work.
    c.ctl(c.nodes[0], "move", GUEST, "--wait")
    assert c.where(GUEST) != b.name
    assert ticks_without_gap(c)


SLOW = {"bandwidth": "4M"}  # a second


def begin_slow_move(c, mib=24, target=None):
    """A move that takes some seconds is under way. Returns source and target."""
    set_image(c, GUEST, mib * 1024)
    a = home(c)
    b = target or others(c, a)[0]
    move(c, b)
    wait_on_its_way(c)
    return a, b


def assert_stays(c, a, before):
    """The guest is where it was, in the life it had; and it can be moved later."""
    wait_quiet(c)
    assert c.where(GUEST) == a.name, f"{GUEST} is on {c.where(GUEST)}, was on {a.name}"
    assert not c.runs_after(GUEST, before), "it was started again"
    assert ticks_without_gap(c)
    set_image(c, GUEST, 0)
    b = others(c, a)[0]
    move(c, b, "--wait")
    assert on(c, b)
    assert ticks_without_gap(c)


def case_move_target_cut_off(room):
    """The target's link is cut during the transfer: the guest stays, undisturbed."""
    c = start(room, migration=SLOW)
    before = time.time()
    _, b = begin_slow_move(c)
    a = home(c)
    b.cut()
    wait_until("the move to be given up", lambda: not (c.guest_status(GUEST, a) or {}).get("target"), 30)
    wait_dead(c, a, b)
    assert on(c, a) and not c.runs_after(GUEST, before)
    b.join()
    b.power_on()
    wait_synced(c, a)
    assert_stays(c, a, before)


def case_move_source_cut_off(room):
    """The source's link is cut during the transfer: it is fenced, and the guest runs once elsewhere."""
    c = start(room, migration=SLOW)
    a, _ = begin_slow_move(c)
    a.cut()
    c.wait_all_run(on=others(c, a), timeout=60)
    wait_until("nothing of the move to be left",
               lambda: not [n for n in others(c, a) if channels(n)], 90)


def case_move_source_dies(room):
    """The source dies in the middle of the transfer: the guest is started elsewhere, once."""
    c = start(room, migration=SLOW)
    a, _ = begin_slow_move(c)
    a.power_cut()
    c.wait_all_run(on=others(c, a), timeout=60)
    wait_until("nothing of the move to be left", lambda: not [n for n in c.live() if channels(n)], 90)


def case_move_source_dies_image_complete(room):
    """The source dies when the target has the whole image, before anybody has heard of it: it is fenced
    first, then the image is committed, and the guest goes on at the target with its memory."""
    c = start(room)
    with open(f"{c.room.shared_dir}/{GUEST}.behave", "w", encoding="ascii") as f:
        f.write("image=1024\ncomplete=slow:2500\n")
    a = home(c)
    b = others(c, a)[0]
    move(c, b)
    wait_until("the image to be complete at the target",
               lambda: "\nstate 1\n" in b.run("cat", f"/run/xvm-had/guests/{GUEST}/state").stdout, 20)
    tick = last_tick(c)
    a.power_cut()
    c.wait_all_run(on=[b], timeout=60)
    assert home(c) is b
    assert ticks_without_gap(c), "its memory was lost"
    assert last_tick(c)[2] > tick[2] and last_tick(c)[0] == b.name
    assert any(f"confirmed" in line or "fence" in line for line in c.ctl(b, "events").stdout.split("\n"))


def case_move_target_dies(room):
    """The target dies in the middle: the guest stays, undisturbed."""
    c = start(room, migration=SLOW)
    before = time.time()
    a, b = begin_slow_move(c)
    b.power_cut()
    wait_dead(c, a, b)
    b.power_on()
    wait_synced(c, a)
    assert_stays(c, a, before)


def case_move_programs_die(room):
    """Channels and workers of either end are killed: the move fails, the guest stays each time."""
    c = start(room, migration=SLOW)
    before = time.time()
    for end, pattern in ((0, "xvm-ha-channel send"), (1, "xvm-ha-channel receive"),
                         (0, "xvm-ha-guest worker send"), (1, "xvm-ha-guest worker receive")):
        ends = begin_slow_move(c)
        a = ends[0]
        pids = processes(ends[end], pattern)
        assert len(pids) == 1, f"{pattern} on {ends[end].name}: {pids}"
        os.kill(pids[0], signal.SIGKILL)
        wait_quiet(c)
        print(pattern, transfer(c))
        assert transfer(c).get("failed") and transfer(c).get("text")
        assert on(c, a) and not c.runs_after(GUEST, before)
    assert_stays(c, a, before)


def case_move_daemons_restart(room):
    """Either daemon restarts during the transfer: the programs go on, and nothing is lost."""
    c = start(room, migration=SLOW)
    for end in (0, 1):
        ends = begin_slow_move(c, mib=16)
        before = time.time()
        ends[end].services["xvm-had"].kill(signal.SIGKILL)
        wait_quiet(c, timeout=60)
        print("end", end, "now on", c.where(GUEST), "was on", ends[0].name, transfer(c))
        assert ticks_without_gap(c)
        assert {r.host for r in c.runs_after(GUEST, before)} <= {ends[1].name}
        wait_synced(c, c.live()[0])


def case_move_wrong_key(room):
    """Hosts with different keys, or without one: refused with the reason; nothing happens to the guest."""
    c = start(room)
    before = time.time()
    a = home(c)
    b, other = others(c, a)
    c.write_authkey(b, os.urandom(256))
    r = move(c, b, "--wait", check=False, node=other)
    print(r.returncode, r.stdout, r.stderr)
    assert r.returncode == 1 and "authkey" in r.stderr
    os.unlink(a.dir + "/etc/corosync/authkey")
    r = move(c, b, "--wait", check=False, node=other)
    print(r.returncode, r.stdout, r.stderr)
    assert r.returncode == 1 and "corosync-keygen" in r.stderr
    r = a.run(program("xvm-had"), "--check-config", c.config_path(a))
    c.write_authkey(a)
    c.write_authkey(b)
    assert_stays(c, a, before)


def case_move_fallback(room):
    """A live move that fails becomes a stop and a start where the configuration says so."""
    c = start(room, guests={GUEST: {"memory": "64M", "priority": 900,
                                    "move": {"type": "live", "fallback": "normal"}}})
    a = home(c)
    b, other = others(c, a)
    c.write_authkey(b, os.urandom(256))
    move(c, b, "--wait", node=other)
    assert on(c, b)
    assert not ticks_without_gap(c)


def case_move_strangers(room):
    """Whoever connects to the port and is silent, talks rubbish or lies does not disturb a move."""
    c = start(room, image_kib=4096)
    a = home(c)
    b = others(c, a)[0]
    # From an address that is no host's, and from a host's own.
    from lib.room import ip
    ip("addr add 10.88.0.200/24 dev switch\n")
    held = []
    for i in range(40):
        s = socket.create_connection((corosync.address(b.number), PORT), 5)
        if i % 2:
            try:
                s.sendall(os.urandom(64))
            except OSError:
                pass
        held.append(s)
    script = f"""
import socket, struct, time, os
mine = []
for i in range(12):
    try:
        s = socket.create_connection(("{corosync.address(b.number)}", {PORT}), 5,
                                     ("{corosync.address(a.number)}", 0))
        if i % 4 == 1:
            s.sendall(os.urandom(64))
        if i % 4 == 2:
            s.sendall(b"XVMHAmig" + struct.pack("<IQIII", 1, 1 + i % 3, {a.number}, {b.number}, 0))
        if i % 4 == 3:
            s.sendall(b"XVMHAmig" + struct.pack("<IQIII", 1, 1, {b.number}, {a.number}, 0) + b"x" * 64)
    except OSError:
        pass
    mine.append(s)
print("ready", flush=True)
time.sleep(8)
"""
    path = c.room.folder + "/stranger.py"
    with open(path, "w", encoding="ascii") as f:
        f.write(script)
    stranger = a.serve("stranger", ["python3", path], restart=False)
    wait_until("the stranger", lambda: "ready" in a.log("stranger"), 10)
    begin = time.monotonic()
    move(c, b, "--wait")
    print(f"moved in {time.monotonic() - begin:.1f} s")
    assert on(c, b) and ticks_without_gap(c)
    assert c.status(b)["synced"]
    # Strangers are hung up on.
    for s in held:
        s.settimeout(5)
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
    stranger.stop()
    move(c, a, "--wait")
    assert ticks_without_gap(c)


def case_move_cancel(room):
    """A move is called off in the middle: the guest stays; the one who waited for it is told."""
    c = start(room, migration=SLOW)
    before = time.time()
    a, b = begin_slow_move(c)
    r = move(c, b, check=False)
    print(r.stderr)
    assert r.returncode == 1 and "--cancel" in r.stderr
    c.ctl(c.nodes[0], "move", "--cancel", GUEST)
    wait_quiet(c)
    assert not (c.guest_status(GUEST) or {}).get("target")
    r = c.ctl(c.nodes[0], "move", "--cancel", GUEST, check=False)
    assert r.returncode != 0 and r.stderr
    assert_stays(c, a, before)


def case_move_progress_and_limits(room):
    """The bandwidth limit holds and shows, with bytes and rounds, on every host; so does the time limit."""
    c = start(room, migration={"bandwidth": "4M", "time_limit": "12s"})
    before = time.time()
    set_image(c, GUEST, 12 * 1024)
    a = home(c)
    b, other = others(c, a)
    r = move(c, b, "--wait", node=other)
    print(r.stderr)
    assert "MiB sent" in r.stderr and "MiB/s" in r.stderr and "round" in r.stderr, r.stderr
    assert on(c, b) and ticks_without_gap(c)
    set_image(c, GUEST, 200 * 1024)
    move(c, a, node=other)
    wait_on_its_way(c, least=6 << 20)
    t = transfer(c, node=other)
    text = c.ctl(other, "status").stdout
    print(t, text)
    assert 0 < t["rate"] < 6 << 20, t
    assert t["round"] == 1 and 0 < t["left_kib"] < 200 * 1024 and "TLS 1.3" in t["protection"]
    assert "MiB sent" in text and "round 1" in text
    wait_quiet(c)
    t = transfer(c, node=other)
    print(t)
    assert t.get("failed"), t
    assert on(c, b)
    assert {x.host for x in c.runs_after(GUEST, before)} == {b.name}
    assert ticks_without_gap(c)


def case_move_in_the_clear(room):
    """`encryption: off`, where an operator wrote so: no key is needed, and the status says so."""
    c = start(room, migration={"encryption": "off", "bandwidth": "8M"})
    for x in c.nodes:
        os.unlink(x.dir + "/etc/corosync/authkey")
    a = home(c)
    b = others(c, a)[0]
    set_image(c, GUEST, 48 * 1024)
    move(c, b)
    wait_on_its_way(c)
    assert transfer(c)["protection"] == "not encrypted"
    wait_quiet(c)
    assert on(c, b) and ticks_without_gap(c)
    # Its worker has the socket itself: its death is the end of it.
    move(c, a)
    wait_on_its_way(c)
    os.kill(processes(b, "xvm-ha-guest worker send")[0], signal.SIGKILL)
    wait_quiet(c)
    assert on(c, b) and ticks_without_gap(c)


def case_move_refused(room):
    """What cannot be moved is refused at once, with the check that failed and what would help."""
    guests = {GUEST: {"memory": "64M", "priority": 900, "hosts": ["host1", "host2"]},
              "big": {"memory": "3G", "priority": 500, "hosts": ["host2"]},
              "big2": {"memory": "2G", "priority": 400, "hosts": ["host1", "host2"]}}
    c = start(room, guests=guests)
    node = c.nodes[0]
    assert c.where("big2") == "host1"
    before = time.time()
    for args, words in ((("move", GUEST, "host3"), ("host3", "hosts", "reload")),
                        (("move", "big2", "host2"), ("host2", "2048 MiB", "free")),
                        (("move", GUEST, "host9"), ("no host named", "host1")),
                        (("move", GUEST, c.where(GUEST)), ("already",)),
                        (("move", "big"), ("no other host",)),
                        (("move", "nobody"), ("nobody",))):
        r = c.ctl(node, *args, check=False)
        print(args, r.returncode, r.stderr)
        assert r.returncode in (1, 6) and all(w in r.stderr for w in words), r.stderr
    assert_undisturbed(c, c.guests, before)
