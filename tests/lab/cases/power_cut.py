# SPDX-License-Identifier: GPL-2.0-or-later
"""A host loses its power: its guests run on the others; detection, fencing and start are timed."""
import time


def run(lab):
    victim = lab.where("g1")
    guests = [g for g in ("g1", "g2", "g3", "pv1") if lab.where(g) is victim]
    others = [h for h in lab.hosts if h is not victim]
    lab.say(f"{victim.name} runs {', '.join(guests)}")
    begin = time.monotonic()
    victim.off()

    def state():
        return (lab.host_status(victim.name) or {}).get("state")

    lab.wait("noticed", lambda: state() not in ("in", None))
    lab.wait("confirmed dead", lambda: state() == "dead" or
             any(lab.runs_on(g, *others) for g in guests), timeout=240)
    for g in guests:
        lab.wait(f"{g} counts elsewhere", lambda g=g: lab.runs_on(g, *others), timeout=240)
    lab.say(f"all of them after {time.monotonic() - begin:.1f} s")
    lab.consoles.check()
    victim.on()
    lab.cluster_ready()
    lab.say("the host is back in the cluster, with no guest of its own")
