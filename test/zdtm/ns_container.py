#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A container without its runtime: busybox as init in namespaces of all types but user's (and then in one of these, too), an overlay as
# root, forty mounts, a veth to a bridge outside with a connection over it, rules of nftables, settings, System V objects. Three rounds: mounts, network,
# rules, settings, cgroups and objects are equal, init goes on counting, the client outside loses no byte.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter nft busybox
# zdtm: timeout 120
import difflib
import json
import os
import re
import subprocess

from net_host import check, ip, set_host, start, text, wait_for

import socket

from driver import run_all, scenario, tree

MAKE = r"""
mkdir -p lower/bin upper work root
cp $(command -v busybox) lower/bin/busybox
for n in sh sleep mount umount mkdir cat nc ls ln mv hostname ipcs; do ln -sf busybox lower/bin/$n; done
mkdir -p lower/dev lower/proc lower/sys lower/tmp lower/run lower/etc lower/old lower/srv
echo lower > lower/etc/one; echo lower > lower/etc/two
mount -t overlay -o lowerdir=$PWD/lower,upperdir=$PWD/upper,workdir=$PWD/work overlay root
cd root
echo upper > etc/two
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys || : # in a user namespace only where all of /sys is seen
mount -t tmpfs -o mode=755,size=1m,nosuid dev dev; mkdir -p dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mount -t tmpfs shm dev/shm; mount -t mqueue mqueue dev/mqueue
for n in null zero full random urandom tty; do : > dev/$n; mount --bind /dev/$n dev/$n; done
mount -t tmpfs -o mode=1777 tmp tmp; mount -t tmpfs run run
for n in 1 2 3 4 5 6 7 8 9 10; do
    mkdir -p srv/t$n srv/b$n; mount -t tmpfs -o size=64k,noexec tmpfs srv/t$n; echo $n > srv/t$n/number
    mount --bind srv/t$n srv/b$n; mount -o remount,bind,ro srv/b$n
done
mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys
pivot_root . old
umount -l old
hostname container
"""
INIT = r"""
ln -s lib /tmp/link; mkdir /tmp/dir; echo x > /tmp/dir/file
while [ ! -e /tmp/go ]; do sleep 0.02; done
nc -ll -p 8080 -e cat &
n=0
while :; do
    n=$((n+1)); echo $n > /run/count.new; mv /run/count.new /run/count
    [ "$(cat /srv/b7/number)$(cat /etc/two)$(cat /etc/one)$(hostname)" = 7upperlowercontainer ] || echo "round $n" >> /run/bad
    sleep 0.02
done
"""
RULES = """table inet filter { set allowed { type ipv4_addr; elements = { 10.77.0.1 }; }
    chain input { type filter hook input priority 0; policy accept; ip saddr @allowed counter accept; tcp dport 9 drop
    }
}"""


def inside(s, *command, types="-n"):
    p = subprocess.run(["nsenter", "-t", str(s.pid), *types.split(), *command], capture_output=True, text=True)
    check(not p.returncode, "%s: %s" % (command, p.stderr))
    return p.stdout


def rules_of(s):
    return re.sub(r'"packets": \d+, "bytes": \d+|"handle": \d+', "", inside(s, "nft", "-j", "list", "ruleset"))


def links_of(s):
    links = json.loads(inside(s, "ip", "-d", "-j", "addr"))
    for one in links:
        for key in ("link_index", "link_netnsid", "stats", "stats64"):
            one.pop(key, None)
        for a in one.get("addr_info", ()):
            a.pop("valid_life_time", None)
            a.pop("preferred_life_time", None)
    return json.dumps(links, sort_keys=True)


def mounts_of(pid):
    """Without ids and the numbers of devices that the kernel gives."""
    lines = []
    for line in text("/proc/%d/mountinfo" % pid).splitlines():
        f = line.split()
        lines.append(" ".join(f[3:6] + [re.sub(r"\d+", "", x) if x.startswith(("shared:", "master:")) else x for x in f[6:]]))
    return sorted(lines)  # those of proc, sysfs and mqueue come last: they are made when there is a process in their namespaces


def look(s):
    return {
        "mounts": mounts_of(s.pid), "links": links_of(s), "rules": rules_of(s),
        "routes": [inside(s, "ip", "-j", *w.split()) for w in ("route show table all", "rule", "-6 rule")],
        "settings": inside(s, "sysctl", "net.ipv4.ip_forward", "net.ipv4.ip_local_port_range", "kernel.msgmax", types="-n -i"),
        "objects": inside(s, "ipcs", "-s", "-q", types="-i"), "cgroup": text("/proc/%d/cgroup" % s.pid),
        "status": [[line for line in text("/proc/%d/status" % p).splitlines() if line.startswith(("Name", "NSpid", "NSsid", "Cap", "Uid"))][:1]
                   for p in tree(s.pid)[:2]],
    }


def init_of(s):
    return next((p for p in tree(s.pid) if re.search(r"NSpid:\s\d+\s1$", text("/proc/%d/status" % p), re.M)), 0)


def run_container(s, *more):
    open(s.path("make"), "w").write(MAKE)
    open(s.path("init"), "w").write(INIT)
    os.mkdir(s.path("lower"))
    os.mkdir(s.path("lower/tmp"))
    start(s, "sh", "-ec", "unshare %s -fpmniuC sh -ec '. ./make; exec /bin/sh -c \"$0\" < /dev/null > /run/out 2>&1' \"$(cat init)\" & "
          "while [ ! -e over ]; do sleep 0.1; done" % " ".join(more))
    check(wait_for(lambda: "/srv/b10 ro" in text("/proc/%d/mountinfo" % init_of(s)) and "/old" not in text("/proc/%d/mountinfo" % init_of(s))),
          "no container: %s" % text(s.path("victim.out")))


def root_of(s):
    return "/proc/%d/root" % s.pid


def through(s, *more):
    run_container(s, *more)
    s.pid = init_of(s)
    s.proc = None
    ip("link add br9 type bridge"); ip("addr add 10.77.0.1/24 dev br9"); ip("link set br9 up")
    subprocess.run(["nsenter", "-t", str(s.pid), "-n", "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"], check=True)
    ip("link add hv0 type veth peer name eth0 address 02:00:00:00:77:02 netns %d" % s.pid)
    set_host(True)
    for words in ("link set lo up", "addr add 10.77.0.2/24 dev eth0", "link set eth0 up mtu 1400", "route add default via 10.77.0.1"):
        ip(words, pid=s.pid)
    inside(s, "nft", RULES)
    inside(s, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.ip_local_port_range=20000 30000")
    inside(s, "sysctl", "-qw", "kernel.msgmax=7777", types="-i")
    inside(s, "ipcmk", "-S", "3", types="-i")
    inside(s, "ipcmk", "-Q", types="-i")
    open(root_of(s) + "/tmp/go", "w").close()
    check(wait_for(lambda: os.path.exists(root_of(s) + "/run/count")), "init does not count: %s" % text(root_of(s) + "/run/out"))
    client = None

    def connected():
        nonlocal client
        try:
            client = socket.create_connection(("10.77.0.2", 8080), timeout=1)
        except OSError:
            return False
        client.settimeout(30)  # what was sent meanwhile is sent again after ever longer pauses
        return True
    check(wait_for(connected), "no connection")
    client.sendall(b"first")
    check(client.recv(5, socket.MSG_WAITALL) == b"first", "no echo")
    check(wait_for(lambda: "tentative" not in links_of(s)), "an address stays tentative")
    before = look(s)
    for n in range(3):
        s.dump("--tcp-established", "-j")
        counted = None
        client.sendall(b"meanwhile")
        s.restore("--tcp-established", "-j", "--external", "veth[eth0]:hv0@br9", "--pidfile", s.path("pid%d" % n))
        s.pid = int(text(s.path("pid%d" % n)))
        check(client.recv(9, socket.MSG_WAITALL) == b"meanwhile", "round %d: the connection" % n)
        counted = int(text(root_of(s) + "/run/count"))
        check(wait_for(lambda: int(text(root_of(s) + "/run/count") or 0) > counted + 2), "round %d: init counts no more" % n)
        now = look(s)
        for k, v in before.items():
            check(now[k] == v, "round %d: %s: %s" % (n, k, list(difflib.unified_diff(*([str(x) for x in (y if isinstance(y, list) else y.split("\n"))]
                                                                                      for y in (v, now[k])), n=0))))
        check(not os.path.exists(root_of(s) + "/run/bad"), "round %d: init sees %s" % (n, text(root_of(s) + "/run/bad")))
        check(os.readlink(root_of(s) + "/tmp/link") == "lib" and text(root_of(s) + "/tmp/dir/file") == "x\n", "round %d: /tmp" % n)
        s.clean_images()
    client.close()
    ip("link del hv0")
    os.kill(s.pid, 9)
    open(s.path("over"), "w").close()
    ip("link del br9")


@scenario
def container(s):
    through(s)


@scenario
def container_of_a_user(s):
    through(s, "-Ur")


run_all()
