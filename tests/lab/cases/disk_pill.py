# SPDX-License-Identifier: GPL-2.0-or-later
"""Poison pill over iSCSI: corosync hangs on a host that reads the shared disk; it is reset, soon.

Then the same on a host that cannot read it: its lease and its watchdog end it within the bound.
"""
import time

from lib import shared_disk

GROUP = "more"
LIMIT = 3600


def lose(lab, unread):
    victim = lab.where("g1")
    others = [h for h in lab.hosts if h is not victim]
    life = lab.consoles.last("g1").life
    resets = victim.resets()
    if unread:
        shared_disk.stop(victim)
    victim.ssh("systemctl kill --kill-who=main -s STOP corosync")
    begin = time.monotonic()
    lab.wait("the host resets itself", lambda: victim.resets() > resets, timeout=240, poll=0.2)
    lab.say(f"{'unread' if unread else 'read'}: reset after {time.monotonic() - begin:.1f} s")
    lab.wait("g1 counts elsewhere", lambda: lab.runs_on("g1", *others), timeout=400)
    lab.say(f"and g1 runs elsewhere after {time.monotonic() - begin:.1f} s")
    old = [t for t in lab.consoles.of("g1") if t.life == life]
    new = [t for t in lab.consoles.of("g1") if t.life != life]
    assert new[0].at > old[-1].at
    lab.consoles.check()
    lab.heal()
    lab.cluster_ready()


def run(lab):
    with shared_disk.used(lab):
        shared_disk.wait_bound(lab)
        lose(lab, unread=False)
        shared_disk.wait_bound(lab)
        lose(lab, unread=True)
