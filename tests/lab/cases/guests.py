# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests by xl: they count, move live (PVH) or are refused (PV), shut down, are destroyed."""
import time

GROUP = "base"
LIMIT = 3000


def migrate(lab, guest, source, target):
    """xl migrate; (seconds it took, longest silence of the guest in seconds)."""
    lab.wait(f"{guest} counts on {source.name}", lambda: lab.runs_on(guest, source))
    begin = time.monotonic()
    source.ssh(f"xl migrate {guest} {target.name}", timeout=900)
    seconds = time.monotonic() - begin
    lab.wait(f"{guest} counts on {target.name}", lambda: lab.runs_on(guest, target))
    time.sleep(3)
    return seconds, lab.consoles.gap(guest, begin)


def run(lab):
    one, two = lab.hosts[:2]
    one.ssh("xl create -q /etc/xen/g1.cfg", timeout=300)
    for source, target in ((one, two), (two, one)):
        seconds, gap = migrate(lab, "g1", source, target)
        lab.say(f"xl migrate {source.name} to {target.name}: {seconds:.1f} s, the guest was silent "
                f"for {gap:.1f} s at the longest")
    assert len({t.life for t in lab.consoles.of("g1")}) == 1, "the guest began anew"
    lab.consoles.check(counters=["g1"])

    one.ssh("xl create -q /etc/xen/pv1.cfg", timeout=300)
    lab.wait("pv1 counts", lambda: lab.where("pv1"))
    r = one.ssh(f"xl migrate pv1 {two.name}", check=False, timeout=900)
    assert r.returncode != 0, "this Xen has no shadow paging: a PV guest cannot move live"
    lab.say("a PV guest does not move live: " +
            next((x for x in r.stderr.splitlines() if "logdirty" in x), r.stderr.strip()))
    lab.wait("pv1 goes on", lambda: lab.consoles.alive("pv1", within=2))
    assert "pv1" in lab.domains(one)

    one.ssh("xl shutdown -w g1", timeout=300)
    lab.say("xl shutdown: the guest powers off by itself")
    lab.wait("it is gone", lambda: set(lab.domains(one) or ()) == {"pv1"})
    two.ssh("xl create -q /etc/xen/g2.cfg", timeout=300)
    lab.wait("g2 counts", lambda: lab.where("g2"))
    two.ssh("xl destroy g2")
    lab.wait("xl destroy: it is gone", lambda: lab.domains(two) == {})
