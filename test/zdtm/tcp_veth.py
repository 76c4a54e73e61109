#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Peers in another network namespace, through veth and through a bridge, with conntrack and address translation: they see no
# reset, lose no byte and get none twice.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs nft ip ss pgrep
# zdtm: timeout 300
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

from case import Skipped
from driver import check, passed_over, run_all, scenario, text, wait_for
from tcp_peers import Streams, connect, end, exchange, inside_flows, own_network, ruleset, shell, start, tables

KEEP = "--tcp-established"
ROUNDS = 20 if os.environ.get("STRESS") else 2
LIBC = ctypes.CDLL(None, use_errno=True)

# A usual firewall of a server: what belongs to nothing does not come in, and conntrack decides what belongs.
STATEFUL = """table inet fw {
  chain input { type filter hook input priority 0; policy drop; iif lo accept; meta l4proto icmpv6 accept; ct state invalid counter drop;
    ct state established,related accept; tcp flags syn tcp dport 1024-65535 ct state new accept; }
  chain output { type filter hook output priority 0; ct state invalid counter drop; }
}"""


class Network:
    """Ours has 10.7.0.1 and fd07::1, the peer's 10.7.0.2 and fd07::2."""

    def __init__(self, s, bridge):
        shell("nft flush ruleset; for d in v0 br0; do ip link del $d 2>/dev/null; done; true")
        # What is left of the last one still sends, and would be answered by a reset in this one.
        shell("ss -HtKa dst 10.7.0.2 >/dev/null; ss -HtKa dst [fd07::2] >/dev/null; true")
        self.holder = subprocess.Popen(["unshare", "-n", sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        shell("ip link add v0 type veth peer name v1; ip link set v1 netns %d" % self.holder.pid)
        device = "v0"
        if bridge:
            shell("ip link add br0 type bridge; ip link set v0 master br0; ip link set br0 up")
            device = "br0"
        shell("ip link set v0 up; ip a add 10.7.0.1/24 dev %s; ip a add fd07::1/64 dev %s nodad" % (device, device))
        self.there("ip link set lo up; ip link set v1 up; ip a add 10.7.0.2/24 dev v1; ip a add fd07::2/64 dev v1 nodad")
        self.there("""nft 'table inet watch {
            chain i { type filter hook input priority 0; tcp flags & (fin|rst) == rst counter; };
            chain o { type filter hook output priority 0; tcp flags & (fin|rst) == rst counter; }; }'""")

    def there(self, line):
        return shell("nsenter -t %d -n sh -c %s" % (self.holder.pid, "'%s'" % line.replace("'", "'\\''")))

    def connect(self, s):
        """A socket there, in our hands."""
        out = []

        def go():
            fd = os.open("/proc/%d/ns/net" % self.holder.pid, os.O_RDONLY)
            try:
                check(LIBC.setns(fd, 0x40000000) == 0, os.strerror(ctypes.get_errno()))
                out.append(connect(s))
            except Exception as e:
                out.append(e)
            os.close(fd)
        t = threading.Thread(target=go)
        t.start()
        t.join()
        if isinstance(out[0], Exception):
            raise out[0]
        return out[0]

    def no_resets(self, why):
        counts = re.findall(r"counter packets (\d+)", self.there("nft list ruleset"))
        check(counts == ["0", "0"], "%s: %s resets came, %s went" % (why, *counts))

    def end(self):
        self.holder.stdin.close()
        self.holder.wait()
        shell("nft flush ruleset; for d in v0 br0; do ip link del $d 2>/dev/null; done; true")


def rounds(s, net, streams, why):
    for i in range(ROUNDS):
        s.dump(KEEP, "-R")
        streams.flows("%s, after -R" % why)
        s.dump(KEEP)
        time.sleep(0.4)  # the peer sends again and again meanwhile
        s.restore(KEEP)
        streams.flows("%s, after restore %d" % (why, i))
        inside_flows(s, why)
        net.no_resets(why)


def half_closed(s, net, why):
    """Either side has said its end already; the other goes on."""
    cs = [net.connect(s) for _ in range(3)]
    for c in cs:
        exchange(c)
    os.kill(s.pid, 19)
    for c in cs:
        c.sendall(b"last")
        c.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    s.dump(KEEP)
    time.sleep(0.3)
    s.restore(KEEP)
    os.kill(s.pid, 18)
    for c in cs:
        got = b"".join(iter(lambda: c.recv(100), b""))
        check(got == b"mbtu", "%s: %r" % (why, got))
        c.close()
    net.no_resets(why)


def nothing_comes_in(s, net, why, *opts):
    """What is sent while the tree is dumped does not get into its sockets."""
    c = net.connect(s)
    exchange(c)
    for n in ("stands", "sent", "queues"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    look = s.script("look", """[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
        cd %s; touch stands; while [ ! -e sent ]; do sleep 0.01; done; sleep 0.1; ss -Htn > queues""" % s.dir)

    def send():
        wait_for(lambda: os.path.exists(s.path("stands")))
        c.sendall(b"x" * 1000)
        open(s.path("sent"), "w").close()
    t = threading.Thread(target=send)
    t.start()
    s.dump(KEEP, "-R", "--action-script", look, *opts)
    t.join()
    mine = [q for q in text(s.path("queues")).splitlines() if q.split()[4].endswith(":%d" % c.getsockname()[1])]
    check(len(mine) == 1 and mine[0].split()[1] == "0", "%s: it came in: %s" % (why, mine))
    check(c.recv(1000, socket.MSG_WAITALL) == b"y" * 1000, "%s: other bytes" % why)
    end(c)


def full_queues(s, net, why):
    """What lies in both queues, and in the peer's, comes over whole."""
    c = net.connect(s)
    exchange(c)
    os.kill(s.pid, 19)
    data = bytes(i * 13 % 256 for i in range(4 << 20))
    c.setblocking(False)
    sent = quiet = 0
    while quiet < 20:
        try:
            sent += c.send(data[sent:])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.01)
    s.dump(KEEP)
    time.sleep(0.3)
    s.restore(KEEP)
    os.kill(s.pid, 18)
    c.settimeout(60)
    got = b""
    while len(got) < sent:
        more = c.recv(1 << 20)
        check(more, "%s: the end after %d of %d bytes" % (why, len(got), sent))
        got += more
    check(got == bytes((x + 1) % 256 for x in data[:sent]), "%s: other bytes" % why)
    exchange(c)
    end(c)
    net.no_resets(why)


def all_of_it(s, bridge, rules=""):
    for host in ("10.7.0.1", "fd07::1"):
        why = "%s%s" % (host, " over a bridge" if bridge else "")
        net = Network(s, bridge)
        if rules:
            with open(s.path("rules"), "w") as f:
                f.write(rules)
            shell("nft -f " + s.path("rules"))
        before = tables()
        start(s, host, inside=2)
        streams = Streams(s, 4, connector=net.connect)
        streams.flows(why)
        rounds(s, net, streams, why)
        half_closed(s, net, why)
        nothing_comes_in(s, net, why)
        streams.finish()
        full_queues(s, net, why)
        net.no_resets(why)
        check(tables() == before, ruleset())
        s.kill()
        net.end()


@scenario
def veth(s):
    all_of_it(s, False)


@scenario
def bridge(s):
    all_of_it(s, True)


@scenario
def veth_with_conntrack(s):
    all_of_it(s, False, STATEFUL)


@scenario
def bridge_with_conntrack(s):
    all_of_it(s, True, STATEFUL)


@scenario
def translated(s):
    """The peer speaks to another address: its packets have the socket's only where they are delivered."""
    net = Network(s, False)
    start(s, "10.7.0.1", inside=1)
    port = s.address[1]
    shell("ip a add 10.7.0.9/32 dev v0")
    with open(s.path("rules"), "w") as f:
        f.write("table ip nat { chain pre { type nat hook prerouting priority -100; ip daddr 10.7.0.9 tcp dport 80 dnat to 10.7.0.1:%d; }; }"
                % port)
    shell("nft -f " + s.path("rules"))
    s.address = ("10.7.0.9", 80)
    streams = Streams(s, 4, connector=net.connect)
    streams.flows()
    check("10.7.0.9" not in subprocess.run(["ss", "-tn"], capture_output=True, text=True).stdout, "nothing is translated")
    rounds(s, net, streams, "translated")
    half_closed(s, net, "translated")
    nothing_comes_in(s, net, "translated")
    if not shutil.which("iptables-restore"):
        passed_over("translated, by iptables", "needs iptables-restore")
    else:
        nothing_comes_in(s, net, "translated, iptables", "--network-lock", "iptables")
    streams.finish()
    net.no_resets("translated")
    s.kill()
    net.end()


@scenario
def a_client_in_the_tree(s):
    """The tree has the connecting end, as a child of the victim over veth: it is restored while the server waits."""
    net = Network(s, False)
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open("/proc/%d/ns/net" % net.holder.pid, os.O_RDONLY)
    check(LIBC.setns(there, 0x40000000) == 0, "setns")
    lst = socket.create_server(("10.7.0.2", 0))
    check(LIBC.setns(fd, 0x40000000) == 0, "setns")
    os.close(fd)
    os.close(there)
    code = ("import socket, time\nc = socket.create_connection(('10.7.0.2', %d))\nopen('ready', 'w').close()\n"
            "while True:\n    d = c.recv(65536)\n    if not d: break\n    c.sendall(d.translate(bytes((i + 1) %% 256 for i in range(256))))\n"
            % lst.getsockname()[1])
    s.proc = subprocess.Popen([sys.executable, "-c", code], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("victim.err"), "w"), start_new_session=True)
    s.pid = s.proc.pid
    c, _ = lst.accept()
    c.settimeout(60)
    streams = Streams(s, 1, connector=lambda s: c)
    streams.flows()
    for i in range(3):
        s.dump(KEEP)
        time.sleep(0.3)
        s.restore(KEEP)
        streams.flows("restore %d" % i)
    check(not text(s.path("victim.err")), text(s.path("victim.err")))
    streams.finish()
    net.no_resets("a client")
    net.end()


def fails_at_each(s, *opts):
    """Restores that fail at the first, second, ... connection, when others have left repair already: no peer hears of it."""
    net = Network(s, False)
    start(s, "10.7.0.1")
    half, whole = [[net.connect(s) for _ in range(3)] for _ in range(2)]
    for c in half + whole:
        exchange(c)
    os.kill(s.pid, 19)
    for c in half:
        c.sendall(b"last")
        c.shutdown(socket.SHUT_WR)
    for c in whole:
        c.sendall(b"more")
    check(wait_for(lambda: shell("ss -Htn").count("CLOSE-WAIT") == 3, 20), "the FINs have not come")
    s.clean_images()
    s.dump(KEEP, *opts)
    for c in half:
        shell("nft 'table ip evil { chain i { type filter hook input priority 10; iif lo tcp sport %d drop; }; }'" % c.getsockname()[1])
        s.restore(KEEP, "--network-lock", "nftables", ok=False)
        check(s.rc != 0 and "table ip evil" in s.errors("restore.log"), s.errors("restore.log"))
        shell("nft delete table ip evil")
        net.no_resets("a restore that failed")
    guardian = s.script("guardian", '[ "$CRTOOLS_SCRIPT_ACTION" = pre-resume ] || exit 0\nkill -9 $(pgrep -x criu-guardian)\nsleep 0.1\n')
    s.restore(KEEP, "--network-lock", "nftables", "--action-script", guardian, ok=False)
    check(s.rc != 0 and "the guardian" in s.errors("restore.log"), s.errors("restore.log"))
    net.no_resets("a restore without its guardian")
    s.restore(KEEP, "--network-lock", "nftables")
    os.kill(s.pid, 18)
    for c in half:
        got = b"".join(iter(lambda: c.recv(100), b""))
        check(got == b"mbtu", "%r" % got)
    for c in whole:
        check(c.recv(4, socket.MSG_WAITALL) == b"npsf", "other bytes")
        exchange(c)
    net.no_resets("after all of them")
    check(not tables(), ruleset())
    s.kill()
    net.end()


@scenario
def restores_that_fail(s):
    fails_at_each(s)
    fails_at_each(s, "--network-lock", "skip")


PROXY = r"""
import socket, time
l = socket.socket()
l.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
l.bind(("0.0.0.0", 8080))
l.listen(5)
open("ready", "w").close()
c, _ = l.accept()
c.sendall(c.recv(100).upper())
d, _ = l.accept()
open("accepted", "w").write(c.getsockname()[0])
c.sendall(c.recv(100).upper())
d.sendall(b"bye " + d.recv(100))
d.close()
time.sleep(1000)
"""


@scenario
def a_transparent_proxy(s):
    """Its address is nobody's here: packets come to it by their mark."""
    net = Network(s, False)
    shell("ip rule add fwmark 1 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100")
    with open(s.path("rules"), "w") as f:
        f.write("table ip t { chain pre { type filter hook prerouting priority mangle; ip daddr 203.0.113.7 tcp dport 80 tproxy to :8080 "
                "meta mark set 1 accept; meta l4proto tcp socket transparent 1 meta mark set 1 accept; }; }")
    if subprocess.run(["nft", "-f", s.path("rules")], capture_output=True).returncode:
        net.end()
        raise Skipped("needs tproxy in nf_tables")
    net.there("ip route add 203.0.113.0/24 via 10.7.0.1")
    s.proc = subprocess.Popen([sys.executable, "-c", PROXY], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("victim.err"), "w"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), text(s.path("victim.err")))
    s.address = ("203.0.113.7", 80)
    c = net.connect(s)
    c.sendall(b"hello")
    check(c.recv(5, socket.MSG_WAITALL) == b"HELLO", "no answer")
    d = net.connect(s)
    check(wait_for(lambda: os.path.exists(s.path("accepted")) and text(s.path("accepted"))), text(s.path("victim.err")))
    check(text(s.path("accepted")) == "203.0.113.7", text(s.path("accepted")))
    s.dump(KEEP)
    s.restore(KEEP)
    os.kill(s.pid, 19)
    d.sendall(b"last")
    d.shutdown(socket.SHUT_WR)
    check(wait_for(lambda: "CLOSE-WAIT" in shell("ss -Htn"), 20), "the FIN has not come")
    s.clean_images()
    s.dump(KEEP)
    s.restore(KEEP, ok=False)
    check(s.rc != 0 and "--network-lock-mark" in s.errors("restore.log"), s.errors("restore.log"))
    s.restore(KEEP, "--network-lock-mark", "1")
    os.kill(s.pid, 18)
    c.sendall(b"again")
    check(c.recv(5, socket.MSG_WAITALL) == b"AGAIN", "no answer")
    check(b"".join(iter(lambda: d.recv(100), b"")) == b"bye last", "no end")
    net.no_resets("a proxy")
    s.kill()
    shell("ip rule del fwmark 1; ip route flush table 100")
    net.end()


own_network()
run_all()
