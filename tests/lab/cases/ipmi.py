# SPDX-License-Identifier: GPL-2.0-or-later
"""Power by IPMI: fence_ipmilan in one dom0 takes another's power, verifies, gives it back."""
import time

from lib import where

GROUP = "base"
AGENT = ("fence_ipmilan --ip {ip} --username " + where.BMC_USER + " --password {password} "
         "--lanplus --cipher 3 -o {action} 2>&1")


def agent(host, target, action, password=where.BMC_PASSWORD):
    """Runs the fence agent on `host` against `target`; (exit code, its words)."""
    command = AGENT.format(ip=where.bmc_address(target.number), action=action, password=password)
    r = host.ssh(command, check=False, timeout=300)
    return r.returncode, r.stdout.strip().splitlines()[-1]


def run(lab):
    one, two = lab.hosts[:2]
    assert agent(one, two, "status") == (0, "Status: ON")
    status, words = agent(one, two, "off", password="wrong")
    assert status != 0, words
    assert two.powered(), "a wrong password took the power away"
    begin = time.monotonic()
    status, words = agent(one, two, "off")
    assert status == 0, words
    assert not two.powered(), "the agent says off, the host has power"
    lab.say(f"off, verified by the agent, in {time.monotonic() - begin:.1f} s")
    assert agent(one, two, "status") == (2, "Status: OFF")
    assert agent(one, two, "off")[0] == 0, "off of a host that is off must succeed"
    lab.wait("corosync: the host is out", lambda: lab.members(one) and
             two.number not in lab.members(one)[1])
    assert agent(one, two, "on")[0] == 0
    assert two.powered()
    begin = time.monotonic()
    lab.heal()
    lab.say(f"on again, and in the ring, after {time.monotonic() - begin:.1f} s")
    assert lab.power(two, "status") == "Chassis Power is on"
