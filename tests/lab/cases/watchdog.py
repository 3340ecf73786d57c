# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's own watchdog: nobody pets xen_wdt, and Xen resets the host."""
GROUP = "base"
TIMEOUT = 10


def run(lab):
    host = lab.hosts[-1]
    before = lab.boot_id(host)
    # Opening arms it. The sleeping shell holds it open and never writes to it.
    host.ssh(f"modprobe xen_wdt timeout={TIMEOUT} && cat /sys/class/watchdog/watchdog0/identity && "
             "(setsid sleep 1000 9>/dev/watchdog >/dev/null 2>&1 </dev/null &)")
    begin = host.pid()
    lab.wait("the host is silent", lambda: host.restarted(), timeout=90, poll=0.2)
    assert host.pid() == begin, "the machine's power was never touched: it reset itself"
    host.forget_ssh()
    lab.heal()
    lab.say("up again")
    assert lab.boot_id(host) not in (None, before)
