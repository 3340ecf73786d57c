# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of nodes that run corosync, xvm-ha-keeper and xvm-had, and the questions tests ask it."""
import json
import os
import shutil
import subprocess
import sys

from . import config, corosync
from .bmc import Bmc
from .node import Node
from .power import PowerNetwork
from .room import wait_until
from .witness import Witness

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(HERE + "/../../..")


def program(name):
    """Path of a built program (or of one that needs no building)."""
    build = os.environ.get("XVM_HA_BUILD", TREE + "/build")
    for path in (f"{build}/daemon/{name}", f"{build}/{name}", f"{TREE}/fence/{name}",
                 f"{build}/fence/{name}"):
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(f"{name} is not built (looked below {build}); run meson and ninja first")


def default_guests(hosts, each=2):
    """`each` guests a host: db… are the most important, then web…, then the rest."""
    kinds = [("db", 900), ("web", 500), ("build", 100)]
    guests = {}
    for i in range(len(hosts) * each):
        kind, priority = kinds[i // len(hosts)] if each <= 3 else ("g", 100)
        name = f"{kind}{i % len(hosts) + 1}" if each <= 3 else f"g{i + 1:03d}"
        guests[name] = {"memory": "64M", "priority": priority}
    return guests


class Cluster:
    def __init__(self, room, n=3, guests=None, each=2, token_ms=1000, watchdog=True,
                 clock_offsets=None, **options):
        self.room = room
        names = [f"host{i}" for i in range(1, n + 1)]
        self.guests = guests if guests is not None else default_guests(names, each)
        self.corosync_conf = corosync.config(names, token_ms, two_node=n == 2)
        self.nodes = [Node(room, i, name) for i, name in enumerate(names, 1)]
        self.by_name = {x.name: x for x in self.nodes}
        self.options = options
        self.options.setdefault("watchdogs", "/run/watchdog" if watchdog else None)
        self.watchdog = watchdog
        agents = {"fence_xvm_node": program("fence_xvm_node"), "fence_broken": HERE + "/fence_broken",
                  "fence_liar": HERE + "/fence_liar"}
        self.bmcs = {}
        if "ipmi" in str(options.get("levels", ())):
            agents["fence_ipmilan"] = shutil.which("fence_ipmilan")
            self.bmcs = {x.name: Bmc(room, x, agents["fence_xvm_node"]) for x in self.nodes}
            self.options["bmcs"] = self.bmcs
        self.power = PowerNetwork(room, agents)
        self.witness = Witness(room.shared_dir)
        self.daemon_args = []
        self.clock_offsets = clock_offsets or {}  # host name -> seconds ahead
        self.small_disks = {}  # host name -> size of the file system that holds its state
        self.authkey = os.urandom(256)
        for x in self.nodes:
            self.write_authkey(x)
            x.on_boot = self.boot
            x.power_on_after = None
            self.write_config(x)

    # ------------------------------------------------------------ start, stop

    def config_text(self, guests=None):
        return config.text(self.room, [x.name for x in self.nodes],
                           self.guests if guests is None else guests, **self.options)

    def config_path(self, node):
        return node.dir + "/etc/xvm-ha.yaml"

    def state_dir(self, node):
        return node.dir + "/var/lib/xvm-had"

    def write_config(self, node, text=None):
        with open(self.config_path(node), "w", encoding="utf-8") as f:
            f.write(text if text is not None else self.config_text())

    def write_authkey(self, node, key=None):
        """The cluster's key, as corosync-keygen makes it; None: the same as on the others."""
        path = node.dir + "/etc/corosync/authkey"
        with open(path + ".new", "wb") as f:
            os.fchmod(f.fileno(), 0o400)
            f.write(key or self.authkey)
        os.rename(path + ".new", path)

    def boot(self, node):
        """What systemd does on a host after power on."""
        if self.watchdog:
            # The device file of this node; the hardware behind it is outside.
            node.run("sh", "-c", f"touch /run/watchdog && mount --bind {node.watchdog.path} "
                     "/run/watchdog", check=True)
        if node.name in self.small_disks:
            node.run("mount", "-t", "tmpfs", "-o", f"size={self.small_disks[node.name]}", "disk",
                     self.state_dir(node), check=True)
        node.start_corosync(self.corosync_conf)
        self.start_daemons(node)

    def start_daemons(self, node, names=("keeper", "xvm-had")):
        run = "/run/xvm-had"
        node.run("mkdir", "-p", run, check=True)
        common = ["--run-dir", run, "--boot-id", node.boot_id, "--log-target=console"]
        if self.watchdog:
            keeper = [program("xvm-ha-keeper"), *common, "--watchdog", "/run/watchdog"]
        else:
            keeper = [program("xvm-ha-keeper"), *common]
        if "keeper" in names:
            node.serve("keeper", keeper)
        if "xvm-had" not in names:
            return
        node.serve("xvm-had", [
            program("xvm-had"), *common, "--config", self.config_path(node),
            "--state-dir", self.state_dir(node), "--machine-id", node.machine_id,
            "--agent-dir", self.power.agent_dir, *self.daemon_args],
            env=dict(os.environ, XVM_HA_GUEST=program("xvm-ha-guest"), **self.skew(node)))

    def skew(self, node):
        """Environment of a program whose time of day is wrong."""
        if node.name not in self.clock_offsets:
            return {}
        library = self.room.folder + "/skew.so"
        if not os.path.exists(library):
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE + "/skew.c"], check=True)
        return {"LD_PRELOAD": library, "SKEW_S": str(self.clock_offsets[node.name])}

    def power_on(self, nodes=None):
        for x in nodes or self.nodes:
            x.power_on()

    def start(self, timeout=60, without=()):
        """Powers on all nodes, founds the cluster, waits until every guest (but `without`) runs.

        Guests are added once all hosts are ready for them, so that each host gets its share."""
        for x in self.nodes:
            self.write_config(x, self.config_text(guests={}))
        self.power_on()
        wait_until("corosync's ring", lambda: self.ring(self.nodes), timeout)
        self.found(timeout)
        wait_until("all hosts to be ready", self.all_ready, timeout)
        for x in self.nodes:
            self.write_config(x)
            self.ctl(x, "reload")
        self.wait_all_run([g for g in self.guests if g not in without], timeout=timeout)
        return self

    def found(self, timeout=60):
        """`xvmhactl init`, once all daemons are in touch."""
        first = self.nodes[0]
        wait_until("all daemons to be in touch",
                   lambda: sum(1 for h in (self.status(first) or {}).get("hosts", [])
                               if h.get("daemon")) == len(self.nodes), timeout)
        self.ctl(first, "init")

    def all_ready(self):
        hosts = (self.status(self.nodes[0]) or {}).get("hosts", [])
        return len(hosts) == len(self.nodes) and all(
            h["synced"] and h["state"] == "in" for h in hosts) and (
                not self.watchdog or all(x.watchdog.timeout for x in self.nodes))

    def ring(self, nodes):
        return all(x.membership() == (True, len(nodes)) for x in nodes)

    # -------------------------------------------------------------- questions

    def live(self):
        return [x for x in self.nodes if x.powered]

    def ctl(self, node, *args, check=True, timeout=30):
        """xvmhactl on a node. Raises with its words if it fails."""
        r = node.run(program("xvmhactl"), *args, timeout=timeout)
        if check and r.returncode != 0:
            raise RuntimeError(f"xvmhactl {' '.join(args)} on {node.name}: exit {r.returncode}: "
                               f"{r.stdout}{r.stderr}")
        return r

    def status(self, node):
        """The status as that node's daemon sees it, or None if it does not answer."""
        try:
            r = self.ctl(node, "status", "--json", check=False, timeout=10)
            return json.loads(r.stdout) if r.returncode == 0 else None
        except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
            return None

    def any_status(self):
        for x in self.live():
            s = self.status(x)
            if s and s.get("quorate"):
                return s
        return None

    def coordinator(self):
        s = self.any_status()
        name = s.get("coordinator") if s else None
        return self.by_name.get(name)

    def guest_status(self, name, node=None):
        s = self.status(node) if node else self.any_status()
        return next((g for g in (s or {}).get("guests", []) if g["name"] == name), None)

    def where(self, guest):
        return self.witness.where(guest)

    def guests_on(self, node):
        return sorted(g for g in self.guests if self.where(g) == node.name)

    def wait_all_run(self, guests=None, on=None, timeout=60):
        """Waits until all guests run (on the nodes `on`, if given). Says which do not."""
        names = list(guests if guests is not None else self.guests)
        allowed = {x.name for x in on} if on else None
        missing = names

        def done():
            nonlocal missing
            places = self.witness.map(names)
            missing = [f"{g}@{h}" if h else g for g, h in places.items()
                       if h is None or (allowed and h not in allowed)]
            return not missing
        try:
            wait_until("guests", done, timeout)
        except TimeoutError:
            raise TimeoutError(f"after {timeout:g} s these guests do not run where they should: "
                               f"{', '.join(missing)}\n{self.describe()}") from None

    def describe(self):
        """The status as text, from whoever answers, for failure messages."""
        for x in self.live():
            try:
                r = self.ctl(x, "status", check=False, timeout=5)
                if r.returncode == 0:
                    return f"--- xvmhactl status on {x.name}\n{r.stdout}"
            except (OSError, subprocess.TimeoutExpired):
                pass
        return "(no daemon answers)"

    def runs_after(self, guest, since):
        """Lives of a guest that began after a time."""
        return [r for r in self.witness.history(guest) if r.first > since]

    def check_disks(self):
        """The checker over all disks: no two hosts ever wrote at once. Raises with its words."""
        check_disks(self.room)


def check_disks(room):
    checker = TREE + "/tests/cluster/check_disks.py"
    r = subprocess.run([sys.executable, checker, room.shared_dir], text=True, capture_output=True,
                       check=False, stdin=subprocess.DEVNULL)
    if r.returncode != 0:
        raise AssertionError(f"check_disks: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout.strip()
