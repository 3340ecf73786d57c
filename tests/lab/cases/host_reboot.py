# SPDX-License-Identifier: GPL-2.0-or-later
"""A host reboots: its PVH guest goes on counting elsewhere, nobody is fenced, and it is a member again."""
import subprocess
import time

from lib import deploy

GROUP = "more"
LIMIT = 2400


def fences(lab):
    """What every host's daemon remembers of fencing; the clocks of its lines do not change."""
    return [lab.ctl("fence", "history", "-n", "1000", host=h).stdout for h in lab.hosts]


def unit(host, name):
    return host.ssh(f"systemctl show -P ActiveState {name}").stdout.strip()


def run(lab):
    victim = lab.where("g1")
    others = [h for h in lab.hosts if h is not victim]
    guests = [g for g in ("g1", "g2", "g3", "pv1") if lab.where(g) is victim]
    assert "g1" in guests and unit(victim, "xvm-ha-leave.service") == "active"
    life = lab.consoles.last("g1").life
    # 1: the daemon is restarted, as by an upgrade: nothing is stopped, nothing is moved
    quiet = time.monotonic()
    victim.ssh("systemctl restart xvm-had", timeout=120)
    lab.wait("the daemon is back", lambda: deploy.all_in(lab.status(), lab.hosts))
    for g in guests:
        assert {t.host for t in lab.consoles.of(g, quiet)} == {victim.name}, f"{g} was moved"
    assert lab.consoles.last("g1").life == life
    # 2: the host reboots
    machine, boot, before = victim.pid(), lab.boot_id(victim), fences(lab)
    lab.say(f"{victim.name} runs {', '.join(guests)}; systemctl reboot")
    begin = time.monotonic()
    try:
        victim.ssh("systemctl reboot", check=False, timeout=60)
    except subprocess.TimeoutExpired:
        pass

    def host():
        status = lab.status(others[0])
        return next((h for h in status["hosts"] if h["name"] == victim.name), {}) if status else {}

    lab.wait("it says that it goes down",
             lambda: host().get("goes_down") or host().get("state") == "out", timeout=120)
    lab.wait("g1 counts elsewhere", lambda: lab.runs_on("g1", *others), timeout=600)
    assert lab.consoles.last("g1").life == life, "g1 was started anew: it did not move alive"
    lab.say(f"g1 was silent for {lab.consoles.gap('g1', begin):.1f} s")
    lab.wait("it has said goodbye", lambda: host().get("state") == "out", timeout=700)
    lab.say(f"after {time.monotonic() - begin:.1f} s")
    for g in guests:
        lab.wait(f"{g} counts elsewhere", lambda g=g: lab.runs_on(g, *others), timeout=400)
    lab.wait("it has booted again", lambda: victim.booted() and
             lab.boot_id(victim) not in (None, boot), timeout=600)
    lab.wait("it is a member again", lambda: deploy.all_in(lab.status(), lab.hosts), timeout=300)
    assert victim.pid() == machine, "its power was taken away: it was fenced"
    after = fences(lab)
    assert after == before, f"something was fenced or lost:\n{before}\n{after}"
    status = lab.host_status(victim.name)
    assert status["state"] == "in" and not status["goes_down"] and not status["maintenance"]
    for g in guests:
        assert lab.where(g) in others, f"{g} came back, though failback is never"
    lab.consoles.check(counters=["g1"])
    # 3: it takes guests again
    lab.ctl("move", "g1", victim.name, "--wait", timeout=600)
    lab.wait("g1 counts at home", lambda: lab.runs_on("g1", victim))
    assert lab.consoles.last("g1").life == life
    log = victim.ssh("journalctl -b -1 -u xvm-ha-leave --no-pager 2>/dev/null; true").stdout
    lab.say("what it said while it went down:\n" + "\n".join(f"      {x}" for x in
                                                            log.strip().splitlines()[-12:]))
