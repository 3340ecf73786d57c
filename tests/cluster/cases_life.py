# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's life: probes, restarts, order, stops, validation."""
import os
import time

from cases_failover import assert_undisturbed
from lib.cluster import Cluster
from lib.room import wait_until

PROBE = """#!/bin/sh
# the test's probe: says what a file beside the guest's disk says
echo "$XVM_PROBE_GUEST $XVM_PROBE_HOST $XVM_PROBE_INCARNATION" >>{room}/probed
case $(cat {room}/$XVM_PROBE_GUEST.ill 2>/dev/null) in
fails) echo "no service"; exit 1 ;;
hangs) echo $$ >>{room}/hung; sleep 2345 ;;
esac
"""


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def read_lines(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def probed_cluster(room, **keys):
    """Three hosts with six guests, of which db1 has a probe."""
    path = room.folder + "/probe"
    write(path, PROBE.format(room=room.folder))
    os.chmod(path, 0o755)
    probe = {"name": "service", "command": path, "interval": "1s", "timeout": "500ms",
             "start_grace": "10s", "failures": 3}
    probe.update(keys)
    c = Cluster(room, defaults={"restart": {"limit": 3, "window": "10m", "delay": "100ms"}})
    c.guests["db1"]["probes"] = [probe]
    c.start()
    wait_until("the probe to succeed", lambda: c.guest_status("db1")["health"] == "good", 20)
    return c


def case_probe_fails(room):
    """A guest that runs and does not do its work: its probe says so, it is started again, no other is."""
    c = probed_cluster(room)
    before = time.time()
    write(room.folder + "/db1.ill", "fails")
    wait_until("the trouble to be seen",
               lambda: "no service" in str(c.status(c.by_name[c.where("db1")])), 20)
    wait_until("every host to say so", lambda: all(
        c.guest_status("db1", x)["health"] == "bad" for x in c.nodes), 20, poll=0.02)
    wait_until("db1 to be started again", lambda: c.runs_after("db1", before), 30)
    os.unlink(room.folder + "/db1.ill")
    wait_until("it to be well", lambda: c.guest_status("db1")["health"] == "good", 20)
    assert_undisturbed(c, [g for g in c.guests if g != "db1"], before)
    lines = [x.split() for x in read_lines(room.folder + "/probed")]
    assert all(x[0] == "db1" for x in lines) and len({x[2] for x in lines}) == 2, lines
    runs = c.witness.history("db1")[-2:]
    print(f"db1 was well again on {runs[1].host}, {runs[1].first - before:.1f} s after it fell ill")


def case_probe_hangs(room):
    """A probe that hangs is killed, nothing of it is left, and only its own limit makes a crash of it."""
    c = probed_cluster(room, failures=2, unknowns=5)
    before = time.time()
    write(room.folder + "/db1.ill", "hangs")
    wait_until("db1 to be started again", lambda: c.runs_after("db1", before), 40)
    os.unlink(room.folder + "/db1.ill")
    hung = read_lines(room.folder + "/hung")
    assert len(hung) >= 5, hung
    time.sleep(1)
    # the sleep was killed with its shell
    for node in c.nodes:
        for pid in node.processes():
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                words = f.read().split("\0")
            assert words[1:2] != ["2345"], f"{words} is left on {node.name}, of {hung}"


def case_probe_missing(room):
    """A probe that is not there says nothing about its guest: a warning, and the guest goes on."""
    c = probed_cluster(room)
    before = time.time()
    os.unlink(room.folder + "/probe")
    owner = c.by_name[c.where("db1")]
    wait_until("a warning", lambda: "cannot be run" in c.ctl(owner, "events", "-n", "50").stdout, 20)
    time.sleep(8)
    assert_undisturbed(c, list(c.guests), before)
