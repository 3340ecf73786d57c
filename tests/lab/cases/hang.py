# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that hangs, is reset through its BMC, and comes back as another life."""
GROUP = "base"


def run(lab):
    hung, other = lab.hosts[1], lab.hosts[0]
    before = lab.boot_id(hung)
    hung.hang()
    assert hung.state() == "paused"
    lab.wait("corosync: the host is out", lambda: lab.members(other) and
             hung.number not in lab.members(other)[1])
    assert lab.power(hung, "status") == "Chassis Power is on"
    hung.resume()
    lab.wait("it goes on where it stopped, and is back in the ring",
             lambda: lab.members(other) == (True, {h.number for h in lab.hosts}))
    assert lab.boot_id(hung) == before
    hung.hang()
    lab.power(hung, "reset")
    lab.heal()
    lab.say("reset through the BMC, up again")
    assert lab.boot_id(hung) not in (None, before), "the host went on where it was"
