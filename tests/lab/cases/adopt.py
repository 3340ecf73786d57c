# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that somebody started by xl create is taken over without a restart."""


def run(lab):
    lab.ctl("stop", "g3", "--wait", timeout=600)
    lab.wait("g3 is gone everywhere", lambda: all(lab.lacks(h, "g3") for h in lab.hosts))
    host = lab.hosts[1]
    host.ssh("xl create -q /etc/xen/g3.cfg", timeout=300)
    lab.wait("g3 counts", lambda: lab.runs_on("g3", host))
    life = lab.consoles.last("g3").life
    lab.ctl("start", "g3")
    lab.wait("the cluster knows", lambda: (lab.guest("g3") or {}).get("host") == host.name and
             lab.guest("g3")["condition"] == "running")
    assert lab.consoles.alive("g3").life == life, "adopted by a restart"
    r = host.ssh("pgrep -af '[x]l create.*g3' || true")
    assert not r.stdout.strip(), f"xl still waits for its death: {r.stdout}"
    lab.consoles.check(counters=["g3"])
    # Whether it is really ours: its death is noticed, and only we react to it.
    host.ssh("xl destroy g3")
    lab.wait("started again", lambda: lab.where("g3") and lab.consoles.last("g3").life != life)
    lab.consoles.check()
