#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The systemd units: they load without a complaint, in no circle, and at shutdown xvm-ha-leave is stopped
before everything that guests and cluster stand on; what is stopped by hand or restarted takes nothing along.

  test_units.py CONF_DIR
"""
import os
import re
import subprocess
import sys
import tempfile

UNITS = ["xvm-had.service", "xvm-ha-keeper.service", "xvm-ha-leave.service"]
# A guest's life hangs on these: Debian's names, and other distributions'.
BEFORE = ["xvm-had.service", "xvm-ha-keeper.service", "corosync.service", "xen.service",
          "xenstored.service", "xenconsoled.service", "xen-init-dom0.service", "xendomains.service",
          "networking.service", "systemd-networkd.service", "network.target", "network-online.target",
          "remote-fs.target", "iscsid.service", "open-iscsi.service", "multipathd.service"]


def read(path):
    """{key: [words]} of all sections."""
    found = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            key, sep, value = line.strip().partition("=")
            if sep and not key.startswith("#"):
                found.setdefault(key, []).extend(value.split())
    return found


def verify(conf, folder):
    """systemd loads the units beside stubs of all they name; programs are stand-ins, for nothing is installed."""
    for name in UNITS:
        with open(f"{conf}/{name}", encoding="utf-8") as f:
            text = re.sub(r"=/usr/s?bin/xvm[a-z-]+", "=/bin/true", f.read())
        with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
    named = set()
    for name in UNITS:
        unit = read(f"{folder}/{name}")
        named |= {u for key in ("After", "Before", "Wants") for u in unit.get(key, [])}
    for name in named - set(UNITS):
        path = f"{folder}/{name}"
        if name.endswith(".service") and "@" not in name:
            with open(path, "w", encoding="utf-8") as f:
                f.write("[Unit]\nDescription=stub\n[Service]\nExecStart=/bin/true\n")
    env = dict(os.environ, SYSTEMD_UNIT_PATH=f"{folder}:/lib/systemd/system")
    r = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=one"] +
                       [f"{folder}/{name}" for name in UNITS], env=env, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    ours = [line for line in r.stdout.splitlines() if "xvm" in line or "cycle" in line]
    assert r.returncode == 0 and not ours, f"systemd-analyze: {r.returncode}\n{r.stdout}"


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|min)?", text).groups()
    return int(number) * (60 if unit == "min" else 1)


def main():
    conf = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        verify(conf, folder)
    leave, had = read(f"{conf}/xvm-ha-leave.service"), read(f"{conf}/xvm-had.service")
    missing = [u for u in BEFORE if u not in leave["After"]]
    assert not missing, f"xvm-ha-leave.service is not stopped before {', '.join(missing)}"
    # Stopped at shutdown and only then: by shutdown.target (the default dependencies), by nobody else.
    for key in ("DefaultDependencies", "PartOf", "BindsTo", "Requires", "Conflicts", "Before"):
        assert key not in leave, f"xvm-ha-leave.service has {key}"
    assert leave["RefuseManualStop"] == ["yes"] and leave["RemainAfterExit"] == ["yes"]
    assert leave["ExecStop"] == ["/usr/sbin/xvmhactl", "leave", "--force"]
    assert "xvm-ha-leave.service" in had["Wants"], "nobody starts xvm-ha-leave.service"
    # Within the half hour after which reboot.target and poweroff.target do it by force, and longer than the
    # 25 minutes that the configuration allows.
    assert 25 * 60 < seconds(leave["TimeoutStopSec"][0]) < 30 * 60
    # Stop and restart of the daemon end no guest and no worker.
    assert had["KillMode"] == ["process"] and "SendSIGKILL" not in had
    for key in ("Requires", "BindsTo", "PartOf"):
        assert key not in had, f"xvm-had.service has {key}: it would be stopped along"
    print("units: loaded, ordered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
