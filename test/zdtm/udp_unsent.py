#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# UDP datagrams that were sent and wait for a neighbour who does not answer are no reason against a dump; what MSG_MORE or
# UDP_CORK holds back is, and the look at it changes nothing. In a network namespace of the test's own.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip
import ctypes
import os
import socket
import subprocess
import sys
import time

UDP_CORK = 1
ROLE = os.environ.get("ROLE")


def udp(family, *to):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if to:
        s.connect(to)
    return s


def live(check):
    open("ready", "w").close()
    while not os.path.exists("verify"):
        time.sleep(0.01)
    with open("result", "w") as f:
        f.write("PASS\n" if check() else "FAIL what was held back is not what it was\n")


if ROLE == "waiting":
    socks = [udp(socket.AF_INET), udp(socket.AF_INET, "10.9.9.3", 7), udp(socket.AF_INET6), udp(socket.AF_INET6)]
    for s, to in zip(socks, ["10.9.9.2", "10.9.9.3", "fd09::2", "::ffff:10.9.9.4"]):
        s.sendto(b"x", (to, 7))
    live(lambda: all(s.getsockname()[1] for s in socks))
    sys.exit(0)
if ROLE == "held":
    here = [udp(f) for f in (socket.AF_INET, socket.AF_INET6, socket.AF_INET)]
    for s, a in zip(here, ["127.0.0.1", "::1", "127.0.0.1"]):
        s.bind((a, 0))
    held = [udp(socket.AF_INET), udp(socket.AF_INET6), udp(socket.AF_INET6)]
    held[0].setsockopt(socket.IPPROTO_UDP, UDP_CORK, 1)
    for s, to in zip(held, [("127.0.0.1", here[0].getsockname()[1]), ("::1", here[1].getsockname()[1]),
                            ("::ffff:127.0.0.1", here[2].getsockname()[1])]):
        s.sendto(b"one,", socket.MSG_MORE, to)

    def check():
        held[0].setsockopt(socket.IPPROTO_UDP, UDP_CORK, 0)
        for s in held[1:]:
            s.send(b"two")
        return [s.recv(100) for s in here] == [b"one,", b"one,two", b"one,two"]
    live(check)
    sys.exit(0)

from driver import check, run_all, scenario  # noqa: E402


@scenario
def waiting(s):
    s.victim(os.path.abspath(__file__), env=dict(os.environ, ROLE="waiting"))
    s.dump()
    s.restore()
    s.verify()


@scenario
def held(s):
    s.victim(os.path.abspath(__file__), env=dict(os.environ, ROLE="held"))
    s.dump(ok=False)
    check(s.rc == 1 and s.out.count("not sent yet (UDP_CORK, MSG_MORE)") == 3, "dump: %d, %s" % (s.rc, s.out))
    s.verify()


if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
    with open("result", "w") as out:
        out.write("SKIP no network namespace: %s\n" % os.strerror(ctypes.get_errno()))
    sys.exit(77)
for words in ("link set lo up", "link add v0 type veth peer name v1", "link set v0 up", "link set v1 up",
              "addr add 10.9.9.1/24 dev v0", "addr add fd09::1/64 dev v0 nodad"):
    subprocess.run(["ip"] + words.split(), check=True)
for n in "46":  # nobody gives up while the test runs
    with open("/proc/sys/net/ipv%s/neigh/v0/retrans_time_ms" % n, "w") as f:
        f.write("600000")
run_all()
