#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A network namespace ends with its tree: packets of a saved connection that come at that moment, sent again and again as fast
# as the host can, are not answered (RST), with a connection that is closed and has bytes left to send as well, whose peer gets
# all of them; IPv4 and IPv6; saved with its devices and without. Another program that holds the namespace by a descriptor, a
# socket, a tun device or a name in its own mount namespace keeps its devices up; where that ends with the tree, as unshare(1)
# does, no packet is answered either, and where it lives on, a restore goes back into it. One that a restore has made ends where
# that fails: the same.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter nft
# zdtm: timeout 600
import errno
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from net_host import check, ip, start, text, wait_for

from driver import rounds_wanted, run_all, scenario

LEFT = 3000000
# The first byte of a connection says what it is: an echo, or one that is closed with bytes left to send.
SERVER = """
import socket, sys
s = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
open("ready", "w").close()
import threading
def one(c):
    if c.recv(1) == b"c":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        c.setblocking(False)
        n = 0
        try:
            while n < %d:
                n += c.send(b"x" * min(65536, %d - n))
        except BlockingIOError:
            pass
        c.close()
        open("closed.new", "w").write(str(n))
        import os
        os.rename("closed.new", "closed")
        return
    while True:
        data = c.recv(1000)
        if not data:
            return
        c.sendall(data)
while True:
    threading.Thread(target=one, args=(s.accept()[0],)).start()
""" % (LEFT, LEFT)
HOOK = '[ "$CRTOOLS_SCRIPT_ACTION" = pre-resume ] || exit 0\nip addr add 10.77.0.1/24 dev hv0\nip addr add fd77::1/64 dev hv0 nodad\n'
PLUG = """ip link add hv0 type veth peer name eth0 netns $pid
ip addr add 10.77.0.1/24 dev hv0; ip addr add fd77::1/64 dev hv0 nodad; ip link set hv0 up
nsenter -t $pid -n sh -ec 'sysctl -qw net.ipv6.conf.eth0.accept_dad=0; ip link set lo up; ip addr add 10.77.0.2/24 dev eth0; ip addr add fd77::2/64 dev eth0 nodad
ip link set eth0 address 02:00:00:00:77:02; ip link set eth0 up'
"""


def with_checksum(frame):
    """The device would have computed that of TCP: a program that sends the frame has to."""
    is_6 = frame[12:14] == b"\x86\xdd"
    at = 14 + (40 if is_6 else (frame[14] & 15) * 4)
    segment = frame[at:at + 16] + b"\0\0" + frame[at + 18:]
    data = (frame[22:54] if is_6 else frame[26:34]) + struct.pack("!II", len(segment), 6) + segment
    total = sum(struct.unpack("!%dH" % ((len(data) + 1) // 2), data + b"\0" * (len(data) % 2)))
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    return frame[:at + 16] + struct.pack("!H", ~total & 0xffff) + frame[at + 18:]


class Storm(threading.Thread):
    """Takes the first frame of a connection (by our port) that goes out over hv0, and sends it again and again."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.sent, self.stop = port, 0, False
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind(("hv0", 3))
        self.sock.settimeout(20)

    def is_it(self, frame):
        if b"meanwhile" not in frame or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return False
        at = 14 + (40 if frame[12:14] == b"\x86\xdd" else (frame[14] & 15) * 4)
        return struct.unpack("!HH", frame[at:at + 4]) == (self.port, 8080)

    def run(self):
        frame = b""
        while not self.is_it(frame):
            frame = self.sock.recv(2000)
        self.frame = with_checksum(frame)
        self.repeat()

    def repeat(self):
        """Until the device is gone."""
        while not self.stop:
            try:
                self.sock.send(self.frame)
                self.sent += 1
            except BlockingIOError:
                pass
            except OSError as e:
                if e.errno not in (errno.ENOBUFS, errno.ENETDOWN):
                    return  # the device is gone
                if not os.path.exists("/sys/class/net/hv0") and "hv0" not in ip("link"):
                    return


def begin(s, family):
    for n in ("ready", "closed", "storm", "now"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    check(wait_for(lambda: "hv0" not in ip("link")), "hv0 of the round before")
    start(s, "unshare", "-n", "sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; rm go; exec %s -c '%s'" % (sys.executable, SERVER))
    check(wait_for(lambda: os.readlink("/proc/%d/ns/net" % s.pid) != os.readlink("/proc/self/ns/net")), "no namespace")
    p = subprocess.run(["sh", "-ec", PLUG], env=dict(os.environ, pid=str(s.pid)), capture_output=True, text=True)
    check(not p.returncode, p.stderr)
    open(s.path("go"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))
    return connect(family, b"e")


def connect(family, kind):
    c = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET)
    if kind == b"c":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.settimeout(20)
    c.connect(("fd77::2" if family == 6 else "10.77.0.2", 8080))
    c.sendall(kind)
    if kind == b"e":
        c.sendall(b"before")
        check(c.recv(100) == b"before", "no echo")
    return c


def read_all(c):
    n = 0
    while True:
        got = c.recv(65536)
        if not got:
            return n
        n += len(got)


ENDS_WITH = "import os, select, sys; p = select.poll(); p.register(os.pidfd_open(int(sys.argv[1])), 1); open('waits', 'w').close(); p.poll()"


def start_holder(s, *command):
    other = subprocess.Popen(["nsenter", "-t", str(s.pid), "-n", *command], cwd=s.dir)
    check(wait_for(lambda: os.readlink("/proc/%d/ns/net" % other.pid) == os.readlink("/proc/%d/ns/net" % s.pid)), "the other program")
    return other


def one_round(s, family, closing, *opts, held=False):
    client = begin(s, family)
    if held:
        if os.path.exists(s.path("waits")):
            os.unlink(s.path("waits"))
        other = start_holder(s, sys.executable, "-c", ENDS_WITH, str(s.pid))
        check(wait_for(lambda: os.path.exists(s.path("waits"))), "the other program does not wait")
    slow = connect(family, b"c") if closing else None
    check(not closing or wait_for(lambda: os.path.exists(s.path("closed"))), "not closed: " + text(s.path("victim.out")))
    storm = Storm(client.getsockname()[1])
    storm.start()
    # At post-dump the lock stands: what is sent now waits for an answer.
    hook = s.script("storm-hook", '[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0\n: >now\nwhile [ ! -e storm ]; do sleep 0.01; done\n')

    def send():
        wait_for(lambda: os.path.exists(s.path("now")))
        client.sendall(b"meanwhile")
        check(wait_for(lambda: storm.sent > 100 or not storm.is_alive()), "no frame")
        open(s.path("storm"), "w").close()
    sender = threading.Thread(target=send)
    sender.start()
    # Its work directory is that of the images, unless it is given.
    s.dump("--tcp-established", "-W", s.dir, "--action-script", hook, "-o", "dump.log", *opts)
    sender.join()
    if held:
        check(other.wait() == 0 and "is held by" in text(s.path("dump.log")), "the other program")
    if closing:
        was = storm.sent
        wait_for(lambda: storm.sent > was + 1000)
        check(read_all(slow) == int(text(s.path("closed"))), "bytes of the closed connection are lost")
        slow.close()
    check(wait_for(lambda: "hv0" not in ip("link")), "the device stays: %s" % ip("link"))
    storm.stop = True
    storm.join()
    storm.sock.close()
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    # Without the device there is no route, which is no end of a connection.
    check(error in (0, errno.ENETUNREACH, errno.EHOSTUNREACH), "the connection was answered: %s (%d frames)" % (os.strerror(error), storm.sent))
    if "--empty-ns" in opts:
        hook = s.script("plug", '[ "$CRTOOLS_SCRIPT_ACTION" = setup-namespaces ] || exit 0\npid=$CRTOOLS_INIT_PID\n' + PLUG)
        s.restore("--tcp-established", *opts, "--action-script", hook)
    else:
        s.restore("--tcp-established", "--external", "veth[eth0]:hv0", "--action-script", s.script("hook", HOOK))
    client.settimeout(60)
    check(client.recv(100) == b"meanwhile", "no echo after the restore")
    client.close()
    s.kill()
    s.clean_images()
    return storm.sent


def rounds(s, family, closing, *opts, **kw):
    sent = 0
    for n in range(rounds_wanted(3)):
        try:
            sent += one_round(s, family, closing, *opts, **kw)
        except OSError as e:
            check(False, "round %d: %r" % (n, e))
    print("%d frames" % sent, flush=True)


@scenario
def plain(s):
    rounds(s, 4, False)


@scenario
def plain_6(s):
    rounds(s, 6, False)


@scenario
def closing(s):
    rounds(s, 4, True)


@scenario
def closing_6(s):
    rounds(s, 6, True)


@scenario
def held(s):
    rounds(s, 4, False, held=True)


@scenario
def held_6(s):
    rounds(s, 6, True, held=True)


@scenario
def back_into_it(s):
    """What was held gets its tree back: the rules that dropped its packets are gone; those of the other program were none."""
    client = begin(s, 4)
    other = start_holder(s, "sleep", "1000")
    rules = [ip(w, pid=other.pid) for w in ("rule", "-6 rule")]
    s.dump("--tcp-established")
    check("blackhole" in ip("rule", pid=other.pid), ip("rule", pid=other.pid))
    client.sendall(b"meanwhile")
    s.restore("--tcp-established", "--join-ns", "net:%d" % other.pid)
    client.settimeout(60)
    check(client.recv(100) == b"meanwhile", "no echo after the restore")
    check([ip(w, pid=other.pid) for w in ("rule", "-6 rule")] == rules, "rules: " + ip("rule", pid=other.pid))
    client.close()
    s.kill()
    other.kill()
    other.wait()


@scenario
def empty(s):
    rounds(s, 4, False, "--empty-ns", "net")


@scenario
def empty_closing(s):
    rounds(s, 4, True, "--empty-ns", "net")


class NextStorm(Storm):
    """The same frame, over a device that is there again. (What cannot be sent to a device that comes is not counted.)"""

    def __init__(self, frame):
        super().__init__(0)
        self.frame = frame

    def run(self):
        self.repeat()


@scenario
def failing(s):
    """Restores that fail when the device is plugged in: the client's packets are not answered."""
    client, frames = begin(s, 4), 0
    storm = Storm(client.getsockname()[1])
    storm.start()
    hook = s.script("sent-hook", '[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0\n: >now\nwhile [ ! -e storm ]; do sleep 0.01; done\n')

    def send():
        wait_for(lambda: os.path.exists(s.path("now")))
        client.sendall(b"meanwhile")
        check(wait_for(lambda: storm.sent > 100), "no frame")
        open(s.path("storm"), "w").close()
    sender = threading.Thread(target=send)
    sender.start()
    s.dump("--tcp-established", "-W", s.dir, "--action-script", hook, "-o", "dump.log", "--empty-ns", "net")
    sender.join()
    storm.stop = True
    storm.join()
    plug = '[ "$CRTOOLS_SCRIPT_ACTION" = setup-namespaces ] || exit 0\npid=$CRTOOLS_INIT_PID\n' + PLUG
    fails = s.script("fails", '[ "$CRTOOLS_SCRIPT_ACTION" = post-setup-namespaces ] || exit 0\n: >plugged\nwhile [ ! -e stormy ]; do sleep 0.01; done\nexit 1\n')
    plug = s.script("plug", plug)
    for n in range(rounds_wanted(8)):
        check(wait_for(lambda: "hv0" not in ip("link")), "the device stays: %s" % ip("link"))
        for name in ("plugged", "stormy"):
            if os.path.exists(s.path(name)):
                os.unlink(s.path(name))

        def again():
            wait_for(lambda: os.path.exists(s.path("plugged")))
            again.storm = NextStorm(storm.frame)
            again.storm.start()
            wait_for(lambda: again.storm.sent > 100)
            open(s.path("stormy"), "w").close()
        sender = threading.Thread(target=again)
        sender.start()
        s.restore("--tcp-established", "-W", s.dir, "--empty-ns", "net", "--action-script", plug, "--action-script", fails, ok=False)
        check(s.rc, "a script's veto was not heard")
        sender.join()
        check(wait_for(lambda: "hv0" not in ip("link")), "the device stays: %s" % ip("link"))
        again.storm.stop = True
        again.storm.join()
        frames += again.storm.sent
        error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        check(error in (0, errno.ENETUNREACH, errno.EHOSTUNREACH), "round %d: the connection was answered: %s (%d frames)" % (n, os.strerror(error), frames))
    s.restore("--tcp-established", "--empty-ns", "net", "--action-script", plug)
    client.settimeout(60)
    check(client.recv(100) == b"meanwhile", "no echo after the restore")
    client.close()
    s.kill()
    print("%d frames" % frames, flush=True)


HOLDERS = {
    "descriptor": "fd = os.open('/proc/%d/ns/net', os.O_RDONLY)",
    "socket": "setns(%d); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 0)); back()",
    "tun": "setns(%d); fd = os.open('/dev/net/tun', os.O_RDWR); fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'tap9', 0x1002)); back()",
    "thread": "pid = %d; threading.Thread(target=lambda: (setns(pid), time.sleep(1000)), daemon=True).start()",
    "name": "libc.unshare(0x20000); libc.mount(b'none', b'/', None, 0x44000, None); open('held', 'w').close(); "
            "assert not libc.mount(b'/proc/%d/ns/net', b'held', None, 0x1000, None)",
}
HOLDER = """
import ctypes, fcntl, os, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
own = os.open("/proc/self/ns/net", os.O_RDONLY)
def setns(pid):
    fd = os.open("/proc/%%d/ns/net" %% pid, os.O_RDONLY)
    assert not libc.setns(fd, 0x40000000)
    os.close(fd)
def back():
    assert not libc.setns(own, 0x40000000)
%s
time.sleep(0.1)
open("held.new", "w").close(); os.rename("held.new", "holds")
time.sleep(1000)
"""


@scenario
def held_by_others(s):
    for kind, does in HOLDERS.items():
        client = begin(s, 4)
        if os.path.exists(s.path("holds")):
            os.unlink(s.path("holds"))
        other = subprocess.Popen([sys.executable, "-c", HOLDER % (does % s.pid)], cwd=s.dir)
        check(wait_for(lambda: os.path.exists(s.path("holds"))), "the other program, %s" % kind)
        s.dump("--tcp-established")
        said = text(os.path.join(s.imgs, "dump.log"))
        check("is held by" in said and {"name": "mount namespace"}.get(kind, kind) in said.split("is held by")[1].splitlines()[0], said)
        check("NO-CARRIER" not in ip("link show hv0"), "%s: the devices are down: %s" % (kind, ip("link show hv0")))
        other.kill()
        other.wait()
        check(wait_for(lambda: "hv0" not in ip("link")), "%s: the device is left" % kind)
        client.close()
        s.clean_images()


@scenario
def held_by_nothing(s):
    """The same: criu, its guardian and the tree are no others."""
    client = begin(s, 4)
    other = subprocess.Popen(["nsenter", "-t", str(s.pid), "-n", "-m", "sleep", "1000"])
    check(wait_for(lambda: text("/proc/%d/comm" % other.pid) == "sleep\n"), "nsenter")
    other.kill()
    other.wait()
    s.dump("--tcp-established")
    said = text(os.path.join(s.imgs, "dump.log"))
    check("ends with the tree, or when 0 closed" in said and "is held by" not in said, said)
    check(wait_for(lambda: "hv0" not in ip("link")), "the device is left")
    client.close()


run_all()
