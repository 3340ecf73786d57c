# SPDX-License-Identifier: GPL-2.0-or-later
"""Pacemaker's side of the failover benchmark: Debian's own packages, resources that only touch a
file, the same nodes, corosync, token and fence agent as the other side."""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.abspath(HERE + "/../../cluster"))
from lib import corosync  # noqa: E402
from lib.cluster import program  # noqa: E402
from lib.node import Node  # noqa: E402
from lib.power import PowerNetwork  # noqa: E402
from lib.room import wait_until  # noqa: E402

NAME = "Pacemaker"
DUMMY = "/usr/lib/ocf/resource.d/pacemaker/Dummy"


def missing():
    """What is not installed, or None."""
    for path in ("/usr/sbin/pacemakerd", "/usr/sbin/cibadmin", "/usr/sbin/crmadmin", DUMMY):
        if not os.path.exists(path):
            return f"{path} (contrib/setup bench)"
    return None


def version():
    r = subprocess.run(["/usr/sbin/pacemakerd", "--version"], text=True, capture_output=True,
                       check=False, stdin=subprocess.DEVNULL)
    return (r.stdout.splitlines() or ["Pacemaker ?"])[0].strip()


class Pacemaker:
    def __init__(self, room, each, token, patience):
        self.room, self.each, self.patience = room, each, patience
        names = [f"host{i}" for i in (1, 2, 3)]
        self.conf = corosync.config(names, token)
        self.nodes = [Node(room, i, name) for i, name in enumerate(names, 1)]
        self.power = PowerNetwork(room, {"fence_xvm_node": program("fence_xvm_node")})
        for x in self.nodes:
            x.on_boot = self.boot
            x.power_on_after = None
            for d in ("cib", "pengine", "blackbox", "cores"):
                path = f"{x.dir}/var/lib/pacemaker/{d}"
                os.makedirs(path)
                shutil.chown(path, "hacluster", "haclient")
            shutil.chown(f"{x.dir}/var/lib/pacemaker", "hacluster", "haclient")

    def boot(self, node):
        """Pacemaker looks for fence agents in /usr/sbin only: the node sees the relay there."""
        agents = self.power.agent_dir
        node.run("sh", "-ec", f"""
            mount --bind {node.dir}/var/lib/pacemaker /var/lib/pacemaker
            mount -t overlay -o lowerdir={agents}:/usr/sbin overlay /usr/sbin
            mkdir -p /run/crm /run/resource-agents
            chown hacluster:haclient /run/crm
            """, check=True)
        node.start_corosync(self.conf)
        wait_until("corosync", lambda: node.membership() is not None, 30)
        log = f"{node.dir}/log/pacemaker-detail.log"
        node.serve("pacemakerd", ["/usr/sbin/pacemakerd"], restart=False,
                   env=dict(os.environ, PCMK_logfile=log, PCMK_logpriority="notice",
                            PCMK_logfacility="none", HA_cluster_type="corosync"))

    def sh(self, node, *argv, text=None, timeout=120):
        return subprocess.run(node.enter(list(argv)), text=True, capture_output=True, input=text,
                              timeout=timeout, check=True)

    # ------------------------------------------------------------------ what runs

    def resources(self):
        """[(name, home)]"""
        return [(f"g{i:04d}", self.nodes[i % 3].name) for i in range(3 * self.each)]

    def cib(self):
        # As often as is usual, but never so often that watching is all that the nodes do.
        every = max(10, self.each // 5)
        names = " ".join(x.name for x in self.nodes)
        nv = [("nodes_dir", self.room.nodes_dir), ("pcmk_host_list", names),
              ("pcmk_host_check", "static-list"), ("pcmk_host_argument", "plug")]
        attributes = "".join(f'<nvpair id="power-{k}" name="{k}" value="{v}"/>' for k, v in nv)
        resources = ('<primitive id="power" class="stonith" type="fence_xvm_node">'
                     f'<instance_attributes id="power-a">{attributes}</instance_attributes>'
                     "</primitive>")
        places = ""
        for name, home in self.resources():
            resources += (f'<primitive id="{name}" class="ocf" provider="pacemaker" type="Dummy">'
                          f'<operations><op id="{name}-m" name="monitor" interval="{every}s" '
                          'timeout="20s"/></operations></primitive>')
            places += f'<rsc_location id="l-{name}" rsc="{name}" node="{home}" score="100"/>'
        return (f"<configuration><resources>{resources}</resources>"
                f"<constraints>{places}</constraints></configuration>")

    def start(self):
        for x in self.nodes:
            x.power_on()
        wait_until("a coordinator", self.coordinator, 120, 0.5)
        node = self.nodes[0]
        for key, value in (("stonith-enabled", "true"), ("stonith-action", "off")):
            self.sh(node, "crm_attribute", "-t", "crm_config", "-n", key, "-v", value)
        self.sh(node, "cibadmin", "-M", "-o", "configuration", "-p", text=self.cib())
        self.settle()

    def settled(self):
        for x in self.nodes:
            if sorted(self.starts(x)) != [r for r, home in self.resources() if home == x.name]:
                return False
        return self.idle()

    def settle(self):
        wait_until("the resources to be where they belong", self.settled, self.patience, 0.5)

    def idle(self):
        chair = self.coordinator()
        if not chair:
            return False
        r = chair.run("crmadmin", "-t", "5", "-S", chair.name, "-q", timeout=20)
        return "S_IDLE" in r.stdout + r.stderr

    def coordinator(self):
        for x in self.nodes:
            if not x.powered:
                continue
            try:
                # crmadmin -D hangs before the first election.
                r = x.run("cibadmin", "-Q", "-l", "--no-children", timeout=20)
            except subprocess.TimeoutExpired:
                continue
            m = re.search(r'dc-uuid="(\d+)"', r.stdout)
            if m and self.nodes[int(m.group(1)) - 1].powered:
                return self.nodes[int(m.group(1)) - 1]
        return None

    def on(self, node):
        return sorted(self.starts(node))

    def starts(self, node):
        """{resource: when its agent last started it there}."""
        found = {}
        for path in glob.glob(f"/proc/{node.init}/root/run/**/Dummy-*.state", recursive=True):
            try:
                found[os.path.basename(path)[len("Dummy-"):-len(".state")]] = os.stat(path).st_mtime
            except OSError:
                pass
        return found

    def confirmed(self, since):
        """Not measured: its log says it in several places, none of which is the one."""

    def back(self, node):
        node.power_on()
        self.settle()

    def done(self):
        pass
