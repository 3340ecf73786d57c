# SPDX-License-Identifier: GPL-2.0-or-later
"""The cluster as a whole: frozen and thawed, another coordinator, a configuration with a mistake."""
import os
import signal
import time

from cases_failover import assert_undisturbed
from lib.cluster import TREE, Cluster, program
from lib.room import wait_until


def case_freeze(room):
    """Frozen, corosync is stopped everywhere and the daemons are restarted: no guest notices, nobody is
    fenced, no watchdog fires. After the thaw a host that died meanwhile is fenced."""
    c = Cluster(room, levels=("power", "self")).start()
    a, b, x = c.nodes
    before = time.time()
    c.ctl(a, "freeze")
    status = c.status(b)
    assert status["frozen"] and all(h["frozen"] and not h["armed"] for h in status["hosts"]), status
    assert all(n.watchdog.deadline is None for n in c.nodes)
    r = c.ctl(b, "stop", sorted(c.guests)[0], check=False)
    assert r.returncode == 1 and "frozen" in r.stderr, (r.returncode, r.stderr)
    for n in c.nodes:
        n.services["corosync"].stop()
    time.sleep(3)
    for n in c.nodes:
        n.services["xvm-had"].kill(9)
    time.sleep(27)  # longer than lease and watchdog together
    for n in c.nodes:
        n.start_corosync(c.corosync_conf)
    wait_until("all hosts to be members",
               lambda: all((c.status(n) or {}).get("synced") for n in c.nodes), 60)
    assert_undisturbed(c, c.guests, before)
    print(c.ctl(a, "status").stdout)
    lost = c.guests_on(x)
    x.power_cut()
    time.sleep(8)
    assert not c.power.offs(), "fenced while frozen"
    assert not any(c.runs_after(g, before) for g in lost)
    c.ctl(a, "thaw")
    c.wait_all_run(on=[a, b], timeout=60)
    assert c.power.offs(x.name)
    assert all(n.watchdog.deadline is not None for n in (a, b)), "not armed again"
    assert_undisturbed(c, [g for g in c.guests if g not in lost], before)


def case_coordinator_moves(room):
    """The chair goes where the operator says, and nothing else changes."""
    c = Cluster(room).start()
    before = time.time()
    for target in (c.nodes[2], c.nodes[1]):
        c.ctl(c.nodes[0], "coordinator", target.name)
        wait_until("the chair to move", lambda t=target: c.coordinator() is t, 20)
    r = c.ctl(c.nodes[0], "coordinator", c.nodes[1].name, check=False)
    assert r.returncode == 1 and "already" in r.stderr, r.stderr
    assert_undisturbed(c, c.guests, before)


def case_bad_configuration_waits(room):
    """Under systemd a daemon with a mistake in its file waits until the file changes, and then runs."""
    c = Cluster(room).start()
    n = c.nodes[1]
    n.services["xvm-had"].stop()
    good = c.config_text()
    c.write_config(n, good + "nonsense: 1\n")
    run = "/run/xvm-had"
    daemon = n.serve("xvm-had", [
        program("xvm-had"), "--run-dir", run, "--boot-id", n.boot_id, "--log-target=console",
        "--config", c.config_path(n), "--state-dir", c.state_dir(n), "--machine-id", n.machine_id,
        "--agent-dir", c.power.agent_dir],
        env=dict(os.environ, XVM_HA_GUEST=program("xvm-ha-guest"), NOTIFY_SOCKET=run + "/notify"))
    wait_until("the mistake to be logged", lambda: "nonsense" in n.log("xvm-had"), 20)
    time.sleep(3)
    assert daemon.starts == 1, f"started {daemon.starts} times"
    c.write_config(n, good)
    wait_until("the daemon to run", lambda: (c.status(n) or {}).get("synced"), 30)
    assert daemon.starts == 1


def old_build():
    """The programs of the version before: made by tests/run from the commit that tests/cluster/before
    names, or wherever XVM_HA_OLD_BUILD says."""
    path = os.environ.get("XVM_HA_OLD_BUILD") or TREE + "/build-before"
    assert os.access(path + "/daemon/xvm-had", os.X_OK), \
        f"no programs of the version before in {path}: `tests/run before` makes them"
    return path


def replace(c, node, build, names):
    """What a package does: these programs are replaced while guests run."""
    os.environ["XVM_HA_BUILD"] = build
    for name in names:
        node.services[name].stop(signal.SIGKILL if name == "keeper" else signal.SIGTERM)
    c.start_daemons(node, names)


def change_version(c, node, build):
    """The daemon, and when it is known to work, the keeper."""
    for name in ("xvm-had", "keeper"):
        replace(c, node, build, [name])
        wait_until("the host to be a member again", lambda: synced(c, c.nodes), 60)


def synced(c, nodes):
    return all((c.status(n) or {}).get("synced") for n in nodes)


def case_upgrade(room):
    """Host by host from the version before to this one: guests run on, commands and moves work between
    the versions, and what the older one cannot read is not said. Back again works as long as nothing
    new was said; then the older version refuses, its host's guests run on, and the newer one goes on."""
    new, old = os.environ["XVM_HA_BUILD"], old_build()
    os.environ["XVM_HA_BUILD"] = old
    c = Cluster(room).start()
    a, b, x = c.nodes
    before = time.time()
    moving = sorted(c.guests)[0]
    for n in (a, b):
        change_version(c, n, new)
    r = c.ctl(a, "freeze", check=False)
    assert r.returncode == 1 and "upgrade" in r.stderr, (r.returncode, r.stderr)
    for target in (x, a):  # to the older version, and back to the newer one
        if c.where(moving) != target.name:
            c.ctl(a, "move", moving, target.name, "--wait", timeout=90)
            assert c.where(moving) == target.name
    assert_undisturbed(c, [g for g in c.guests if g != moving], before)
    since = time.time()
    for build in (old, new):  # nothing new was said yet
        change_version(c, b, build)
    change_version(c, x, new)
    c.ctl(a, "freeze")
    c.ctl(a, "thaw")
    replace(c, b, old, ["xvm-had"])
    wait_until("the older version to refuse", lambda: "records of" in b.log("xvm-had") or
               "newer version" in b.log("xvm-had"), 30)
    assert not b.services["xvm-had"].kill(0) or not synced(c, [b])
    time.sleep(10)  # longer than the watchdog: the keeper is still there
    assert_undisturbed(c, c.guests, since)
    replace(c, b, new, ["xvm-had"])
    wait_until("the host to be a member again", lambda: synced(c, c.nodes), 60)
    assert_undisturbed(c, c.guests, since)


case_upgrade.limit = 300
