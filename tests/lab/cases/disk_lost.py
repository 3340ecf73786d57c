# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage is cut on one host: it gives up its guests and lives. On all: nobody is stopped.

For all hosts the iSCSI target itself hangs, and with it the guests' disks; they wait, and go on.
"""
import os
import signal
import time

from lib import shared_disk

GROUP = "more"
LIMIT = 3600


def one(lab):
    victim = lab.where("g1")
    others = [h for h in lab.hosts if h is not victim]
    boot = lab.boot_id(victim)
    shared_disk.offline(victim, True)
    lab.wait("g1 counts elsewhere", lambda: lab.runs_on("g1", *others), timeout=600)
    lab.say(str(lab.host_status(victim.name)))
    assert lab.boot_id(victim) == boot, "the host was reset"
    shared_disk.offline(victim, False)
    lab.wait("the disk is back", lambda: lab.host_status(victim.name)["disk_ok"], timeout=300)


def every(lab):
    boots = {h.name: lab.boot_id(h) for h in lab.hosts}
    lives = {g: lab.consoles.last(g).life for g in ("g1", "g2", "g3") if lab.where(g)}
    target = shared_disk.target_pid()
    os.kill(target, signal.SIGSTOP)
    try:
        lab.wait("the disk is not needed", lambda: not lab.status()["disk"]["needed"], timeout=200)
        time.sleep(shared_disk.TIMEOUT_S + 30)
    finally:
        os.kill(target, signal.SIGCONT)
    shared_disk.wait_bound(lab)
    for h in lab.hosts:
        assert lab.boot_id(h) == boots[h.name], f"{h.name} was reset"
    for g, life in lives.items():
        assert lab.consoles.alive(g).life == life, f"{g} was started again"


def run(lab):
    with shared_disk.used(lab):
        shared_disk.wait_bound(lab)
        one(lab)
        lab.consoles.check()
        shared_disk.wait_bound(lab)
        every(lab)
        lab.consoles.check()
