# SPDX-License-Identifier: GPL-2.0-or-later
"""All hosts lose their power; it comes back host by host: nobody is fenced, every guest runs once."""
import time

GROUP = "more"
STEP_S = 30


def run(lab):
    guests = ("g1", "g2", "g3", "pv1")
    lives = {g: lab.consoles.last(g).life for g in guests}
    for h in lab.hosts:
        h.off()
    lab.say("all hosts are without power")
    pids = {}
    for h in lab.hosts:
        h.on()
        pids[h] = h.pid()
        time.sleep(STEP_S)
    begin = time.monotonic()
    for g in guests:
        lab.wait(f"{g} counts", lambda g=g: lab.where(g), timeout=400)
    lab.say(f"all guests run {time.monotonic() - begin:.1f} s after the last host's power came")
    lab.cluster_ready()
    for h in lab.hosts:
        assert h.pid() == pids[h], f"{h.name} was switched off or reset while it booted"
        assert not h.restarted(), f"{h.name} reset itself"
    for g in guests:
        assert lab.consoles.last(g).life != lives[g]
    lab.consoles.check()
