# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab would notice a guest that runs twice: by its disk and by its consoles."""
import time

GROUP = "base"
TWO_COPIES_ON_PURPOSE = True


def run(lab):
    one, two = lab.hosts[:2]
    one.ssh("xl create -q /etc/xen/g5.cfg", timeout=300)
    lab.wait("g5 counts on one host", lambda: lab.runs_on("g5", one))
    lab.consoles.check()
    two.ssh("xl create -q /etc/xen/g5.cfg", timeout=300)
    lab.wait("g5 counts on the other, too", lambda: lab.runs_on("g5", two))
    time.sleep(6)
    texts = [x[3] for x in lab.consoles.lines if x[2] == "g5"]
    assert any("TWO COPIES" in x for x in texts), "the disk did not tell"
    lab.consoles.lines.clear()  # now by the consoles alone
    try:
        lab.consoles.check()
    except AssertionError as e:
        lab.say(f"noticed: {e}")
    else:
        raise AssertionError("the consoles did not tell")
