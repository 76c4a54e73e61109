#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What decides about packets in a network namespace of the tree's own: sets (ipset) and rules of the older iptables for IPv4 and
# IPv6 that look into them, with their counters; sets with timeouts, maps, counters, quotas and limits of nftables; queueing
# disciplines; labels of IPv6 addresses; a connection that is expected (ftp): the same after three rounds. What is refused, by its
# name, and not once it is gone. A setting that this kernel lacks, with --weak-sysctls and without.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter nft tc
# zdtm: timeout 300
import glob
import os
import re
import shutil
import struct
import subprocess

from net_host import check, start, text, wait_for

from driver import need, passed_over, run_all, scenario
from image_edit import packed


def begin(s, setup, command="exec sleep 1000"):
    with open(s.path("setup"), "w") as f:
        f.write("set -e\n" + setup + "\n: >done\n" + command + "\n")
    if os.path.exists(s.path("done")):
        os.unlink(s.path("done"))
    start(s, "unshare", "-n", "sh", s.path("setup"))
    check(wait_for(lambda: os.path.exists(s.path("done")) or s.proc.poll() is not None), "setup")
    check(os.path.exists(s.path("done")), "setup: " + text(s.path("victim.out")))


def inside(s, command, ok=True):
    p = subprocess.run(["nsenter", "-t", str(s.pid), "-n", "sh", "-c", command], capture_output=True, text=True)
    check(not ok or not p.returncode, "%s: %s" % (command, p.stderr))
    return p.stdout


def three_rounds(s, look, *opts):
    before = look()
    for n in range(3):
        s.dump(*opts)
        s.restore(*opts)
        now = look()
        check(now == before, "round %d: now %s, was %s" % (n, now, before))
        s.clean_images()
    s.kill()
    return before


@scenario
def ipsets(s):
    need("ipset", "iptables-legacy-save", "ip6tables-legacy-save")
    begin(s, """ip link set lo up
ipset create addr hash:ip counters comment
ipset add addr 10.0.0.1 packets 5 bytes 500 comment "one of them"
ipset create nets hash:net,port timeout 0
ipset add nets 10.2.0.0/16,tcp:80
ipset add nets 10.3.0.0/16,udp:53 timeout 5000
ipset create ports bitmap:port range 1-1000
ipset add ports 22
ipset create six hash:net family inet6
ipset add six fd00::/64
ipset create both list:set
ipset add both addr
ipset create empty hash:ip
iptables-legacy -A INPUT -m set --match-set addr src -j DROP
iptables-legacy -A INPUT -p udp -m set --match-set ports dst -j ACCEPT
iptables-legacy -t nat -A OUTPUT -p tcp --dport 99 -j DNAT --to 127.0.0.1:80
iptables-legacy -t mangle -A OUTPUT -j MARK --set-mark 7
ip6tables-legacy -A INPUT -m set --match-set six src -j DROP
ip6tables-legacy -P FORWARD DROP
iptables-legacy -A FORWARD -j ACCEPT -c 3 300
""")

    def look():
        seen = [inside(s, c) for c in ("ipset save | sort", "iptables-legacy-save -c", "ip6tables-legacy-save -c")]
        # Tables stand in the order in which they were asked for.
        return [sorted(t.strip() for t in re.sub(r"timeout \d{4}\b|^#.*\n", "", "\n" + one, flags=re.M).split("\n*")) for one in seen]
    before = three_rounds(s, look)
    check("one of them" in str(before[0]) and "[3:300]" in str(before[1]) and "match-set six" in str(before[2]), before)


@scenario
def nftables(s):
    begin(s, """nft -f - <<X
table inet t {
 set held { type ipv4_addr; flags timeout; timeout 2h; elements = { 10.0.0.1 timeout 1h, 10.0.0.2 } }
 set ranges { type ipv4_addr; flags interval; auto-merge; elements = { 10.1.0.0/16, 10.3.0.1-10.3.0.9 } }
 set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 1h; }
 set counted { type inet_service; counter; elements = { 80 counter packets 3 bytes 30, 81 counter packets 0 bytes 0 } }
 map to { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1, 81 : 10.0.0.2 } }
 map way { type ipv4_addr . inet_service : verdict; elements = { 1.1.1.1 . 80 : drop, 1.1.1.2 . 80 : accept } }
 counter c { packets 5 bytes 500 }
 quota q { over 1 mbytes used 300 bytes }
 limit l { rate 10/second burst 7 packets }
 chain in { type filter hook input priority 0; policy drop; ct state established accept; iif lo accept; tcp dport @counted counter packets 9 bytes 90 accept;
  ip saddr @held counter name c drop; ip saddr @ranges quota name "q" drop; add @seen { ip saddr limit rate 3/minute } ; ip saddr . tcp dport vmap @way; limit name "l" log prefix "x " drop; }
 chain sub { tcp dport 1-10 jump sub2 ; }
 chain sub2 { return; }
}
table ip nat { chain pre { type nat hook prerouting priority -100; dnat to tcp dport map { 80 : 10.0.0.1, 81 : 10.0.0.2 }; }; }
table ip6 six { chain f { type filter hook forward priority 5; ip6 saddr fd00::/64 drop; }; }
table arp a { chain i { type filter hook input priority 0; arp operation request accept; }; }
table netdev n { chain g { type filter hook ingress device lo priority 0; ip saddr 9.9.9.9 drop; }; }
table bridge b { chain f { type filter hook forward priority 0; ether type arp accept; }; }
table inet asleep { flags dormant; chain i { type filter hook input priority 0; drop; }; }
X
""")

    def look():
        return re.sub(r"expires [\dhms]+", "expires", inside(s, "nft list ruleset"))
    before = three_rounds(s, look)
    check("expires" in before and "packets 3 bytes 30" in before and "dormant" in before and "used 300 bytes" in before, before)


@scenario
def queueing(s):
    begin(s, """ip link add va index 10 type veth peer name vb index 11
ip link add vc index 12 type veth peer name vd index 13
ip link add i0 index 14 numtxqueues 1 type ifb
ip link set va up; ip link set vb up; ip link set vc up; ip link set vd up; ip link set i0 up
tc qdisc add dev va root handle 7: tbf rate 3mbit burst 10k latency 50ms peakrate 4mbit mtu 1600
tc qdisc add dev vb root handle 8: pfifo limit 77
tc qdisc add dev vb ingress
tc qdisc add dev vc root handle 9: bfifo limit 7777
tc qdisc add dev vc clsact
tc qdisc add dev vd root handle a: tbf rate 5gbit burst 10mb limit 30mb
tc qdisc add dev i0 root handle b: pfifo_fast""")
    before = three_rounds(s, lambda: re.sub(r"refcnt \d+", "", inside(s, "tc qdisc show")))
    check("tbf 7:" in before and "peakrate 4Mbit" in before and "clsact ffff:" in before, before)


@scenario
def address_labels(s):
    begin(s, "ip link set lo up; ip addrlabel add prefix fd00:7::/64 label 77; ip addrlabel del prefix ::/96 label 3; ip addrlabel add prefix fd00:8::/64 dev lo label 78")
    before = three_rounds(s, lambda: sorted(inside(s, "ip addrlabel").splitlines()))
    check("label 77" in str(before) and "::/96 " not in str(before), before)


FTP = """
import os, socket, time
l = socket.create_server(("127.0.0.1", 21)); c = socket.create_connection(("127.0.0.1", 21)); s, _ = l.accept()
s.sendall(b"220 hello\\r\\n"); c.recv(100)
s.sendall(b"227 Entering Passive Mode (127,0,0,1,4,9)\\r\\n"); c.recv(100)
data = socket.create_server(("127.0.0.1", 4 * 256 + 9))
open("ready", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
d = socket.create_connection(("127.0.0.1", 4 * 256 + 9), 20); e, _ = data.accept()
d.sendall(b"x"); open("said", "wb").write(e.recv(1))
time.sleep(1000)
"""


@scenario
def expected(s):
    """The data connection of ftp is let in since the kernel has heard of it before the dump."""
    with open(s.path("ftp.py"), "w") as f:
        f.write(FTP)
    begin(s, """ip link set lo up
nft -f - <<X
table inet t {
 ct helper ftp { type "ftp" protocol tcp; l3proto ip; }
 chain pre { type filter hook output priority 0; tcp dport 21 ct helper set "ftp"; }
 chain in { type filter hook input priority 0; policy accept; ct state established,related accept; tcp dport 21 accept; ct state new tcp dport 1033 drop; }
}
X
""", "exec python3 ftp.py")
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))

    def look():
        return re.sub(r"^\d+ ", "", inside(s, "cat /proc/net/nf_conntrack_expect"), flags=re.M)
    before = look()
    if "dport=1033" not in before:
        passed_over("expected", "this kernel has no helper for ftp: %r, %s" % (before, inside(s, "nft list ruleset")))
        s.kill()
        return
    for n in range(3):
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        check(look() == before, "round %d: %s, was %s; %s" % (n, look(), before, s.errors("restore.log")))
        s.clean_images()
    open(s.path("go"), "w").close()
    check(wait_for(lambda: text(s.path("said")) == "x"), "not let in: %s" % inside(s, "cat /proc/net/nf_conntrack"))
    s.kill()


REFUSED = [
    ("tc qdisc add dev va root handle 1: htb", "tc qdisc del dev va root", "the queueing discipline htb"),
    ("tc qdisc add dev va root handle 1: tbf rate 1mbit burst 10k latency 50ms; tc qdisc add dev va parent 1:1 handle 2: pfifo",
     "tc qdisc del dev va root", r"the queueing discipline pfifo \(2:\)"),
    ("tc qdisc add dev va ingress; tc filter add dev va ingress protocol ip u32 match ip src 1.2.3.4/32 flowid 1:1", "tc qdisc del dev va ingress",
     "device va: has a filter of type u32"),
    ("tc qdisc add dev va clsact; tc filter add dev va egress protocol ip u32 match ip src 1.2.3.4/32 flowid 1:1", "tc qdisc del dev va clsact",
     "device va: has a filter of type u32"),
    ("ip xfrm policy add dir in src 10.0.0.1 dst 10.0.0.2", "ip xfrm policy flush", r"IPsec \(ip xfrm\)"),
    ("ip mptcp endpoint add 10.0.0.1", "ip mptcp endpoint flush", "endpoints or limits of MPTCP"),
    ("ip mptcp limits set subflows 3", "ip mptcp limits set subflows 2", "endpoints or limits of MPTCP"),
    ("arptables-legacy -A INPUT -j ACCEPT", None, "rules of arptables"),
    ("ip link add br0 type bridge; ebtables-legacy -A INPUT -j ACCEPT", None, "rules of the older ebtables"),
]


@scenario
def refused(s):
    for add, remove, says in REFUSED:
        program = [w for w in add.replace(";", " ").split() if w.endswith("-legacy")]
        if program and not shutil.which(program[0]):
            passed_over("refused", "needs " + program[0])
            continue
        begin(s, "ip link set lo up; ip link add va type veth peer name vb")
        p = subprocess.run(["nsenter", "-t", str(s.pid), "-n", "sh", "-ec", add], capture_output=True, text=True)
        if p.returncode:
            passed_over("refused", "%s: %s" % (add, p.stderr.strip()))
            s.kill()
            continue
        s.dump("-R", ok=False)
        check(s.rc and re.search(says, s.errors("dump.log")), "%s: %s" % (add, s.errors("dump.log")))
        if remove:
            inside(s, remove)
            s.dump("-R")
        s.kill()
        s.clean_images()


# Held by a program outside of the tree: a link that the tree held would be refused by itself.
BPF = """
import ctypes, os, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def bpf(cmd, attr):
    fd = libc.syscall(321, cmd, attr, len(attr))
    if fd < 0:
        print("bpf %%d: %%s" %% (cmd, os.strerror(ctypes.get_errno()))); sys.exit(1)
    return fd
code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xb7, 0, 0, %d, 0x95, 0, 0, 0))
name = ctypes.create_string_buffer(b"GPL")
prog = bpf(5, struct.pack("<IIQQIIQII16sII28x", %d, 2, ctypes.addressof(code), ctypes.addressof(name), 0, 0, 0, 0, 0, b"x", 0, %d))
target = %s
link = bpf(28, struct.pack("<IIII48x", prog, target, %d, 0))
open("attached", "w").close()
time.sleep(1000)
"""
PROGRAMS = [  # what it returns, type of program, type of attachment, target, what the dump says
    (1, 30, 36, "os.open('/proc/self/ns/net', os.O_RDONLY)", "BPF program of its own"),
    (0, 3, 46, "socket.if_nametoindex('va')", "a BPF program \\(tcx\\) at the device va"),
    (0, 3, 47, "socket.if_nametoindex('vb')", "a BPF program \\(tcx\\) at the device vb"),
    (2, 6, 37, "socket.if_nametoindex('va')", "device va \\(veth\\): an XDP program is attached"),
]


@scenario
def programs_of_bpf(s):
    begin(s, "ip link set lo up; ip link add va type veth peer name vb")
    for returns, kind, attach, target, says in PROGRAMS:
        if os.path.exists(s.path("attached")):
            os.unlink(s.path("attached"))
        p = subprocess.Popen(["nsenter", "-t", str(s.pid), "-n", "python3", "-c", BPF % (returns, kind, attach, target, attach)], cwd=s.dir,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(lambda: os.path.exists(s.path("attached")) or p.poll() is not None)
        if p.poll() is not None:
            passed_over("programs_of_bpf", "%d: %s" % (attach, p.stdout.read().strip()))
            continue
        s.dump("-R", ok=False)
        check(s.rc and re.search(says, s.errors("dump.log")), "%d: %s" % (attach, s.errors("dump.log")))
        p.kill()
        p.wait()
        check(wait_for(lambda: "prog" not in inside(s, "ip link show va")), inside(s, "ip link show va"))
    s.dump("-R")
    s.kill()


@scenario
def setting_that_is_not_there(s):
    begin(s, "ip link set lo up; sysctl -qw net.ipv4.tcp_keepalive_time=77")
    s.dump()
    path = glob.glob(os.path.join(s.imgs, "netns-*.img"))[0]
    raw = open(path, "rb").read()
    # One more of the settings: {name, value}.
    more = packed(1, 2, b"ipv4/of_another_kernel") + packed(2, 2, b"1")
    body = raw[12:] + packed(1000, 2, more)
    check(struct.unpack("<I", raw[8:12])[0] == len(raw) - 12, "the image has one message")
    with open(path, "wb") as f:
        f.write(raw[:8] + struct.pack("<I", len(body)) + body)
    os.unlink(os.path.join(s.imgs, "checkpoint.sums"))
    s.restore("--allow-edited-images", ok=False)
    check(s.rc and "--weak-sysctls passes over it" in s.errors("restore.log"), s.errors("restore.log"))
    s.restore("--allow-edited-images", "--weak-sysctls")
    said = text(os.path.join(s.imgs, "restore.log"))
    check("of_another_kernel" in said and inside(s, "sysctl -n net.ipv4.tcp_keepalive_time") == "77\n", said)
    s.kill()


run_all()
