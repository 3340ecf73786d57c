# SPDX-License-Identifier: GPL-2.0-or-later
"""`xvmhactl validate`: a bridge that is gone on one host, a guest too large for any."""
import json

from lib import settings

GROUP = "more"


def rows(lab, *words):
    r = lab.ctl("validate", "--json", *words, check=False, timeout=600)
    answer = json.loads(r.stdout)
    return r.returncode, {(x["guest"], x["host"]): x for x in answer["results"]}, answer["silent"]


def run(lab):
    code, found, silent = rows(lab)
    lab.say(f"{len(found)} results")
    assert code == 0 and not silent, (code, found, silent)
    assert {h for g, h in found if g == "g1"} == {h.name for h in lab.hosts}
    print(lab.ctl("validate", "g1", timeout=600).stdout)

    two = lab.hosts[1]
    vif = two.ssh("sed -n 's/.*bridge=\\([a-zA-Z0-9]*\\).*/\\1/p' /etc/xen/g1.cfg").stdout.strip()
    if vif:
        other = f"{vif}x"
        two.ssh(f"ip link set {vif} down && ip link set {vif} name {other}")
        try:
            code, found, _ = rows(lab, "g1")
        finally:
            two.ssh(f"ip link set {other} name {vif} && ip link set {vif} up")
        assert code == 1 and found["g1", two.name]["result"] == "unfit", found
        assert vif in found["g1", two.name]["text"]
        lab.say(found["g1", two.name]["text"])

    with settings.guest(lab, "g3", "vcpus: 1"):
        text = lab.hosts[0].ssh(f"cat {settings.PATH}").stdout
        settings.write(lab, text.replace("  g3: {memory: 96M", "  g3: {memory: 900G"))
        code, found, _ = rows(lab, "g3")
    assert code == 1 and all(x["result"] == "unfit" and "memory" in x["text"]
                             for x in found.values()), found
