# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0 hangs (QMP stop) and is fenced by IPMI; let go on, it cannot go on with its guests."""
import time


def run(lab):
    victim = lab.where("g1")
    others = [h for h in lab.hosts if h is not victim]
    pid = victim.pid()
    life = lab.consoles.last("g1").life
    victim.hang()
    lab.wait("its power is taken", lambda: victim.pid() != pid, timeout=240, poll=0.1)
    lab.wait("g1 counts elsewhere", lambda: lab.runs_on("g1", *others), timeout=240)
    assert lab.consoles.last("g1").life != life
    # The machine that hung is gone with its memory; there is nothing left to go on with.
    if victim.state() == "paused":
        victim.resume()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert lab.consoles.last("g1").life != life, "the old copy went on"
        time.sleep(1)
    lab.consoles.check()
    lab.heal()
    lab.cluster_ready()
