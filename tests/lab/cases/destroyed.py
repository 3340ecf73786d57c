# SPDX-License-Identifier: GPL-2.0-or-later
"""xl destroy behind our back: the guest is started again, once."""


def run(lab):
    host = lab.where("g2")
    life = lab.consoles.last("g2").life
    host.ssh("xl destroy g2")
    lab.wait("g2 counts again", lambda: lab.where("g2") and lab.consoles.last("g2").life != life)
    lab.consoles.check()
    lab.wait("the cluster knows", lambda: (lab.guest("g2") or {}).get("condition") == "running")
