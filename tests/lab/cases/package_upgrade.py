# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package is installed and upgraded on living hosts, one after the other: guests go on."""
import glob
import subprocess
import tempfile

from lib import deploy, where

GROUP = "more"
LIMIT = 2400


def main_pid(host, unit):
    return host.ssh(f"systemctl show -P MainPID {unit}").stdout.strip()


def install(host, deb):
    with open(deb, "rb") as f:
        host.ssh("cat >/root/xvm-had.deb", stdin=f.read())
    host.ssh("DEBIAN_FRONTEND=noninteractive apt-get install -q -y --reinstall --no-install-recommends "
             "/root/xvm-had.deb", timeout=600)


def run(lab):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([where.TREE + "/contrib/package", folder], check=True,
                       stdout=subprocess.DEVNULL)
        (deb,) = glob.glob(folder + "/xvm-had_*.deb")
        lab.say("the package is built")
        lives = {g: lab.consoles.last(g).life for g in deploy.GUESTS}
        homes = {g: lab.where(g) for g in deploy.GUESTS}
        lab.consoles.clear()
        for which in ("installed over what is there", "upgraded"):
            for h in lab.hosts:
                one(lab, h, deb, which)
    for g in deploy.GUESTS:
        ticks = lab.consoles.of(g)
        assert {(t.life, t.host) for t in ticks} == {(lives[g], homes[g].name)}, f"{g} did not go on"
    lab.consoles.check(counters=deploy.GUESTS)
    # It cannot be taken from under a host that takes part.
    r = lab.hosts[0].ssh("apt-get remove -q -y xvm-had", check=False, timeout=300)
    assert r.returncode != 0 and "First take this host out" in r.stdout + r.stderr, r
    lab.wait("all hosts are in", lambda: deploy.all_in(lab.status(), lab.hosts))


def one(lab, host, deb, which):
    keeper, daemon = main_pid(host, "xvm-ha-keeper"), main_pid(host, "xvm-had")
    install(host, deb)
    if which == "upgraded":
        lab.wait(f"{host.name} runs the new daemon",
                 lambda: main_pid(host, "xvm-had") not in ("0", daemon))
    lab.wait(f"{host.name}: {which}", lambda: deploy.all_in(lab.status(), lab.hosts))
    assert main_pid(host, "xvm-ha-keeper") == keeper, "the keeper was restarted"
