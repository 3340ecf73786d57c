# SPDX-License-Identifier: GPL-2.0-or-later
"""BMC out of reach, daemon stopped, network cut: the watchdog ends the host, the cluster goes on.

After the documented bound its guests run elsewhere.
"""
from lib import net

LIMIT = 1800


def run(lab):
    victim = lab.where("g1")
    others = [h for h in lab.hosts if h is not victim]
    life = lab.consoles.last("g1").life
    net.bmc_cut(victim.number)
    victim.ssh("systemctl kill --kill-who=main -s STOP xvm-had")
    net.cut(victim.number)
    lab.wait("the host resets itself", lambda: victim.restarted(), timeout=180, poll=0.2)
    lab.say("so " + str(lab.host_status(victim.name)))
    lab.wait("g1 counts elsewhere", lambda: lab.runs_on("g1", *others), timeout=300)
    old = [t for t in lab.consoles.of("g1") if t.life == life]
    new = [t for t in lab.consoles.of("g1") if t.life != life]
    lab.say(f"{new[0].at - old[-1].at:.1f} s between the copies' last and first sign")
    assert new[0].at > old[-1].at
    lab.consoles.check()
