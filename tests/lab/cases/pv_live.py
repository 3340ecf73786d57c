# SPDX-License-Identifier: GPL-2.0-or-later
"""A PV guest asked to move live where Xen cannot: refused in clear words."""


def run(lab):
    source = lab.where("pv1")
    target = next(h for h in lab.hosts if h is not source)
    life = lab.consoles.last("pv1").life
    r = lab.ctl("move", "pv1", target.name, "--type", "live", "--wait", check=False, timeout=900)
    words = (r.stdout + r.stderr).strip()
    lab.say(f"exit {r.returncode}: {words.splitlines()[-1] if words else 'no words'}")
    lab.wait("pv1 counts", lambda: lab.where("pv1"))
    assert r.returncode == 1 and "cannot move live" in words, f"not a refusal: {words}"
    assert lab.consoles.last("pv1").life == life, "refused, but not the same guest any more"
    assert lab.where("pv1") is source
    lab.consoles.check()
