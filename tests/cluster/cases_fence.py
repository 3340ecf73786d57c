# SPDX-License-Identifier: GPL-2.0-or-later
"""Fencing that goes wrong: it confirms nothing, the next way is tried, and an operator learns why."""
import os
import signal
import time

from cases_failover import others
from lib.cluster import Cluster
from lib.room import wait_until


def behave(node, how):
    """Tells the node's power switch how to misbehave; None: as it should."""
    path = node.dir + "/fence-behaviour"
    if how is None:
        if os.path.exists(path):
            os.unlink(path)
        return
    with open(path, "w", encoding="ascii") as f:
        f.write(how + "\n")


def assert_none_runs(cluster, guests, seconds):
    """For a while, none of these guests is started anywhere."""
    end = time.monotonic() + seconds
    since = time.time()
    while time.monotonic() < end:
        for g in guests:
            new = cluster.runs_after(g, since)
            assert not new, f"{g} was started though its host is not confirmed dead: {new}"
        time.sleep(0.1)


def fence_goes_wrong(room, how, **options):
    """A host dies, its switch misbehaves: guests stay blocked with a reason until it works."""
    c = Cluster(room, timers={"fence_retry": "1s"}, watchdog=False, **options).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    behave(victim, how)
    victim.power_cut()
    wait_until("the first failed fencing", lambda: c.power.offs(victim.name), 30)
    assert_none_runs(c, guests, 4)
    host = next(h for h in c.any_status()["hosts"] if h["name"] == victim.name)
    print(f"host {host['name']}: {host['state']}: {host['why']}")
    assert host["why"], "a host that cannot be fenced must say so"
    for g in guests:
        why = c.guest_status(g)["why"]
        print(f"{g}: {why}")
        assert why, f"{g} is blocked without a reason"
    return c, victim, guests


def case_fence_fails(room):
    """The agent fails: guests are blocked with a reason; once it works, they run."""
    c, victim, guests = fence_goes_wrong(room, "fail")
    behave(victim, None)
    c.wait_all_run(guests, others(c, victim), 60)


def case_fence_hangs(room):
    """The agent hangs: the time limit ends it, and a later try works."""
    c, victim, guests = fence_goes_wrong(room, "hang", device={"timeout": "2s"})
    behave(victim, None)
    c.wait_all_run(guests, others(c, victim), 60)


def case_fence_confirm(room):
    """All fencing fails: an operator's word is the way out; it is refused for a living member."""
    c, victim, guests = fence_goes_wrong(room, "fail")
    helper = others(c, victim)[0]
    r = c.ctl(helper, "fence", "confirm", others(c, victim)[1].name, "--yes",
              check=False)
    assert r.returncode != 0, "fence confirm was taken for a living member"
    c.ctl(helper, "fence", "confirm", victim.name, "--yes")
    c.wait_all_run(guests, others(c, victim), 30)


def case_fence_lies(room):
    """The first level says off but the host runs on: its status tells, and the next level is used."""
    c = Cluster(room, levels=("liar", "power"), watchdog=False).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 60)
    offs = c.power.offs()
    assert offs[0].agent == "fence_liar" and offs[-1].agent == "fence_xvm_node", offs
    for g in guests:
        assert c.runs_after(g, offs[0].begin)[0].first >= offs[-1].end, "a lie was believed"
    assert not victim.powered


def case_fence_lies_well(room):
    """A device that lies about everything is found out when the host comes back in the same life."""
    c = Cluster(room, device={"timeout": "40s"}).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    # Late enough for the cut host to have ended its guests by itself: the lease is the second line.
    behave(victim, "slow:20 lie-status")
    cut = time.time()
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 90)
    assert victim.powered and victim.boots == 1
    for g in guests:
        old = [r for r in c.witness.history(g) if r.host == victim.name][-1]
        assert old.last < c.runs_after(g, cut)[0].first
    before = time.time()
    victim.join()
    wait_until("the device to be distrusted", lambda: "device-distrusted" in c.ctl(
        others(c, victim)[0], "events", "-n", "200").stdout, 40)
    time.sleep(3)
    assert all(not c.runs_after(g, before) for g in c.guests)


def case_fence_next_level(room):
    """The first level fails, the second works."""
    c = Cluster(room, levels=("broken", "power"), watchdog=False).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    victim.power_cut()
    c.wait_all_run(guests, others(c, victim), 60)
    tried = [call.agent for call in c.power.offs()]
    assert tried[0] == "fence_broken" and "fence_xvm_node" in tried, tried


def case_self_fence(room):
    """No switch works and the daemon hangs on a cut host: the watchdog ends it before others start."""
    c = Cluster(room, levels=("power", "self"), timers={"fence_retry": "30s"}).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    for x in c.nodes:
        behave(x, "fail")
    victim.services["xvm-had"].kill(signal.SIGSTOP)
    cut = time.time()
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 90)
    assert victim.watchdog.fired == 1, "the watchdog never expired"
    for g in guests:
        old = [r for r in c.witness.history(g) if r.host == victim.name][-1]
        new = c.runs_after(g, cut)[0]
        print(f"{g}: last sign on {victim.name} {old.last - cut:.2f} s after the cut, first on "
              f"{new.host} at {new.first - cut:.2f} s")
        assert old.last < new.first


case_self_fence.limit = 240


def case_lease_lapses(room):
    """No switch works and the host is cut: it ends its guests itself, in time; the bound confirms."""
    c = Cluster(room, levels=("power", "self"), timers={"fence_retry": "30s"}).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    behave(victim, "fail")
    cut = time.time()
    victim.cut()
    wait_until("the cut host to end its guests",
               lambda: not any(c.where(g) == victim.name for g in guests), 60)
    ended = time.time() - cut
    c.wait_all_run(guests, others(c, victim), 90)
    print(f"guests ended {ended:.1f} s after the cut, and ran elsewhere after "
          f"{max(c.runs_after(g, cut)[0].first for g in guests) - cut:.1f} s")
    assert victim.watchdog.fired == 0, "the daemon did not end its guests in time"
    assert victim.powered
    before = time.time()
    victim.join()
    wait_until("the host to be back", lambda: (c.status(victim) or {}).get("synced"), 60)
    assert all(not c.runs_after(g, before) for g in c.guests)


case_lease_lapses.limit = 240
