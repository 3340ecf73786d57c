# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of an outside orchestrator (here: xl by hand): its own xl deals with its end, nobody starts it.

Its host loses power: the guest is free for its orchestrator once the host is dead, and not before.
"""
import time

GROUP = "more"
GUEST = "g4: {config: /etc/xen/g4.cfg, memory: 96M, managed: external}\n"


def run(lab):
    lab.hosts[0].ssh("xvmhactl guest add -", stdin=GUEST, timeout=300)
    try:
        captain_elsewhere(lab)
    finally:
        for h in lab.hosts:
            h.ssh("xl destroy g4 2>/dev/null", check=False)
        lab.ctl("guest", "remove", "g4", "--force", check=False)


def create(lab, host):
    host.ssh("xl create -q /etc/xen/g4.cfg", timeout=300)
    lab.wait(f"g4 counts on {host.name}", lambda: lab.runs_on("g4", host))
    known(lab, host)


def known(lab, host):
    lab.wait(f"the cluster knows g4 on {host.name}", lambda: (lab.guest("g4") or {}).get("host") ==
             host.name and lab.guest("g4")["condition"] == "running")


def free(lab):
    return (lab.guest("g4") or {}).get("condition") == "external"


def captain_elsewhere(lab):
    victim = next(h for h in lab.hosts if not lab.host_status(h.name)["coordinator"])
    create(lab, victim)
    r = lab.ctl("stop", "g4", check=False)
    lab.say((r.stdout + r.stderr).strip())
    assert r.returncode == 1 and "managed elsewhere" in r.stderr, r
    assert victim.ssh("pgrep -af '[x]l create.*g4'").stdout, "its xl was ended"
    # It reboots: that is its xl's work (on_reboot is restart by itself).
    life = lab.consoles.last("g4").life
    victim.ssh("xl reboot g4")
    lab.wait("it has rebooted, by its xl",
             lambda: lab.runs_on("g4", victim) and lab.consoles.last("g4").life != life)
    known(lab, victim)
    victim.ssh("xl shutdown g4")
    lab.wait("it is off, and free", lambda: lab.lacks(victim, "g4") and free(lab))
    time.sleep(15)
    assert free(lab) and not lab.where("g4"), "somebody started it"
    create(lab, victim)
    lab.say(f"{victim.name} loses its power")
    victim.off()
    other = next(h for h in lab.hosts if h is not victim)
    lab.wait("its host is dead, it is free", lambda: free(lab) and
             lab.host_status(victim.name)["state"] == "dead")
    for g in ("g1", "g2", "g3", "pv1"):
        lab.wait(f"{g} counts", lambda g=g: lab.where(g))
    assert not lab.where("g4"), "somebody started it"
    create(lab, other)
    lab.consoles.check()
