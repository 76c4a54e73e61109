#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Everything that is in a network namespace of the tree's own: devices of all types that this kernel has, a tap device of a
# descriptor, addresses, routes, rules, nexthops, neighbours, settings, rules of nftables and of the older iptables. What ip,
# bridge, nft, iptables and sysctl show is the same after three rounds. Tracked connections behind a firewall that lets in only
# these; a device that is left out, one that stands on a device outside; a namespace that is saved empty;
# many devices and routes.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter nft
# zdtm: timeout 300
import os
import re
import shutil
import struct
import subprocess
import time

from net_host import check, ip, start, text, wait_for

from driver import run_all, scenario
from image_edit import fields, packed

SETUP = """set -e
ip link set lo up
ip link add va index 30 address 02:00:00:00:00:30 type veth peer name vb index 40
ip link add br0 type bridge stp_state 0 forward_delay 200
ip link set va master br0 alias "a port" mtu 1400
ip link set va up; ip link set vb up; ip link set br0 up
ip addr add 10.1.0.1/24 dev br0
ip addr add 10.1.0.2/24 dev br0
ip addr add 10.2.0.1/24 dev vb valid_lft 5000 preferred_lft 4000
ip addr add fd00::1/64 dev br0 nodad
ip addr add fd01::1/64 dev vb nodad noprefixroute
ip link add mv0 link br0 type macvlan mode bridge
ip link add mt0 link br0 type macvtap mode private
ip link add vx0 type vxlan id 42 dstport 4789 remote 10.1.0.9 local 10.1.0.1 dev br0 ttl 5
ip link add ifb5 type ifb
ip link set mv0 up; ip link set vx0 up; ip link set ifb5 up
ip link add vx1 index 20 type vxlan id 43 dstport 4790 group 239.7.7.7 dev vb
ip link add vq0 numtxqueues 4 numrxqueues 3 type veth peer name vq1 numtxqueues 2 numrxqueues 5
ip link property add dev va altname a-name-that-is-longer-than-fifteen; ip link property add dev va altname va-again
ip token set ::42 dev vb
ip link set va gso_max_size 30000 gso_max_segs 20
if command -v ethtool >/dev/null; then ethtool -K va tx off tso off >/dev/null; ethtool -K vb rx-udp-gro-forwarding on gro on >/dev/null; fi
ip tuntap add tap0 mode tap user 7
ip link set tap0 up group 7
ip route add 192.168.7.0/24 via 10.1.0.7 metric 5
ip route add 192.168.8.0/24 via 10.1.0.8 table 100
ip route add default via 10.1.0.254
ip route add blackhole 10.99.0.0/16
ip -6 route add fd99::/64 via fd00::99
ip -6 route add unreachable fd98::/64
ip route add 10.50.0.0/16 nexthop via 10.1.0.3 weight 2 nexthop via 10.1.0.4
ip nexthop add id 5 via 10.1.0.5 dev br0
ip nexthop add id 6 via 10.1.0.6 dev br0
ip nexthop add id 10 group 5/6
ip route add 10.60.0.0/16 nhid 5
ip route add 10.61.0.0/16 nhid 10
ip rule add from 10.1.0.0/24 lookup 100 pref 500
ip rule add fwmark 7 lookup 100 pref 501
ip rule del pref 32767
ip -6 rule add to fd55::/64 lookup 200 pref 700
ip addr del 127.0.0.1/8 dev lo
ip neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 dev br0 nud permanent
ip neigh add proxy 10.1.0.78 dev br0
bridge fdb add 02:00:00:00:01:01 dev va master static
bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.91
bridge fdb add 02:00:00:00:01:02 dev vx0 dst 10.1.0.92
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.vb.rp_filter=2 net.ipv6.conf.br0.accept_ra=0 net.ipv4.tcp_keepalive_time=77
sysctl -qw net.core.somaxconn=123 net.ipv4.ping_group_range="0 5" net.ipv4.ip_local_port_range="20000 30000" net.ipv4.neigh.vb.gc_stale_time=33
nft -f - <<X
table inet t {
 set s { type ipv4_addr . inet_service; elements = { 1.2.3.4 . 80 } }
 map m { type ipv4_addr : verdict; elements = { 1.1.1.1 : drop } }
 counter c { packets 5 bytes 500 }
 chain in { type filter hook input priority 0; policy accept; tcp dport 81 counter name c drop; ip saddr . tcp dport @s accept; ip saddr vmap @m; }
}
table ip nat { chain post { type nat hook postrouting priority 100; oifname "br0" masquerade; }; }
X
"""
LOOK = ["ip -d addr", "ip route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule", "ip nexthop",
        "ip neigh show nud permanent", "ip neigh show proxy", "bridge -d link", "bridge fdb", "nft -j list ruleset", "sysctl -a",
        "iptables-legacy-save", "ip -j addr", "ip -j link", "ip token", "ip netns list-id", "ethtool -k va", "ethtool -k vb", "ethtool -k br0"]
PASSING = r"\[\d+:\d+\]|state [A-Z]+ (?=(mode|group))|NO-CARRIER,|,LOWER_UP|\"operstate\":\"\w+\"|\"NO-CARRIER\",|,\"LOWER_UP\"|_timer +[\d.]+|valid_lft \d+sec preferred_lft \d+sec|tso_max_\w+ \d+|nf_conntrack_count = .*|\"(valid|preferred)_life_time\":\d+|" \
          r"^# (Generated|Completed).*|^(kernel|fs|vm|dev|user|debug|abi|sunrpc|crypto)\..*|.*stable_secret.*|^net\.netfilter\.nf_conntrack_(max|buckets).*|" \
          r"\"handle\": \d+|stp_state 0 .*? group_fwd|net.ipv4.(tcp|udp)_mem.*|.*random.*"


def inside(s, command):
    p = subprocess.run(["nsenter", "-t", str(s.pid), "-n", *command.split()], capture_output=True, text=True)
    check(not p.returncode or command.startswith("sysctl"), "%s: %s" % (command, p.stderr))
    return p.stdout


def look(s):
    return {c: sorted(re.sub(PASSING, "", line) for line in inside(s, c).splitlines()) for c in LOOK if shutil.which(c.split()[0])}


def same(now, before, when):
    for c, was in before.items():
        check(now[c] == was, "%s: %s: now %s, was %s" % (when, c, sorted(set(now[c]) - set(was))[:8], sorted(set(was) - set(now[c]))[:8]))


def begin(s, setup, command="exec sleep 1000"):
    with open(s.path("setup"), "w") as f:
        f.write(setup + "\n: >done\n" + command + "\n")
    if os.path.exists(s.path("done")):
        os.unlink(s.path("done"))
    start(s, "unshare", "-n", "sh", s.path("setup"))
    check(wait_for(lambda: os.path.exists(s.path("done"))), "setup: " + text(s.path("victim.out")))


def settle(s):
    """No address is tentative, no port learns."""
    def settled():
        seen = inside(s, "ip -d addr")
        return "tentative" not in seen and "state learning" not in seen and "state listening" not in seen
    check(wait_for(settled), "does not settle")
    time.sleep(0.2)


@scenario
def all_of_them(s):
    more = "iptables-legacy -A INPUT -p udp --dport 99 -j DROP\niptables-legacy -t nat -N MINE\n" if shutil.which("iptables-legacy") else ""
    begin(s, SETUP + more)
    settle(s)
    before = look(s)
    for n in range(3):
        s.dump()
        s.restore()
        settle(s)
        same(look(s), before, "round %d" % n)
        s.clean_images()
    s.kill()


@scenario
def tap_of_a_descriptor(s):
    with open(s.path("tap.py"), "w") as f:
        f.write("import fcntl, os, struct, time\nfd = os.open('/dev/net/tun', os.O_RDWR)\n"
                "fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'tap7', 0x1002))\n"
                "os.system('ip addr add 10.5.0.1/24 dev tap7; ip link set tap7 up')\nopen('done', 'w').close()\ntime.sleep(1000)\n")
    if os.path.exists(s.path("done")):
        os.unlink(s.path("done"))
    start(s, "unshare", "-n", "python3", s.path("tap.py"))
    check(wait_for(lambda: os.path.exists(s.path("done"))), "setup: " + text(s.path("victim.out")))
    settle(s)
    before = re.sub(PASSING, "", inside(s, "ip -d addr")), inside(s, "ip route")
    check("tap7" in before[0], before[0])
    for _ in range(2):
        s.dump()
        s.restore()
        now = re.sub(PASSING, "", inside(s, "ip -d addr")), inside(s, "ip route")
        check(now == before, "%s, was %s" % (now, before))
        s.clean_images()
    s.kill()


TRACKED = """ip link set lo up; ip addr add 10.9.9.9/32 dev lo
nft -f - <<Y
table ip nat { chain out { type nat hook output priority -100; tcp dport 99 dnat to 127.0.0.1:80; }; }
table inet f { chain in { type filter hook input priority 0; policy accept; ct state established ct mark set 5 accept; ct state new tcp flags & (syn|ack) == syn accept; tcp dport 80 drop; tcp sport 80 drop; }; }
Y
"""
TRACKED_PROGRAM = """
import os, socket, time
l = socket.create_server(("127.0.0.1", 80))
a = socket.create_connection(("127.0.0.1", 80)); b, _ = l.accept()
c = socket.create_connection(("10.9.9.9", 99)); d, _ = l.accept()
n = 0
while True:
    for x, y in ((a, b), (b, a), (c, d), (d, c)):
        x.sendall(b"%8d" % n); assert y.recv(8) == b"%8d" % n
    n += 1
    open("count.new", "w").write(str(n)); os.rename("count.new", "count")
    time.sleep(0.01)
"""


@scenario
def tracked(s):
    """A firewall that lets in only what it knows, and one connection with a translated address."""
    with open(s.path("tracked.py"), "w") as f:
        f.write(TRACKED_PROGRAM)
    begin(s, TRACKED, "exec python3 tracked.py")

    def goes_on(when):
        was = text(s.path("count"))
        check(wait_for(lambda: text(s.path("count")) not in ("", was)), "%s: no bytes: %s" % (when, text(s.path("victim.out"))))

    def entries():
        return sorted(re.sub(r"tcp +6 \d+", "", line) for line in inside(s, "cat /proc/net/nf_conntrack").splitlines())
    goes_on("before")
    before = entries()
    check(len(before) == 2 and "dport=99" in str(before), before)
    for n in range(3):
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        goes_on("round %d" % n)
        check(entries() == before, "round %d: %s, was %s" % (n, entries(), before))
        s.clean_images()
    s.kill()


@scenario
def left_out(s):
    """A device that the dump leaves out; the restore moves another one in, and back when it is killed."""
    begin(s, "ip link add va type veth peer name vb; ip addr add 10.3.0.1/24 dev va; ip link set va up; ip link set vb up")
    s.dump("--external", "netdev[va]", "--external", "netdev[vb]")
    s.proc = None
    for name in ("xa", "xb"):
        check(name not in ip("link"), name)
    ip("link add xa type veth peer name xb")
    both = ("--external", "netdev[va]:xa", "--external", "netdev[vb]:xb")
    s.restore(ok=False)
    check(s.rc and "give --external netdev[va]:DEVICE" in s.errors("restore.log"), s.errors("restore.log"))
    for n in range(3, 9):
        s.restore(*both, "--test-kill-at", n, ok=False)
        check(s.rc == -9 and wait_for(lambda: "xa" in ip("link") and "xb" in ip("link")), "killed at %d: %s" % (n, ip("link")))
    for stage in ("post-setup-namespaces", "post-restore"):
        s.restore(*both, "--action-script", s.script("refuse", '[ "$CRTOOLS_SCRIPT_ACTION" != %s ]\n' % stage), ok=False)
        check(s.rc == 1 and "xa" in ip("link") and "xb" in ip("link"), "refused at %s: %s" % (stage, ip("link")))
    s.restore(*both)
    check("10.3.0.1/24" in inside(s, "ip addr show dev va") and "xa" not in ip("link"), inside(s, "ip addr"))
    s.kill()


@scenario
def on_a_device_outside(s):
    ip("link add out0 type veth peer name out1")
    ip("link set out0 up")
    begin(s, ":")
    ip("link add mv0 link out0 netns %d type macvlan mode bridge" % s.pid)
    ip("addr add 10.4.0.1/24 dev mv0", pid=s.pid)
    ip("link set mv0 up", pid=s.pid)
    before = [re.sub(r"@\S+", "", line) for line in inside(s, "ip -d link show mv0").splitlines()]
    s.dump()
    s.restore(ok=False)
    check(s.rc and "give --external macvlan[mv0]:DEVICE" in s.errors("restore.log"), s.errors("restore.log"))
    s.restore("--external", "macvlan[mv0]:out0")
    now = [re.sub(r"@\S+", "", line) for line in inside(s, "ip -d link show mv0").splitlines()]
    check(now == before, "%s, was %s" % (now, before))
    s.kill()
    ip("link del out0")


@scenario
def saved_empty(s):
    begin(s, "ip link set lo up; ip link add va type veth peer name vb")
    s.dump("--empty-ns", "net")
    hook = s.script("hook", '[ "$CRTOOLS_SCRIPT_ACTION" = post-setup-namespaces ] || exit 0\n'
                    'nsenter -t "$CRTOOLS_INIT_PID" -n ip link add other type veth peer name other2\n')
    s.restore("--empty-ns", "net", "--action-script", hook)
    seen = inside(s, "ip link")
    check("other" in seen and "va" not in seen and "state DOWN" in seen, seen)
    s.kill()


CRIUS_RULES = """table inet held {
	chain in {
		type filter hook input priority filter; policy accept;
		tcp dport 81 drop
	}
}
table ip filter {
	chain CRIU {
		meta mark 0x0000c114 counter packets 0 bytes 0 accept
		counter packets 0 bytes 0 drop
	}

	chain INPUT {
		type filter hook input priority filter; policy accept;
		counter packets 0 bytes 0 jump CRIU
	}
}
"""


@scenario
def as_criu_writes_it(s):
    """CRIU has its own lock among the rules, the table main alone, and of IPv6 no route of the kernel's."""
    begin(s, "ip link set lo up; ip addr add 10.6.0.1/24 dev lo; ip route add 10.7.0.0/24 via 10.6.0.9; ip route add 10.8.0.0/24 dev lo table 9")
    settle(s)
    before = [inside(s, c) for c in ("ip addr", "ip route", "ip -6 route show table all")]
    s.dump()
    number = next(n for n in os.listdir(s.imgs) if n.startswith("netns-")).split("-")[1]
    with open(os.path.join(s.imgs, "nftables-" + number), "w") as f:
        f.write(CRIUS_RULES)
    with open(os.path.join(s.imgs, "route6-" + number), "r+b") as f:
        f.truncate(4)
    path = os.path.join(s.imgs, "inventory.img")
    raw = open(path, "rb").read()
    body = b"".join(packed(n, kind, v) for n, kind, v in fields(raw[8:]) if n < 1000)
    with open(path, "wb") as f:
        f.write(raw[:4] + struct.pack("<I", len(body)) + body)
    os.unlink(os.path.join(s.imgs, "checkpoint.sums"))
    s.restore()
    now = [inside(s, c) for c in ("ip addr", "ip route", "ip -6 route show table all")]
    check(now == before, "%s, was %s" % (now, before))
    rules = inside(s, "nft list ruleset")
    check("tcp dport 81 drop" in rules and "CRIU" not in rules and "chain INPUT" in rules, rules)
    s.kill()


@scenario
def many(s):
    took = []
    for links, routes in ((20, 1000), (100, 10000)):
        batch = ["link add v%d type veth peer name w%d" % (i, i) for i in range(links // 2)]
        batch += ["link set v0 up", "link set w0 up", "addr add 10.0.0.1/8 dev v0"]
        batch += ["route add 172.%d.%d.0/24 via 10.0.0.7" % (i // 256, i % 256) for i in range(routes)]
        with open(s.path("batch"), "w") as f:
            f.write("\n".join(batch))
        begin(s, "ip -batch batch")
        check(wait_for(lambda: "NO-CARRIER" not in inside(s, "ip link show v0") and "tentative" not in inside(s, "ip addr")), "no carrier")
        before = inside(s, "ip route"), inside(s, "ip -o link")
        was = time.monotonic()
        s.dump()
        half = time.monotonic()
        s.restore()
        took.append((half - was, time.monotonic() - half))
        now = inside(s, "ip route"), inside(s, "ip -o link")
        check(len(before[0].splitlines()) > routes and now[0] == before[0], "routes differ: %d, %d" % (len(now[0]), len(before[0])))
        check(len(now[1].splitlines()) == links + 1, now[1])
        s.kill()
        s.clean_images()
    print("20 links, 1,000 routes; 100 and 10,000: dump and restore %s" % took, flush=True)
    check(took[1][0] < 10 and took[1][1] < 20, "slow: %s" % took)


run_all()
