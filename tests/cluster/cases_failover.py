# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts, daemons and networks that fail; guests must run elsewhere, once, or not notice at all."""
import os
import signal
import time

from lib.cluster import Cluster
from lib.room import wait_until


def others(cluster, *nodes):
    return [x for x in cluster.nodes if x not in nodes]


def assert_undisturbed(cluster, guests, since):
    for g in guests:
        new = cluster.runs_after(g, since)
        assert not new, f"{g} was started again though nothing happened to it: {new}"
        assert cluster.where(g), f"{g} does not run any more"


def fail_over(cluster, victim):
    """Power cut of `victim`; its guests must run elsewhere, all others must not notice."""
    guests, rest = cluster.guests_on(victim), []
    rest = [g for g in cluster.guests if g not in guests]
    assert guests, f"{victim.name} runs no guest"
    cut = victim.power_cut()
    cluster.wait_all_run(guests, others(cluster, victim), 40)
    print(f"{len(guests)} guests of {victim.name} ran elsewhere after "
          f"{max(cluster.runs_after(g, cut)[0].first for g in guests) - cut:.2f} s")
    assert_undisturbed(cluster, rest, cut)
    offs = cluster.power.offs(victim.name)
    assert offs and offs[-1].status == 0, "guests were started, but the host was never fenced"
    for g in guests:
        assert cluster.runs_after(g, cut)[0].first >= offs[-1].end, f"{g} was started before the fence"


def case_failover(room):
    """Power cut of an ordinary host: its guests run elsewhere, the others' never notice."""
    c = Cluster(room).start()
    fail_over(c, others(c, c.coordinator())[-1])


def case_failover_coordinator(room):
    """The same for the coordinator's host, then the host comes back and takes part again."""
    c = Cluster(room).start()
    victim = c.coordinator()
    fail_over(c, victim)
    before = time.time()
    victim.power_on()
    wait_until("the host to be back in", lambda: any(
        h["name"] == victim.name and h["synced"] for h in (c.any_status() or {}).get("hosts", [])), 40)
    time.sleep(2)
    assert_undisturbed(c, c.guests, before)


def restart_of_program(room, program, number):
    """A program dies on every node in turn and is started again: no guest and no host may notice."""
    c = Cluster(room).start()
    for node in c.nodes:
        before = time.time()
        starts = node.services[program].starts
        node.services[program].kill(number)
        wait_until(f"{program} to come back", lambda: node.services[program].starts > starts and
                   node.services[program].pid(), 10)
        wait_until(f"{node.name} to be synced again", lambda: (c.status(node) or {}).get("synced"), 30)
        time.sleep(1.5)
        assert_undisturbed(c, c.guests, before)
    assert not c.power.offs(), "a host was fenced"
    assert all(x.boots == 1 for x in c.nodes), "a host was reset"


def case_daemon_killed(room):
    """kill -9 of each daemon in turn: guests run on, nobody is fenced."""
    restart_of_program(room, "xvm-had", signal.SIGKILL)


def case_daemon_restarted(room):
    """An ordinary restart of each daemon in turn (an update): the same."""
    restart_of_program(room, "xvm-had", signal.SIGTERM)


def case_keeper_killed(room):
    """kill -9 of each keeper in turn: lease and watchdog are taken up again in time."""
    restart_of_program(room, "keeper", signal.SIGKILL)


def case_daemon_stopped(room):
    """A daemon that hangs (SIGSTOP) is not fenced while its keeper lives; its guests run on."""
    c = Cluster(room).start()
    for node in (c.coordinator(), others(c, c.coordinator())[0]):
        before = time.time()
        node.services["xvm-had"].kill(signal.SIGSTOP)
        rest = others(c, node)
        wait_until("a coordinator among the others", lambda: (c.status(rest[0]) or {}).get(
            "coordinator") in [x.name for x in rest], 30)
        time.sleep(3)
        assert_undisturbed(c, c.guests, before)
        node.services["xvm-had"].kill(signal.SIGCONT)
        wait_until(f"{node.name} to be synced again", lambda: (c.status(node) or {}).get("synced"), 60)
        assert_undisturbed(c, c.guests, before)
    assert not c.power.offs(), "a host was fenced"


def case_network_cut(room):
    """A host is cut off while fencing is slow: it ends its guests before the others start them."""
    c = Cluster(room).start()
    victim = c.nodes[-1]
    guests = c.guests_on(victim)
    with open(victim.dir + "/fence-behaviour", "w", encoding="ascii") as f:
        f.write("slow:25\n")
    c.options["device"] = {"timeout": "40s"}
    for x in c.nodes:
        c.write_config(x)
        c.ctl(x, "reload")
    cut = time.time()
    victim.cut()
    c.wait_all_run(guests, others(c, victim), 90)
    off = c.power.offs(victim.name)[-1]
    for g in guests:
        old = [r for r in c.witness.history(g) if r.host == victim.name][-1]
        new = c.runs_after(g, cut)[0]
        print(f"{g}: ended on {victim.name} {old.last - cut:.2f} s after the cut, power off at "
              f"{off.end - cut:.2f} s, runs on {new.host} since {new.first - cut:.2f} s")
        assert old.last < off.end - 2, "the cut host kept its guest until its power was taken away"
        assert old.last < new.first
    victim.join()
    victim.power_on_after = None


def case_network_cut_heals(room):
    """A short cut, healed before anybody was fenced for good, ends with every guest once."""
    c = Cluster(room).start()
    victim = c.nodes[0]
    victim.power_on_after = 1
    victim.cut()
    time.sleep(2)
    victim.join()
    time.sleep(8)
    c.wait_all_run(timeout=60)


def case_corosync_killed(room):
    """kill -9 of corosync: the host leaves the ring, is fenced, and its guests run elsewhere."""
    c = Cluster(room).start()
    victim = others(c, c.coordinator())[0]
    guests = c.guests_on(victim)
    before = time.time()
    victim.services["corosync"].kill(signal.SIGKILL)
    c.wait_all_run(guests, others(c, victim), 60)
    assert c.power.offs(victim.name), "the host was not fenced"
    assert_undisturbed(c, [g for g in c.guests if g not in guests], before)
    victim.power_on()
    wait_until("the host to be back", lambda: (c.status(victim) or {}).get("synced"), 60)


def case_disk_full(room):
    """No room for a host's journal: it acknowledges nothing, its guests run on, the others go on
    deciding; once there is room it heals by itself."""
    c = Cluster(room)
    victim = c.nodes[-1]
    c.small_disks[victim.name] = "128k"
    c.start()
    other, spare = c.nodes[0], c.guests_on(c.nodes[0])[-1]
    before, starts = time.time(), victim.services["xvm-had"].starts
    ballast = c.state_dir(victim) + "/ballast"
    victim.run("sh", "-c", f"head -c 1000000 /dev/zero >{ballast}")
    for _ in range(60):  # the last page of the journal has some room left
        c.ctl(other, "stop", spare)
        c.ctl(other, "start", spare)
        if not (c.status(victim) or {}).get("synced"):
            break
    else:
        raise AssertionError("the host never noticed that its disk is full")
    assert "No space left on device" in victim.log("xvm-had"), "nobody was told why"
    c.ctl(other, "stop", spare)
    wait_until("the others to go on without it", lambda: not c.where(spare), 30)
    assert_undisturbed(c, c.guests_on(victim), before)
    c.ctl(other, "start", spare)
    victim.run("rm", ballast, check=True)
    wait_until("the host to heal", lambda: (c.status(victim) or {}).get("synced"), 30)
    c.wait_all_run(timeout=30)
    assert victim.services["xvm-had"].starts == starts, "it had to be restarted"
    assert not c.power.offs(), "a host was fenced"


def case_cluster_restarted(room):
    """Power comes back after a loss of all hosts at once: every guest runs again, with no command."""
    c = Cluster(room).start()
    for x in c.nodes:
        x.power_cut()
    time.sleep(1)
    begin = time.time()
    assert not any(c.witness.map(c.guests).values())
    c.power_on()
    c.wait_all_run(timeout=90)
    print(f"all guests ran {time.time() - begin:.1f} s after power on")
    for g in c.guests:
        incs = [r.inc for r in c.witness.history(g)]
        assert incs == sorted(set(incs)), f"{g}: incarnations {incs} do not rise"


case_cluster_restarted.limit = 240
