# SPDX-License-Identifier: GPL-2.0-or-later
"""Poison pill over iSCSI: corosync hangs on a host that reads the shared disk; it is reset, soon.

Then the same on a host that cannot read it: its lease ends, and with it its guests or the host.
"""
import time

from lib import shared_disk, where

GROUP = "more"
LIMIT = 3600


def empty(host):
    try:
        return host.ssh("xl list | tail -n +3 | wc -l", timeout=20).stdout.strip() == "0"
    except where.LabError:
        return False


def lose(lab, unread):
    victim = lab.where("g1")
    others = [h for h in lab.hosts if h is not victim]
    life = lab.consoles.last("g1").life
    resets = victim.resets()
    if unread:
        shared_disk.stop(victim)
    victim.ssh("systemctl kill --kill-who=main -s STOP corosync")
    begin = time.monotonic()
    lab.wait("the host resets itself" + (", or has ended its guests" if unread else ""),
             lambda: victim.resets() > resets or unread and empty(victim), timeout=240, poll=0.5)
    what = "reset" if victim.resets() > resets else "its guests are ended"
    lab.say(f"{'unread' if unread else 'read'}: {what} after {time.monotonic() - begin:.1f} s")
    lab.wait("g1 counts elsewhere", lambda: lab.runs_on("g1", *others), timeout=400)
    lab.say(f"and g1 runs elsewhere after {time.monotonic() - begin:.1f} s")
    old = [t for t in lab.consoles.of("g1") if t.life == life]
    new = [t for t in lab.consoles.of("g1") if t.life != life and t.at > begin]
    assert new[0].at > old[-1].at
    lab.consoles.check()
    if victim.resets() == resets:
        victim.ssh("systemctl kill --kill-who=main -s CONT corosync; "
                   "kill -CONT $(pgrep -f '[x]vm-ha-disk run')")
    lab.heal()
    lab.cluster_ready()


def run(lab):
    with shared_disk.used(lab):
        shared_disk.wait_bound(lab)
        lose(lab, unread=False)
        shared_disk.wait_bound(lab)
        lose(lab, unread=True)
