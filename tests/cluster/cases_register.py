# SPDX-License-Identifier: GPL-2.0-or-later
"""The register of guests: added, removed and exported by one command, on all hosts' files."""
import json
import os
import signal
import stat
import threading
import time

from cases_failover import assert_undisturbed
from lib.cluster import Cluster, program
from lib.room import wait_until

ADDED = """\
# the shop: ask Ann
shop1:
  memory: 64M   # enough
  priority: 950
"""


def read(c, node):
    with open(c.config_path(node), encoding="utf-8") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def words(text):
    """Without the line breaks of 80 columns."""
    return " ".join(text.split())


def fragment(c, text=ADDED, name="shop.yaml"):
    return write(f"{c.room.folder}/{name}", text)


def same_files(c, nodes=None):
    return len({read(c, x) for x in nodes or c.nodes}) == 1


def commented(c):
    """Files with comments in them, as people write them, in use."""
    text = c.config_text().replace("guests:\n", "\n# our guests\nguests:\n  # first of all\n")
    text += "# the end\n"
    for x in c.nodes:
        c.write_config(x, text)
        c.ctl(x, "reload")
    return text


def case_guest_add_remove(room):
    """One command on one host adds a guest on all; comments stay; it runs; remove and export undo it."""
    c = Cluster(room).start()
    before_text = commented(c)
    first, second, third = c.nodes
    os.chmod(c.config_path(second), 0o640)
    before = time.time()
    r = c.ctl(second, "guest", "add", fragment(c), "--wait")
    print(r.stdout)
    assert "shop1 is added" in r.stdout
    assert all(len(line) <= 80 for line in r.stdout.splitlines())
    want = before_text.replace("# the end\n", "  # the shop: ask Ann\n  shop1:\n    memory: 64M   # enough\n"
                               "    priority: 950\n# the end\n")
    assert all(read(c, x) == want for x in c.nodes), read(c, third)
    assert stat.S_IMODE(os.stat(c.config_path(second)).st_mode) == 0o640
    assert c.where("shop1")
    assert_undisturbed(c, list(c.guests), before)
    exported = c.ctl(third, "guest", "export", "shop1").stdout
    assert exported == ADDED, exported
    # Not while it runs; then on all hosts, and nothing else is touched.
    r = c.ctl(first, "guest", "remove", "shop1", check=False)
    print(r.stderr)
    assert r.returncode == 1 and "xvmhactl disable shop1" in r.stderr
    c.ctl(first, "disable", "shop1", "--wait")
    c.ctl(first, "guest", "remove", "shop1")
    assert all(read(c, x) == before_text for x in c.nodes)
    assert c.ctl(first, "guest", "export", "shop1", check=False).returncode != 0
    # What was exported is added again: the same definition.
    r = c.ctl(first, "guest", "add", fragment(c, exported))
    print(r.stdout)
    assert "xvmhactl enable shop1" in r.stdout, "it is disabled from before, and nobody says so"
    assert all(read(c, x) == want for x in c.nodes)
    c.ctl(first, "enable", "shop1", "--wait")
    # By force: it runs on, and nobody looks after it.
    ran = c.where("shop1")
    now = time.time()
    c.ctl(first, "guest", "remove", "shop1", "--force")
    time.sleep(2)
    assert c.where("shop1") == ran and not c.runs_after("shop1", now)
    c.ctl(third, "guest", "add", fragment(c, exported))
    time.sleep(2)
    assert c.where("shop1") == ran and len(c.runs_after("shop1", now)) == 0
    assert_undisturbed(c, list(c.guests), before)


def case_guest_add_refused(room):
    """What is wrong with a guest is said by line; nothing is changed anywhere."""
    c = Cluster(room).start()
    node, other, third = c.nodes
    text = read(c, node)
    for bad, word in (("new:\n  memory: 64M\n  priorty: 5\n", "line 3"), ("db1: {memory: 1G}\n", "already"),
                      ("new: {memory: 64M, hosts: [nosuch]}\n", "nosuch"), ("new: [\n", "line")):
        r = c.ctl(other, "guest", "add", fragment(c, bad), check=False)
        print(r.stderr)
        assert r.returncode == 1 and word in r.stderr, r.stderr
    assert all(read(c, x) == text for x in c.nodes)
    assert c.ctl(node, "guest", "remove", "dbb1", check=False).returncode == 6
    assert c.ctl(node, "guest", "add", check=False).returncode == 2
    # A file that was edited and not taken into use is not built upon; a host with another one is named.
    c.write_config(node, text + "# edited\n")
    r = c.ctl(node, "guest", "add", fragment(c), check=False)
    assert r.returncode == 1 and "xvmhactl reload" in r.stderr, r.stderr
    c.ctl(node, "reload")
    r = c.ctl(other, "guest", "add", fragment(c), check=False)
    print(r.stderr)
    assert r.returncode == 1 and "host1 has another configuration" in words(r.stderr), r.stderr
    r = c.ctl(other, "config", "diff", check=False)
    print(r.stdout)
    assert r.returncode == 1 and "+# edited" in r.stdout and "host3: the same" in r.stdout
    assert json.loads(c.ctl(third, "config", "diff", "host2", "--json").stdout)["same"]
    assert c.ctl(other, "config", "show", "host1").stdout == text + "# edited\n"
    # Made equal, what was there is kept, and then it works.
    assert c.ctl(other, "config", "push", check=False).returncode == 2, "nobody was asked"
    c.ctl(other, "config", "push", "--yes")
    assert same_files(c) and read(c, node) == text
    with open(c.config_path(node) + ".before", encoding="utf-8") as f:
        assert f.read() == text + "# edited\n"
    assert c.ctl(other, "config", "diff").returncode == 0
    c.ctl(other, "guest", "add", fragment(c), "--wait")
    assert same_files(c)


def case_guest_add_host_away(room):
    """A host that is away during several changes takes them when it is back; one that was edited keeps its
    file and says so. Nothing is started twice meanwhile."""
    c = Cluster(room).start()
    first, second, third = c.nodes
    third.power_on_after = None
    third.power_cut()
    wait_until("it to be lost", lambda: all(c.where(g) != "host3" for g in c.guests), 60)
    c.wait_all_run(on=[first, second], timeout=60)
    r = c.ctl(first, "guest", "add", fragment(c), "--wait")
    print(r.stdout)
    assert "host3 is away" in r.stdout
    c.ctl(second, "guest", "add", fragment(c, "shop2: {memory: 64M, priority: 940}\n"), "--wait")
    assert "shop1" not in read(c, third)
    third.power_on()
    wait_until("it to take them", lambda: same_files(c), 60)
    wait_until("it to be in use", lambda: not any(
        h["drift"] for h in (c.status(third) or {"hosts": [{"drift": True}]})["hosts"]), 20)
    assert c.where("shop1") and c.where("shop2")
    # Again, and its file is edited while it is away: it stays as it is, and everybody says so.
    third.power_cut()
    # What is new is started once it is certain that it runs nowhere by hand.
    wait_until("it to be dead", lambda: any(
        h["name"] == "host3" and h["state"] == "dead"
        for h in (c.status(first) or {"hosts": []})["hosts"]), 60)
    c.ctl(second, "guest", "add", fragment(c, "shop3: {memory: 64M, priority: 930}\n"), "--wait")
    edited = read(c, third) + "# by hand\n"
    c.write_config(third, edited)
    third.power_on()
    wait_until("it to say so", lambda: c.status(third) and "changed by hand" in
               words(c.ctl(third, "events").stdout), 60)
    assert read(c, third) == edited
    drift = {h["name"]: h["drift"] for h in c.status(first)["hosts"]}
    assert drift["host3"] and not drift["host2"], drift
    print(c.ctl(first, "config", "diff", "host3", check=False).stdout)
    # A host that does not know a guest is not given it.
    wait_until("host3 to be admitted", lambda: any(
        h["name"] == "host3" and h["synced"] and h["state"] == "in"
        for h in (c.status(first) or {"hosts": []})["hosts"]), 30)
    r = c.ctl(first, "move", "shop3", "host3", check=False)
    print(r.stderr)
    assert r.returncode == 1 and "does not have it" in words(r.stderr)
    c.ctl(first, "config", "push", "--yes")
    assert same_files(c)
    c.ctl(first, "move", "shop3", "host3", "--wait")


def kept(c, node):
    """Hashes of the bytes that a host keeps."""
    return {n for n in os.listdir(c.state_dir(node) + "/definitions") if len(n) == 32}


def case_unneeded_bytes_deleted(room):
    """Files that were agreed on and are no more are deleted, never the present one: a host that was
    away still gets it."""
    c = Cluster(room)
    c.daemon_args = ["--keep-unneeded", "3"]
    c.start()
    first, second, third = c.nodes
    third.power_on_after = None
    third.power_cut()
    wait_until("it to be dead", lambda: any(
        h["name"] == "host3" and h["state"] == "dead"
        for h in (c.status(first) or {"hosts": []})["hosts"]), 60)
    for i in range(1, 4):
        c.ctl(second, "guest", "add", fragment(c, f"n{i}: {{memory: 16M}}\n"), "--wait")
    assert len(kept(c, first)) > 1, kept(c, first)
    wait_until("only the last file to be left", lambda: len(kept(c, first) & kept(c, second)) == 1
               and len(kept(c, first) | kept(c, second)) == 1, 20)
    time.sleep(5)
    last = kept(c, first)
    assert len(last) == 1, last
    third.power_on()
    wait_until("it to take the changes", lambda: same_files(c), 60)
    assert kept(c, third) == last
    c.wait_all_run(timeout=30)


def case_guest_add_killed(room):
    """Daemons killed at any moment of a change: in the end all files are the same, and whole."""
    c = Cluster(room).start()
    before = time.time()
    for i in range(6):
        victim = c.nodes[i % 3]
        asked = c.nodes[(i + 1 + i // 3) % 3]
        text = f"# number {i}\nk{i}: {{memory: 16M, priority: 10}}\n"
        path = fragment(c, text, f"k{i}.yaml")
        thread = threading.Thread(target=lambda a=asked, p=path: c.ctl(a, "guest", "add", p, check=False))
        thread.start()
        time.sleep(0.03 * (i + 1))
        victim.services["xvm-had"].kill(signal.SIGKILL)
        time.sleep(0.5)
        c.start_daemons(victim, ("xvm-had",))
        wait_until("it to be back", lambda v=victim: (c.status(v) or {}).get("synced"), 60)
        thread.join()
        wait_until("the files to be the same", lambda: same_files(c), 60)
        if f"k{i}:" not in read(c, asked):
            c.ctl(asked, "guest", "add", path)
        assert read(c, asked).count(f"k{i}:") == 1
    assert same_files(c)
    c.ctl(c.nodes[0], "reload")
    c.wait_all_run([f"k{i}" for i in range(6)], timeout=60)
    assert_undisturbed(c, list(c.guests), before)
    left = [f for x in c.nodes for f in os.listdir(x.dir + "/etc") if f.endswith(".new")]
    assert not left, left


def case_guest_add_disk_full(room):
    """A host whose file cannot be written says so, is left out, and takes the change when it can."""
    c = Cluster(room).start()
    node = c.nodes[2]
    path = c.config_path(node)
    os.mkdir(path + ".new")  # nothing can be written there
    r = c.ctl(c.nodes[0], "guest", "add", fragment(c), "--timeout", "8s", check=False)
    print(r.stderr)
    assert r.returncode == 7 and "host3" in r.stderr
    assert "cannot be written" in words(c.ctl(node, "events").stdout)
    assert {h["name"] for h in c.status(c.nodes[0])["hosts"] if h["drift"]} == {"host3"}
    os.rmdir(path + ".new")
    wait_until("it to try again", lambda: same_files(c), 60)
    c.wait_all_run(["shop1"], timeout=30)


def case_guest_add_at_once(room):
    """Two hosts asked at the same moment: no change is lost, who was refused can repeat."""
    c = Cluster(room).start()
    results = {}

    def add(i):
        path = fragment(c, f"t{i}: {{memory: 16M, priority: 10}}\n", f"t{i}.yaml")
        for _ in range(40):
            results[i] = c.ctl(c.nodes[i], "guest", "add", path, check=False)
            if results[i].returncode == 0:
                return
            time.sleep(0.5)

    threads = [threading.Thread(target=add, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(r.returncode == 0 for r in results.values()), results
    wait_until("the files to be the same", lambda: same_files(c), 20)
    assert all(read(c, c.nodes[0]).count(f"\n  t{i}: ") == 1 for i in range(3))
    c.wait_all_run([f"t{i}" for i in range(3)], timeout=30)


def case_guest_restart(room):
    """restart: the guest ends and is started again where it was, by one command."""
    c = Cluster(room).start()
    before = time.time()
    host = c.where("db1")
    r = c.ctl(c.nodes[1], "restart", "db1", "--wait")
    print(r.stdout)
    runs = c.runs_after("db1", before)
    assert len(runs) == 1 and runs[0].host == host, runs
    assert_undisturbed(c, [g for g in c.guests if g != "db1"], before)
    c.ctl(c.nodes[1], "stop", "db1", "--wait")
    r = c.ctl(c.nodes[1], "restart", "db1", check=False)
    assert r.returncode == 1 and "xvmhactl start db1" in words(r.stderr), r.stderr


def case_debug(room):
    """debug on GUEST: every host logs more about it, until debug off; and for one host."""
    c = Cluster(room).start()
    node = c.nodes[0]
    owner = c.by_name[c.where("db1")]

    def said(x, word):
        return [line for line in x.log("xvm-had").splitlines() if " debug: " in line and word in line]

    assert not said(owner, "db1: operation")
    c.ctl(node, "debug", "on", "db1")
    wait_until("all to know", lambda: all((c.status(x) or {}).get("debug") == ["db1"] for x in c.nodes), 10)
    c.ctl(node, "restart", "db1", "--wait")
    lines = said(owner, "db1: operation")
    print("\n".join(lines))
    assert any("create" in x for x in lines) and any("ends" in x for x in lines)
    assert not said(owner, "web1: operation")
    c.ctl(node, "debug", "off", "db1")
    c.ctl(node, "debug", "on", "host2")
    wait_until("it to know", lambda: c.status(c.nodes[1]).get("debug") == [""], 10)
    assert c.status(node)["debug"] == []
    c.ctl(node, "debug", "off")
    wait_until("all to be quiet", lambda: all(c.status(x)["debug"] == [] for x in c.nodes), 10)
    assert c.ctl(node, "debug", "on", "dbb1", check=False).returncode == 6


def case_guest_add_xl(room):
    """--xl-config: a guest by the name and memory that xl reads from its configuration; XVM_XL is a stand-in."""
    c = Cluster(room).start()
    node = c.nodes[0]
    xl = write(room.folder + "/xl", "#!/bin/sh\necho 'Parsing config from '\"$3\"\n"
               "echo '{\"c_info\": {\"name\": \"shop9\"}, \"b_info\": {\"max_memkb\": 65000, \"max_vcpus\": 2}}'\n")
    os.chmod(xl, 0o755)
    cfg = write(node.dir + "/etc/corosync/shop9.cfg", "name = 'shop9'\n")
    r = node.run("env", f"XVM_XL={xl}", program("xvmhactl"), "guest", "add", "--xl-config",
                 "/etc/corosync/shop9.cfg", "--wait")
    print(cfg, r.stdout, r.stderr)
    assert r.returncode == 0, r.stderr
    assert '  shop9:\n    config: "/etc/corosync/shop9.cfg"\n    memory: 64M\n    vcpus: 2\n' in read(c, c.nodes[2])
    assert c.where("shop9")
