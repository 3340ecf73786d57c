# SPDX-License-Identifier: GPL-2.0-or-later
"""`on_crash: dump-restart`: a guest's kernel panics; its memory is kept, then it runs anew.

A PV guest: of a PVH guest Xen's library tries every page below its devices, one call each, and under
emulation a million of them take longer than a dump may.
"""
from lib import settings

GROUP = "more"


def run(lab):
    with settings.guest(lab, "pv1", "on_crash: dump-restart"):
        host = lab.where("pv1")
        life = lab.consoles.last("pv1").life
        inc = lab.guest("pv1")["incarnation"]
        core = f"/var/lib/xvm-had/dumps/pv1-{inc}.core"
        host.ssh("echo crash >$(xenstore-read /local/domain/$(xl domid pv1)/console/tty)")
        lab.wait("pv1 counts again", lambda: lab.where("pv1") and
                 lab.consoles.last("pv1").life != life, timeout=600)
        size = int(host.ssh(f"stat -c %s {core}").stdout)
        kind = host.ssh(f"head -c 4 {core} | od -An -tx1").stdout.split()
        lab.say(f"{core} on {host.name}: {size >> 20} MiB")
        assert kind == ["7f", "45", "4c", "46"], kind
        assert size > 60 << 20, size
        host.ssh(f"rm -f {core}")
    lab.consoles.check()


