# SPDX-License-Identifier: GPL-2.0-or-later
"""A PVH guest moves live, back and forth ten times: its counter goes on without a gap."""
import time

LIMIT = 1800
MOVES = 10


def run(lab):
    here = lab.where("g1")
    ends = [next(h for h in lab.hosts if h is not here), here]
    life = lab.consoles.last("g1").life
    begin = time.monotonic()
    for i in range(MOVES):
        target = ends[i % 2]
        start = time.monotonic()
        lab.ctl("move", "g1", target.name, "--type", "live", "--wait", timeout=600)
        seconds = time.monotonic() - start
        lab.wait(f"g1 counts on {target.name}", lambda t=target: lab.runs_on("g1", t))
        time.sleep(0.5)
        lab.say(f"move {i + 1}: {seconds:.1f} s, silent for {lab.consoles.gap('g1', start):.1f} s")
    assert {t.life for t in lab.consoles.of("g1", begin)} == {life}, "the guest began anew"
    lab.consoles.check(counters=["g1"])
