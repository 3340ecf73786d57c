# SPDX-License-Identifier: GPL-2.0-or-later
"""A host's cable pulled and put back: corosync's membership follows, the BMC stays in reach."""
from lib import net, where

GROUP = "base"


def run(lab):
    cut, others = lab.hosts[-1], lab.hosts[:-1]
    everybody = {h.number for h in lab.hosts}
    before = lab.boot_id(cut)
    net.cut(cut.number)
    rest = everybody - {cut.number}
    lab.wait("the others form a ring of their own",
             lambda: all(lab.members(h) == (True, rest) for h in others))
    assert lab.power(cut, "status") == "Chassis Power is on"
    net.bmc_cut(cut.number)
    r = net.run(["ping", "-c", "1", "-W", "2", where.bmc_address(cut.number)], check=False)
    assert r.returncode != 0, "the BMC's cable is pulled, and it answers"
    net.bmc_join(cut.number)
    assert lab.power(cut, "status") == "Chassis Power is on"
    net.join(cut.number)
    lab.wait("one ring again",
             lambda: all(lab.members(h) == (True, everybody) for h in lab.hosts))
    assert lab.boot_id(cut) == before, "a cable's way out and in must not reboot a host"
