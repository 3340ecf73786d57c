# SPDX-License-Identifier: GPL-2.0-or-later
"""HVM guests: added by command, moved live with their device model, stopped by Xen or by ACPI.

Each one's xl.cfg is on one host only. hvm1 has Xen's drivers and a disk. hvm2's kernel does not know
of Xen: it has a serial line, and the power button of ACPI is what stops it.
"""
import time

GROUP = "more"
LIMIT = 2400
# A firmware and a boot from emulated devices, on an emulated processor.
SLOW = 400
XL = """name = "{name}"
type = "hvm"
kernel = "/usr/lib/xvm-lab/guest-bzimage"
ramdisk = "/usr/lib/xvm-lab/guest-initrd.gz"
extra = "quiet tick=1000 {extra}"
memory = 128
vcpus = 1
vga = "none"
nographic = 1
"""
GUESTS = {
    "hvm1": XL.format(name="hvm1", extra="console=hvc0") +
    'disk = [ "phy:/dev/lab/disk5,xvda,w" ]\n',
    "hvm2": XL.format(name="hvm2", extra="console=ttyS0 xen_nopv") +
    'serial = "file:/var/log/xen/console/guest-hvm2.log"\n',
}


def run(lab):
    for name, text in GUESTS.items():
        try:
            one_life(lab, name, text)
        finally:
            lab.ctl("guest", "remove", name, "--force", check=False)
            for h in lab.hosts:
                h.ssh(f"xl destroy {name} 2>/dev/null; rm -f /etc/xen/{name}.cfg", check=False)


def one_life(lab, name, text):
    first = lab.hosts[0]
    first.ssh(f"cat >/etc/xen/{name}.cfg", stdin=text.encode())
    lab.ctl("guest", "add", "--xl-config", f"/etc/xen/{name}.cfg", host=first)
    source = lab.wait(f"{name} counts", lambda: lab.where(name), SLOW)
    life = lab.consoles.last(name).life
    target = next(h for h in lab.hosts if h is not source)
    start = time.monotonic()
    lab.ctl("move", name, target.name, "--type", "live", "--wait", timeout=900)
    lab.wait(f"{name} counts on {target.name}", lambda: lab.runs_on(name, target), SLOW)
    lab.say(f"{name}: moved in {time.monotonic() - start:.1f} s, silent for "
            f"{lab.consoles.gap(name, start):.1f} s")
    assert lab.consoles.last(name).life == life, "the guest began anew"
    # A line on a serial port may begin on one host and end on the other.
    lab.consoles.check(counters=[name] if "serial" not in text else [])

    phases = set()

    def stopped():
        g = lab.guest(name)
        if g:
            phases.add(g["stop_phase"])
        return g and g["condition"] == "stopped"
    lab.ctl("stop", name)
    lab.wait(f"{name} is stopped", stopped, SLOW)
    assert not phases & {"forced", "overdue"}, f"it had to be destroyed: {phases}"
    pressed = [text for _, _, guest, text in lab.consoles.lines
               if guest == name and "power button" in text]
    assert bool(pressed) == (name == "hvm2"), pressed
    for h in lab.hosts:
        assert lab.lacks(h, name), f"{name} is still on {h.name}"
