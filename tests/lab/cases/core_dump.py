# SPDX-License-Identifier: GPL-2.0-or-later
"""`on_crash: dump-restart`: a guest's kernel panics; its memory is kept, then it runs anew."""
from lib import settings

GROUP = "more"


def run(lab):
    with settings.guest(lab, "g2", "on_crash: dump-restart"):
        host = lab.where("g2")
        life = lab.consoles.last("g2").life
        inc = lab.guest("g2")["incarnation"]
        core = f"/var/lib/xvm-had/dumps/g2-{inc}.core"
        host.ssh("echo crash >$(xenstore-read /local/domain/$(xl domid g2)/console/tty)")
        lab.wait("g2 counts again", lambda: lab.where("g2") and
                 lab.consoles.last("g2").life != life, timeout=600)
        size = int(host.ssh(f"stat -c %s {core}").stdout)
        kind = host.ssh(f"head -c 4 {core} | od -An -tx1").stdout.split()
        lab.say(f"{core} on {host.name}: {size >> 20} MiB")
        assert kind == ["7f", "45", "4c", "46"], kind
        assert size > 60 << 20, size
        host.ssh(f"rm -f {core}")
    lab.consoles.check()


