# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest does not do its work: its probe says so, it is ended and started again, once."""
from lib import settings

GROUP = "more"

PROBE = """cat > /root/probe <<'END'
#!/bin/sh
[ "$(xl domid "$XVM_PROBE_GUEST")" -gt 0 ] || { echo "not here"; exit 2; }
[ ! -e "/root/ill-$XVM_PROBE_GUEST" ] || { echo "ill as told"; exit 1; }
END
chmod 755 /root/probe"""


def run(lab):
    for h in lab.hosts:
        h.ssh(PROBE)
    with settings.guest(lab, "g2", "probes: [{name: work, command: /root/probe, interval: 5s, "
                        "timeout: 20s, start_grace: 5m, failures: 3}]"):
        lab.wait("g2 is healthy", lambda: (lab.guest("g2") or {}).get("health") == "good")
        host = lab.where("g2")
        life = lab.consoles.last("g2").life
        host.ssh("touch /root/ill-g2")
        try:
            lab.wait("every host says that it is not", lambda: all(
                (lab.guest("g2", h) or {}).get("health") == "bad" for h in lab.hosts))
            lab.wait("g2 is started again",
                     lambda: lab.where("g2") and lab.consoles.last("g2").life != life)
        finally:
            for h in lab.hosts:
                h.ssh("rm -f /root/ill-g2")
        lab.wait("g2 is healthy again", lambda: (lab.guest("g2") or {}).get("health") == "good")
    lab.consoles.check()
