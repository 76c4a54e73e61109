#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Other people's firewalls: connections in every state come back through them, and a rule that stands in the way is named.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs nft
# zdtm: timeout 300
import os
import re
import shutil
import socket
import subprocess
import time

from driver import check, passed_over, run_all, scenario, text, wait_for
from tcp_peers import Streams, connect, exchange, inside_flows, own_network, ruleset, shell, start, tables

KEEP = "--tcp-established"

# Drops what has the mark, in both directions, as a node of Kubernetes does.
KUBE = """table ip filter {
  chain KUBE-FIREWALL { meta mark & 0x8000 == 0x8000 counter drop; ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ct status & 1 == 0 drop; }
  chain INPUT { type filter hook input priority 0; jump KUBE-FIREWALL; }
  chain OUTPUT { type filter hook output priority 0; jump KUBE-FIREWALL; }
}
table ip6 filter {
  chain KUBE-FIREWALL { meta mark & 0x8000 == 0x8000 counter drop; }
  chain INPUT { type filter hook input priority 0; jump KUBE-FIREWALL; }
  chain OUTPUT { type filter hook output priority 0; jump KUBE-FIREWALL; }
}"""
# Overwrites the whole mark, as some CNIs do.
CT_MARK = """table inet cni {
  chain out { type filter hook output priority -150; meta mark set ct mark; }
  chain in { type filter hook prerouting priority -150; meta mark set ct mark; }
}"""
STATEFUL = """table inet stateful {
  chain out { type filter hook output priority 0; ct state invalid counter drop; }
  chain in { type filter hook input priority 0; ct state invalid counter drop; }
}"""
ALL = {"kube": [KUBE], "ct_mark": [CT_MARK], "rp_filter": [], "stateful": [STATEFUL], "all": [KUBE, CT_MARK, STATEFUL]}


def load(s, name):
    shell("nft flush ruleset")
    for rules in ALL[name]:
        with open(s.path("rules"), "w") as f:
            f.write(rules)
        shell("nft -f " + s.path("rules"))
    for conf in ("all", "lo"):
        with open("/proc/sys/net/ipv4/conf/%s/rp_filter" % conf, "w") as f:
            f.write("1" if name in ("rp_filter", "all") else "0")
    return re.sub(r"packets \d+ bytes \d+", "", ruleset())


def same(before, name):
    now = re.sub(r"packets \d+ bytes \d+", "", ruleset())
    check(now == before, "%s: the rules were\n%s\nand are\n%s" % (name, before, now))


def pairs_inside(s, mark):
    """Both ends in the tree, in every state of shutdown(): the victim checks itself."""
    s.victim("tcp_pairs")
    s.dump(KEEP, *mark)
    s.restore(KEEP, *mark)
    s.verify()


def to_the_outside(s, mark):
    start(s, inside=2)
    streams = Streams(s, 3, most=3000, pause=0.001)
    streams.flows()
    half = [connect(s) for _ in range(3)]
    for c in half:
        exchange(c)
    os.kill(s.pid, 19)
    for c in half:
        c.sendall(b"last")
        c.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    for _ in range(2):
        s.dump(KEEP, *mark)
        s.restore(KEEP, *mark)
    os.kill(s.pid, 18)
    for c in half:
        got = b"".join(iter(lambda: c.recv(100), b""))
        check(got == b"mbtu", "%r" % got)
        c.close()
    streams.flows("after the restore")
    inside_flows(s, "after the restore")
    s.dump(KEEP, "-R", *mark)
    streams.finish()
    inside_flows(s, "after -R")
    s.kill()


def firewall(name):
    def run(s):
        before = load(s, name)
        for mark in ([], ["--network-lock-mark", "0x8000"]):
            pairs_inside(s, mark)
            to_the_outside(s, mark)
            same(before, name)
    run.__name__ = name
    return scenario(run)


for n in ALL:
    firewall(n)


@scenario
def kube_by_iptables(s):
    """The same firewall as kubelet writes it, with each iptables there is, and the lock by iptables as well."""
    load(s, "rp_filter")
    for kind in ("nft", "legacy"):
        tool = shutil.which("iptables-" + kind)
        if not tool:
            passed_over("kube_by_iptables", "needs iptables-" + kind)
            continue
        shell("%s -N KUBE-FIREWALL; %s -A INPUT -j KUBE-FIREWALL; %s -A OUTPUT -j KUBE-FIREWALL; "
              "%s -A KUBE-FIREWALL -m comment --comment 'kubernetes firewall for dropping marked packets' "
              "-m mark --mark 0x8000/0x8000 -j DROP" % ((tool,) * 4))
        for opts in ([], ["--network-lock", "iptables", "--network-lock-mark", "0x8000"]):
            pairs_inside(s, opts)
            to_the_outside(s, opts)
        shell("%s -F; %s -X KUBE-FIREWALL" % (tool, tool))
    shell("nft flush ruleset")


def half_closed(s):
    start(s)
    c = connect(s)
    exchange(c)
    os.kill(s.pid, 19)
    c.sendall(b"last")
    c.shutdown(socket.SHUT_WR)
    fin_has_come(s, c)
    s.dump(KEEP)
    return c


def refused(s, rule_words):
    """The restore fails, says by which rule, and leaves all as it was."""
    before = ruleset()
    s.restore(KEEP, ok=False)
    said = s.out + text(os.path.join(s.imgs, "restore.log"))
    check(s.rc != 0, "it was restored")
    for w in [rule_words, "--network-lock-mark", "127.0.0.1:%d" % s.address[1]]:
        check(w in said, "no %r in: %s" % (w, s.errors("restore.log")))
    check(ruleset() == before, "%s" % ruleset())


def answered(s, c):
    os.kill(s.pid, 18)
    got = b"".join(iter(lambda: c.recv(100), b""))
    check(got == b"mbtu", "%r" % got)
    s.kill()


def handle(table, chain):
    out = subprocess.run(["nft", "-a", "list", "chain", *table.split(), chain], capture_output=True, text=True).stdout
    return re.search(r"drop # handle (\d+)", out)[1]


@scenario
def a_rule_before_all(s):
    load(s, "rp_filter")
    c = half_closed(s)
    shell("nft 'add table inet evil; add chain inet evil o { type filter hook output priority -460; }; "
          "add rule inet evil o meta mark 0x3002 drop'")
    refused(s, "table inet evil, chain o, handle " + handle("inet evil", "o"))
    s.restore(KEEP, "--network-lock-mark", "0x10002")
    answered(s, c)
    check(tables() == [["inet", "evil"]], ruleset())


@scenario
def a_rule_that_drops_all_of_it(s):
    load(s, "rp_filter")
    c = half_closed(s)
    shell("nft 'add table ip evil; add chain ip evil i { type filter hook input priority 10; }; "
          "add rule ip evil i tcp dport %d tcp sport %d drop'" % (s.address[1], c.getsockname()[1]))
    refused(s, "table ip evil, chain i, handle " + handle("ip evil", "i"))
    shell("nft delete table ip evil")
    s.restore(KEEP)
    answered(s, c)
    check(not tables(), ruleset())


def fin_has_come(s, c):
    """The victim's end is in CLOSE_WAIT: without that nothing has to be sent at a restore."""
    ends = "%04X" % s.address[1], "%04X" % c.getsockname()[1]

    def there():
        for line in text("/proc/net/tcp").splitlines()[1:]:
            f = line.split()
            if f[1].endswith(":" + ends[0]) and f[2].endswith(":" + ends[1]) and f[3] == "08":
                return True
        return False
    check(wait_for(there), "the FIN has not come")


@scenario
def a_lock_that_another_dump_left(s):
    """Of the same connection, never restored and never unlocked: it is found guilty by its name."""
    load(s, "rp_filter")
    start(s)
    c = connect(s)
    exchange(c)
    os.kill(s.pid, 19)
    c.sendall(b"last")
    c.shutdown(socket.SHUT_WR)
    fin_has_come(s, c)
    s.dump(KEEP, "--network-lock-mark", "7")
    shutil.copytree(s.imgs, s.path("older"))
    s.restore(KEEP)
    with open(s.path("rules"), "w") as f:
        f.write("table inet CRIU-older { chain out { type filter hook output priority -450; tcp sport %d tcp dport %d drop; "
                "tcp sport %d tcp dport %d drop; }; }" % (s.address[1], c.getsockname()[1], c.getsockname()[1], s.address[1]))
    s.clean_images()
    fin_has_come(s, c)
    s.dump(KEEP)
    shell("nft -f " + s.path("rules"))
    refused(s, "table inet CRIU-older, chain out, handle")
    shell("nft delete table inet CRIU-older")
    s.restore(KEEP)
    answered(s, c)


own_network()
run_all()
