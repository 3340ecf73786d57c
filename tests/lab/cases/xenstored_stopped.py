# SPDX-License-Identifier: GPL-2.0-or-later
"""xenstored stopped: the daemon stays responsive, says what it does not know, starts nothing."""
import time


def run(lab):
    host = lab.where("g1")
    lives = {g: lab.consoles.last(g).life for g in ("g1", "g2")}
    # The pid from the file: a lookup by name would find other things, too.
    host.ssh("kill -STOP $(cat /run/xenstore.pid)")
    try:
        slowest, words = 0.0, ""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            begin = time.monotonic()
            r = lab.ctl("status", host=host, timeout=60)
            slowest = max(slowest, time.monotonic() - begin)
            words = r.stdout
            time.sleep(3)
        lab.say(f"status answers, after {slowest:.1f} s at the slowest")
        assert "what runs there is unknown" in " ".join(words.split()), f"it says nothing:\n{words}"
        for g, life in lives.items():
            t = lab.consoles.alive(g, within=10)
            assert t and t.life == life, f"{g} must not be touched: its host only does not answer"
    finally:
        host.ssh("kill -CONT $(cat /run/xenstore.pid)")
    lab.wait("all is known again", lambda: (lab.guest("g1") or {}).get("condition") == "running")
    lab.consoles.check(counters=["g1"])
