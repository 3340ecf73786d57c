# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts do not see each other any more: the one that the status named beforehand survives."""
import time

from lib import net

GROUP = "more"
HOSTS = 2


def run(lab):
    one, two = lab.hosts
    lab.put("g1", two)  # not the host that would win by its number
    lab.put("g2", one)
    lab.wait("the status names the survivor", lambda: lab.status().get("survivor") == two.name)
    lab.say(f"if they lost each other: {two.name} ({lab.status()['survivor_why']})")
    pids = {h: h.pid() for h in lab.hosts}
    lives = {g: lab.consoles.last(g).life for g in ("g1", "g2")}
    begin = time.monotonic()
    net.apart([h.number for h in lab.hosts], True)
    lab.wait(f"{one.name} is fenced", lambda: one.pid() != pids[one], timeout=240, poll=0.2)
    lab.wait(f"g2 counts on {two.name}", lambda: lab.runs_on("g2", two), timeout=240)
    lab.say(f"g2 runs again {time.monotonic() - begin:.1f} s after the cut")
    assert two.pid() == pids[two], "both lost their power"
    assert lab.consoles.last("g1").life == lives["g1"], "g1 was disturbed"
    lab.consoles.check()
    # The fenced one boots, cut off still: it must not fence back, nor start anything.
    lab.wait(f"{one.name} is up again", one.booted, timeout=300, poll=1)
    time.sleep(60)
    assert two.pid() == pids[two], "the fenced host fenced back"
    assert lab.runs_on("g1", two) and lab.runs_on("g2", two)
    lab.consoles.check()
    lab.heal()
    lab.cluster_ready()
    assert two.pid() == pids[two]
