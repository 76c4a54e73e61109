#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# /dev/net/tun, in a network namespace of the test's own: a descriptor without a device, a tun and a tap device with all
# that a program sets at them, three queues of one device of which one is detached, and a device that persists. Packets
# go both ways afterwards. What cannot be is refused: a filter, a device of that name that is there already.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time

TUNSETIFF, TUNSETPERSIST, TUNSETOWNER, TUNSETGROUP = 0x400454ca, 0x400454cb, 0x400454cc, 0x400454ce
TUNSETSNDBUF, TUNGETSNDBUF, TUNSETVNETHDRSZ, TUNGETVNETHDRSZ = 0x400454d4, 0x800454d3, 0x400454d8, 0x800454d7
TUNGETIFF, TUNSETQUEUE, TUNATTACHFILTER = 0x800454d2, 0x400454d9, 0x401054d5
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE, IFF_DETACH_QUEUE = 1, 2, 0x1000, 0x4000, 0x100, 0x400


def ifreq(name="", flags=0):
    return struct.pack("16sH22x", name.encode(), flags)


def tun(name, flags, mode=os.O_RDWR | os.O_NONBLOCK):
    fd = os.open("/dev/net/tun", mode)
    if name:
        fcntl.ioctl(fd, TUNSETIFF, ifreq(name, flags))
    return fd


def getiff(fd):
    try:
        name, flags = struct.unpack("16sH22x", fcntl.ioctl(fd, TUNGETIFF, ifreq()))
    except OSError as e:
        return os.strerror(e.errno)
    return name.rstrip(b"\0").decode(), flags


def getint(fd, request):
    return struct.unpack("i", fcntl.ioctl(fd, request, b"\0" * 4))[0]


def setint(fd, request, value):
    fcntl.ioctl(fd, request, struct.pack("i", value))


def ip(*args):
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


def link(name):
    """What ip says of a device, without its number and what the kernel counts or chooses by itself."""
    words = ip("-d", "link", "show", name).split()[1:]
    return " ".join(w for w in words if not w.startswith("alias"))


def looks(fds):
    return {k: (getiff(fd), fcntl.fcntl(fd, fcntl.F_GETFL), k == "bare" or (getint(fd, TUNGETSNDBUF),
            getint(fd, TUNGETVNETHDRSZ))) for k, fd in fds.items()}


def fails_in_traffic(fd):
    """With an address, packets come out of the descriptor, and go in by it."""
    ip("addr", "add", "10.99.0.1/24", "dev", "ztun")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.99.0.1", 5000))
    s.settimeout(60)
    s.sendto(b"out", ("10.99.0.2", 6000))
    end = time.monotonic() + 60
    while True:
        try:
            packet = os.read(fd, 2000)
        except BlockingIOError:
            packet = b""
        if packet[9:10] == b"\x11" and packet[12:20] == bytes([10, 99, 0, 1, 10, 99, 0, 2]):
            break
        if time.monotonic() > end:
            return "nothing comes out of the tun device"
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 30, 1, 0, 64, 17, 0, bytes([10, 99, 0, 2]), bytes([10, 99, 0, 1]))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:]
    os.write(fd, head + struct.pack("!HHHH", 6000, 5000, 10, 0) + b"in")
    try:
        if s.recv(100) != b"in":
            return "another packet went in"
    except socket.timeout:
        return "nothing goes into the tun device"
    return None


def victim():
    fds = {"bare": tun("", 0, os.O_RDWR), "ztun": tun("ztun", IFF_TUN | IFF_NO_PI),
           "ztap": tun("ztap", IFF_TAP | IFF_VNET_HDR, os.O_RDWR), "zper": tun("zper", IFF_TAP)}
    for i in range(3):
        fds["zmq%d" % i] = tun("zmq", IFF_TUN | IFF_MULTI_QUEUE)
    fcntl.ioctl(fds["zmq1"], TUNSETQUEUE, ifreq("", IFF_DETACH_QUEUE))
    fcntl.ioctl(fds["zper"], TUNSETPERSIST, 1)
    fcntl.ioctl(fds["ztun"], TUNSETOWNER, 1234)
    fcntl.ioctl(fds["ztap"], TUNSETGROUP, 55)
    setint(fds["ztap"], TUNSETVNETHDRSZ, 12)
    setint(fds["ztap"], TUNSETSNDBUF, 123456)
    ip("link", "set", "ztap", "address", "02:11:22:33:44:55")
    ip("link", "set", "zper", "address", "02:11:22:33:44:66")
    ip("link", "set", "ztun", "mtu", "1400", "up")
    devices = ("ztun", "ztap", "zmq", "zper")
    if os.environ["ROLE"] == "filter":
        code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xffffffff))
        fcntl.ioctl(fds["ztap"], TUNATTACHFILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))
    was, links = looks(fds), {d: link(d) for d in devices}
    open("ready", "w").close()
    while not os.path.exists("verify"):
        time.sleep(0.01)
    fails, now = [], looks(fds)
    fails += ["%s: %r, not %r" % (k, now[k], was[k]) for k in fds if now[k] != was[k]]
    fails += ["%s, not %s" % (link(d), links[d]) for d in devices if link(d) != links[d]]
    fails += filter(None, [fails_in_traffic(fds["ztun"])])
    with open("result", "a") as f:
        f.writelines("FAIL %s\n" % w for w in fails)
        f.write("PASS\n")
    sys.exit(0)


if "ROLE" in os.environ:
    victim()

from driver import check, run_all, scenario  # noqa: E402


def start(s, role="plain"):
    s.victim(os.path.abspath(__file__), env=dict(os.environ, ROLE=role))


def end():
    subprocess.run(["ip", "link", "del", "zper"], capture_output=True)


@scenario
def rounds(s):
    start(s)
    for i in range(3):
        s.clean_images()
        s.dump()
        check("ztun" not in os.listdir("/proc/sys/net/ipv4/conf"), "the device is still there")
        s.restore()
    s.verify()
    end()


@scenario
def filter_is_refused(s):
    start(s, "filter")
    s.dump(ok=False)
    check(s.rc != 0 and "filter" in s.errors("dump.log"), "the refusal says " + s.errors("dump.log"))
    s.verify()
    end()


@scenario
def names(s):
    """A device of that name, and a persistent one that is not there, are named before anything is started."""
    start(s)
    s.dump()
    ip("tuntap", "add", "mode", "tun", "name", "ztun")
    ip("link", "del", "zper")
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0 and "ztun exists already" in said and "zper does not exist" in said, "the refusal says " + said)
    ip("link", "del", "ztun")
    ip("tuntap", "add", "mode", "tap", "name", "zper")
    ip("link", "set", "zper", "address", "02:11:22:33:44:66")
    s.restore()
    s.verify()
    end()


if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
    with open("result", "w") as out:
        out.write("SKIP no network namespace: %s\n" % os.strerror(ctypes.get_errno()))
    sys.exit(77)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
run_all()
