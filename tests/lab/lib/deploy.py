# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts xvm-had on the hosts, as `meson install` would, with a configuration, and starts it."""
import concurrent.futures
import io
import json
import os
import subprocess
import tarfile
import tempfile

from . import cluster, where
from .wait import wait_until

PASSWORD_FILE = "/etc/xvm-ha/ipmi.password"
# Keys of xvm-ha.yaml. g4 and g5 are left for tests that start guests by hand.
GUESTS = {"g1": {"priority": 900}, "g2": {"priority": 500}, "pv1": {"priority": 300},
          "g3": {"priority": 100}}


def config(count, driver, guests):
    """xvm-ha.yaml for a lab of `count` hosts."""
    lines = ["# Written by the lab.", "cluster: {name: lab}", f"driver: {driver}",
             "watchdog: {device: xen, timeout: 10s}"]
    if driver == "process":
        lines.append("process: {shared_dir: /var/lib/xvm-lab, memory: 512M}")
    lines.append("fence_devices:")
    for n in range(1, count + 1):
        lines += [f"  ipmi-{n}:", "    agent: fence_ipmilan",
                  f"    options: {{ip: {where.bmc_address(n)}, username: {where.BMC_USER}, "
                  "lanplus: 1, cipher: 3}",
                  f"    secrets: {{password: {PASSWORD_FILE}}}",
                  "    timeout: 60s"]
    own = ", self" if count > 2 else ""
    lines.append("hosts:")
    lines += [f"  host{n}: {{id: {n}, fence: [ipmi-{n}{own}]}}" for n in range(1, count + 1)]
    lines.append("guests:" if guests else "guests: {}")
    for name, keys in guests.items():
        keys = dict({"memory": "96M"}, **keys)
        if driver == "libxl":
            keys["config"] = f"/etc/xen/{name}.cfg"
        lines.append(f"  {name}: {{{', '.join(f'{k}: {v}' for k, v in keys.items())}}}")
    return "\n".join(lines) + "\n"


def _steps(*steps):
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        try:
            for argv in steps:
                subprocess.run(argv, check=True, stdout=log, stderr=log)
        except subprocess.CalledProcessError as e:
            log.seek(0)
            raise where.LabError("deploy: the build failed:\n" + log.read()[-3000:]) from e


def compile_for(tree):
    """Builds the tree for a dom0. Returns the build folder."""
    folder = tree + "/build-lab"
    if not os.path.exists(folder + "/build.ninja"):
        _steps(["meson", "setup", folder, tree, "--prefix=/usr", "--sysconfdir=/etc"])
    _steps(["ninja", "-C", folder])
    return folder


def build(tree):
    """Builds the tree for a dom0 and returns the folder that holds the installed files."""
    folder = compile_for(tree)
    target = tempfile.mkdtemp(prefix="xvm-lab-deploy.")
    _steps(["meson", "install", "-C", folder, "--no-rebuild", "--strip", "--destdir", target])
    return target


def archive(folder, files):
    """A tar of what is installed, and of further files {path: (text, mode)}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(f"{folder}/{name}", arcname=name, filter=_as_root)
        for path, (text, mode) in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.size, info.mode = len(text.encode()), mode
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def _as_root(info):
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


INSTALL = """set -e
tar xzmf - -C / --no-overwrite-dir
mkdir -p /var/lib/xvm-lab
chmod 700 /etc/xvm-ha
systemd-sysusers
systemd-tmpfiles --create xvm-had.conf
xvm-had --check-config /etc/xvm-ha.yaml
systemctl daemon-reload
systemctl enable --quiet xvm-ha-keeper xvm-had
# A keeper that is armed does not end when it is told to; the one that follows a killed one takes over.
systemctl kill --kill-who=main -s KILL xvm-ha-keeper 2>/dev/null || true
systemctl restart xvm-had
"""


def deploy(tree, driver="libxl", guests=None):
    """Installs on all hosts that have power, starts, founds the cluster if it is new."""
    hosts = [h for h in cluster.hosts() if h.powered()]
    guests = GUESTS if guests is None else guests
    folder = build(tree)
    try:
        data = archive(folder, {
            "/etc/xvm-ha.yaml": (config(len(cluster.hosts()), driver, guests), 0o644),
            PASSWORD_FILE: (where.BMC_PASSWORD + "\n", 0o600)})
    finally:
        subprocess.run(["rm", "-rf", "--", folder], check=True)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda h: h.ssh(INSTALL, stdin=data, timeout=300), hosts))
    found(hosts)


def found(hosts):
    """`xvmhactl init` on the first host, once all daemons are in touch; never a second time."""
    def in_touch():
        s = status(hosts[0])
        return s if s and sum(1 for x in s["hosts"] if x["daemon"]) == len(hosts) else None
    s = wait_until("all daemons to be in touch", in_touch, 180, poll=1)
    if not s["founded"]:
        hosts[0].ssh("xvmhactl init")
    wait_until("all hosts to be in", lambda: all_in(status(hosts[0]), hosts), 180, poll=1)


def all_in(s, hosts):
    """Whether these hosts are synced members of the cluster."""
    names = {h.name for h in hosts}
    return s and all(x["synced"] and x["state"] == "in" for x in s["hosts"] if x["name"] in names)


def status(host):
    """The cluster as this host's daemon sees it, or None if it does not say."""
    try:
        r = host.ssh("xvmhactl status --json", timeout=30, check=False)
        return json.loads(r.stdout) if r.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        return None
