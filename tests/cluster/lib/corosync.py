# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests know about corosync: its configuration file and how to ask for the membership."""
import re

SUBNET = "10.88.0."


def address(number):
    return f"{SUBNET}{number}"


def config(names, token_ms=1000, transport="knet", two_node=False, debug=False):
    """corosync.conf for nodes 1..n called `names`. Timers other than the token follow from it."""
    nodes = "".join(f"    node {{\n        ring0_addr: {address(i)}\n        name: {name}\n"
                    f"        nodeid: {i}\n    }}\n" for i, name in enumerate(names, 1))
    token = f"    token: {token_ms}\n" if token_ms else ""
    crypto = "    crypto_cipher: none\n    crypto_hash: none\n" if transport == "knet" else ""
    return f"""totem {{
    version: 2
    cluster_name: xvm-ha-test
    transport: {transport}
{token}{crypto}}}
nodelist {{
{nodes}}}
quorum {{
    provider: corosync_votequorum
{"    two_node: 1" if two_node else ""}
}}
logging {{
    to_stderr: no
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    timestamp: hires
    debug: {"on" if debug else "off"}
}}
"""


def parse_quorum(text):
    """(quorate, number of members) from `corosync-quorumtool -s`, or None."""
    quorate = re.search(r"^Quorate:\s+(\w+)", text, re.M)
    nodes = re.search(r"^Nodes:\s+(\d+)", text, re.M)
    if not quorate or not nodes:
        return None
    return quorate.group(1) == "Yes", int(nodes.group(1))
