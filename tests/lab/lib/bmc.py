# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts' BMCs: ipmi_sim, each with an address of its own, acting on its host's power."""
import os
import subprocess

from . import host, net, where

LAN = """name "{name}"
set_working_mc 0x20
  startlan 1
    addr {address} 623
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid 77ab0000000000000000000000{number:06x}
  endlan
  chassis_control "{control}"
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
MC = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


def start(number):
    """Starts the BMC of a host."""
    folder = where.host_dir(number)
    os.makedirs(folder + "/bmc")
    control = f"{where.LAB}/lab bmc-control {where.name()} {number}"
    with open(folder + "/bmc/lan.conf", "w", encoding="ascii") as f:
        f.write(LAN.format(name=f"host{number}", address=where.bmc_address(number), number=number,
                           control=control, user=where.BMC_USER, password=where.BMC_PASSWORD))
    with open(folder + "/bmc/emu", "w", encoding="ascii") as f:
        f.write(MC)
    with open(folder + "/bmc/log", "wb") as log:
        subprocess.Popen(net.command(["ipmi_sim", "-c", folder + "/bmc/lan.conf", "-f",
                                      folder + "/bmc/emu", "-s", folder + "/bmc", "-n"]),
                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def control(machine, args):
    """The chassis-control program: `get NAME...` and `set NAME VALUE...` as ipmi_sim asks them."""
    # The arguments begin with the address of the management controller.
    args = [a for a in args if not a.startswith("0x")]
    if args and args[0] == "get":
        for what in args[1:]:
            if what != "power":
                raise where.LabError(f"bmc: cannot get {what}")
            print(f"power:{1 if machine.powered() else 0}")
    elif args and args[0] == "set":
        for what, value in zip(args[1::2], args[2::2]):
            if what == "power":
                (machine.on if value == "1" else machine.off)()
            elif what == "reset":
                machine.reset()
            elif what == "shutdown":
                machine.off()
            elif what not in ("boot", "identify"):
                raise where.LabError(f"bmc: cannot set {what}")
    elif not (args and args[0] == "check"):
        raise where.LabError(f"bmc: does not understand {args}")


def ipmitool(number, *command, timeout=20):
    """Asks a host's BMC over IPMI, as a fence agent would; returns its answer."""
    r = net.run(["ipmitool", "-I", "lanplus", "-C", "3", "-H", where.bmc_address(number), "-U",
                 where.BMC_USER, "-P", where.BMC_PASSWORD, *command], timeout=timeout)
    return r.stdout.strip()
