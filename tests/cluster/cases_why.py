# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator is told who asks why a guest is where it is: for every state, a way out."""
import os
import signal
import time

from cases_failover import others
from cases_fence import behave
from cases_operator import guest_pid
from lib.cluster import Cluster
from lib.room import wait_until


def why(c, guest, node=None):
    """The words of `xvmhactl why`, as one line; on 80 columns."""
    text = c.ctl(node or c.live()[0], "why", guest).stdout
    print(text)
    wide = [line for line in text.splitlines() if len(line) > 80]
    assert not wide, wide
    return " ".join(text.split())


def boring(c, big):
    """All is well, but for a guest that no host has room for."""
    assert "it runs on" in why(c, "db1")
    assert "a rule keeps it apart from db2, which runs on" in why(c, "db1")
    assert "a rule keeps it together with web2" in why(c, "web1")
    assert "not on host2: is not among its allowed hosts" in why(c, "pin")
    text = why(c, "low")
    other = next(x.name for x in c.nodes if x.name != c.where("low"))
    assert f"not on {other}: would do, too; `xvmhactl move low {other}` moves it there" in text
    text = why(c, big)
    assert "does not run: host" in text and "the whole host has 256 MiB" in text


def by_operator(c):
    """Stopped, disabled, in maintenance, frozen: it says by what, and how that ends."""
    node = c.nodes[0]
    c.ctl(node, "stop", "low", "--wait")
    text = why(c, "low")
    assert text.startswith("low: stopped by an operator: `xvmhactl start low`"), text
    assert "would do, too" not in text and "would do" in text
    c.ctl(node, "disable", "low")
    wait_until("it to be disabled", lambda: c.guest_status("low")["condition"] == "disabled", 10)
    assert why(c, "low").startswith("low: disabled: `xvmhactl enable low`")
    c.ctl(node, "enable", "low")
    c.ctl(node, "start", "low", "--wait")
    c.ctl(node, "maintenance", "on", "host2", "--wait", timeout=60)
    assert "not on host2: maintenance: in maintenance, empty; `xvmhactl maintenance off host2`" in \
        why(c, "web1")
    c.ctl(node, "maintenance", "off", "host2")
    c.ctl(node, "freeze")
    wait_until("it to be frozen", lambda: c.status(node)["frozen"], 10)
    assert "the cluster is frozen: nobody moves before `xvmhactl thaw`" in why(c, "db1")
    assert "nothing is started before `xvmhactl thaw`" in why(c, "big")
    c.ctl(node, "thaw")
    time.sleep(3)


def crashing(c, guest):
    for _ in range(2):
        seen = len(c.witness.history(guest))
        os.kill(guest_pid(c, guest)[0], signal.SIGKILL)
        wait_until("a restart, or none any more",
                   lambda n=seen: len(c.witness.history(guest)) > n or
                   c.guest_status(guest)["condition"] == "failed", 15)
        time.sleep(0.3)
    wait_until("it to be given up", lambda: c.guest_status(guest)["condition"] == "failed", 15)
    text = why(c, guest)
    assert "it failed 2 times" in text and f"`xvmhactl clear {guest}` tries again" in text


def lost(c):
    """The host is lost and its fence fails: that blocks the guest, not the other hosts."""
    victim = c.by_name[c.where("db1")]
    behave(victim, "fail")
    victim.power_cut()
    name = victim.name
    wait_until("two failed fences", lambda: len(c.power.offs(name)) > 1, 40)
    wait_until("it to be lost", lambda: c.guest_status("db1")["condition"] == "host lost", 10)
    left = [x.name for x in others(c, victim)]
    text = why(c, "db1")
    assert f"waits until {name} is confirmed dead: " in text
    assert f"`xvmhactl fence confirm {name}`" in text
    assert "not among its allowed hosts" not in text
    wait_until("it to say how it is fenced again", lambda: f"`xvmhactl fence {name}` fences it" in
               why(c, "db1"), 10, poll=0.3)
    to = [h for h in left if f"not on {h}: would do, once {name} is confirmed dead" in text or
          f"it would then start on {h}" in text]
    assert to, text
    assert "a rule keeps it apart from db2" in text
    behave(victim, None)
    c.wait_all_run(["db1"], others(c, victim), 40)
    assert c.where("db1") in to
    text = why(c, "db1")
    assert f"not on {name}: dead: it is admitted again when it comes back" in text


def case_why(room):
    """In every state `why` says what keeps a guest where it is, and what would change that."""
    size = {"memory": "64M"}
    guests = {"db1": dict(size, priority=900), "db2": dict(size, priority=800),
              "web1": dict(size), "web2": dict(size), "pin": dict(size, hosts=["host1"]),
              "low": dict(size, priority=10), "crash": dict(size),
              "big": {"memory": "900M"}}
    c = Cluster(room, guests=guests, memory="256M", watchdog=False,
                timers={"fence_retry": "1s"}, placement={"preempt": "lower"},
                defaults={"restart": {"limit": 1, "window": "10m", "delay": "100ms"}},
                rules=[{"apart": ["db1", "db2"]}, {"together": ["web1", "web2"]}])
    c.start(without=["big"])
    boring(c, "big")
    by_operator(c)
    crashing(c, "crash")
    lost(c)
    for g in guests:
        why(c, g)


def case_why_gave_way(room):
    """Who gave way says to whom, what it lacks, and what would help."""
    guests = {f"g{i}": {"memory": "64M", "priority": 100 * i} for i in range(1, 5)}
    c = Cluster(room, guests=guests, memory="128M").start()
    victim = c.by_name[c.where("g4")]
    victim.power_cut()
    c.by_name[c.where("g3")].power_on_after = None
    c.wait_all_run(["g2", "g3", "g4"], others(c, victim), 60)
    second = c.by_name[next(c.where(g) for g in ("g3", "g2") if c.where(g) != c.nodes[0].name)]
    c.ctl(c.live()[0], "maintenance", "on", second.name, "--force", "--wait", timeout=60)
    wait_until("g1 to have given way", lambda: c.guest_status("g1")["condition"] == "preempted", 30)
    text = why(c, "g1")
    assert text.startswith("g1: gave way") and "for want of room: " in text
    assert "would fit without" in text or "MiB more" in text
