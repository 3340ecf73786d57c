# SPDX-License-Identifier: GPL-2.0-or-later
"""The management network: how a fence agent on one node reaches the power switch of another.

A node sees no process of another node, so an agent that runs on it could not end one. Real agents
talk to a device (IPMI, a switched power strip) over a network of its own. Here, the agent's name in
the nodes' agent folder is a small relay; the real agent runs outside of the nodes, with the relay's
arguments, standard input, output and exit code. A cut of the cluster's network does not cut this one.
"""
import os
import shutil
import subprocess
import threading
import time

RELAY = """#!/bin/bash
# Relays a fence agent's call to the management network.
d=$(mktemp -d "{base}/call.XXXXXX") || exit 1
mkfifo "$d/rc"
printf '%s\\n' "$@" >"$d/args"
if [ $# -eq 0 ]; then cat >"$d/in"; else : >"$d/in"; fi
printf '%s %s\\n' "${{0##*/}}" "$d" >"{base}/requests"
read -r rc <"$d/rc"
cat "$d/out"; cat "$d/err" >&2
exit "$rc"
"""


class Call:
    """One call of a fence agent. end and status are None as long as it runs."""

    def __init__(self, agent, args, path):
        self.agent, self.begin, self.end, self.status = agent, time.time(), None, None
        options = {}
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                key, eq, value = line.strip().partition("=")
                if eq:
                    options[key] = value
        self.action = options.get("action") or " ".join(args)
        self.plug = options.get("plug") or options.get("port", "")

    def __repr__(self):
        took = f"{self.end - self.begin:.2f} s" if self.end else "runs"
        return f"{self.agent} {self.action} {self.plug} -> {self.status} ({took})"


class PowerNetwork:
    def __init__(self, room, agents, env=None):
        """agents: {name: path of the real agent}."""
        self.room, self.agents = room, agents
        self.env = dict(os.environ, **(env or {}))
        self.base = room.folder + "/power"
        self.agent_dir = room.folder + "/agents"
        self.calls = []  # Call, in the order of their beginning
        self.down = False  # the whole management network is out of order: calls hang
        os.makedirs(self.base)
        os.makedirs(self.agent_dir)
        for name in agents:
            path = f"{self.agent_dir}/{name}"
            with open(path, "w", encoding="ascii") as f:
                f.write(RELAY.format(base=self.base))
            os.chmod(path, 0o755)
        os.mkfifo(self.base + "/requests")
        self._requests = os.fdopen(os.open(self.base + "/requests", os.O_RDWR), "r",
                                   encoding="utf-8", errors="replace")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._requests:
            name, _, folder = line.strip().partition(" ")
            if name in self.agents and os.path.isdir(folder):
                threading.Thread(target=self._call, args=(name, folder), daemon=True).start()

    def _call(self, name, folder):
        if self.down:
            return
        with open(folder + "/args", encoding="utf-8") as f:
            args = [a for a in f.read().splitlines() if a]
        call = Call(name, args, folder + "/in")
        self.calls.append(call)
        with open(folder + "/in", "rb") as i, open(folder + "/out", "wb") as o, \
                open(folder + "/err", "wb") as e:
            status = subprocess.run([self.agents[name]] + args, stdin=i, stdout=o, stderr=e,
                                    env=self.env, check=False).returncode
        call.end, call.status = time.time(), status
        if call.action not in ("metadata", "monitor"):
            self.room.note(f"power: {name} {call.action} {call.plug} -> {status} "
                           f"({call.end - call.begin:.2f} s)")
        # Open for reading too: a relay that was killed meanwhile must not block us.
        fd = os.open(folder + "/rc", os.O_RDWR)
        os.write(fd, f"{status if status >= 0 else 1}\n".encode())
        time.sleep(2)
        os.close(fd)
        shutil.rmtree(folder, ignore_errors=True)

    def offs(self, plug=None):
        """Calls that were to take power away, oldest first; the last ones may still run."""
        return [c for c in self.calls if c.action in ("off", "reboot") and plug in (None, c.plug)]
