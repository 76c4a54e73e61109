# SPDX-License-Identifier: GPL-2.0-only
"""The zoo: sockets of every family, none of them a TCP connection."""
import array
import ctypes
import os
import socket
import struct

from zoo_base import Absent, Animal, animal, child, drained, libc, readable, same, true

STREAM, DGRAM, SEQ, UNIX = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.AF_UNIX
SO_ATTACH_FILTER, SO_PEERCRED, SO_PASSCRED = 26, 17, 16


def quiet(s):
    s.setblocking(False)
    return s


def pair(kind):
    return [quiet(s) for s in socket.socketpair(UNIX, kind)]


def all_of(s):
    out = []
    while readable(s.fileno()):
        more = s.recv(100000)
        out.append(more)
        if not more:
            break
    return out


@animal
class UnixPairs(Animal):
    def setup(self):
        self.pairs = {k: pair(k) for k in (STREAM, DGRAM, SEQ)}

    def fill(self):
        for k, (a, b) in self.pairs.items():
            a.send(b"first")
            a.send(b"the second" * 1000)
            b.send(b"back")

    def check(self):
        for k, (a, b) in self.pairs.items():
            same("back", a.recv(100), b"back")
            got = all_of(b)
            same("messages", got if k != STREAM else b"".join(got),
                 [b"first", b"the second" * 1000] if k != STREAM else b"first" + b"the second" * 1000)
            true("more", not readable(a.fileno()))


@animal
class UnixHalfShut(Animal):
    def setup(self):
        self.a, self.b = pair(STREAM)
        self.c, self.d = pair(SEQ)
        self.a.send(b"last words")
        self.a.shutdown(socket.SHUT_WR)
        self.c.close()
        self.first = True

    def check(self):
        if self.first:
            same("before the end", self.b.recv(100), b"last words")
        self.first = False
        same("the end", self.b.recv(100), b"")
        self.b.send(b"still open")
        same("the other way", self.a.recv(100), b"still open")
        same("a closed peer", self.d.recv(100), b"")


@animal
class UnixNamed(Animal):
    """Listening by name, relative name, abstract name, a name that was taken away; connections that wait."""

    def setup(self):
        self.names = {"abs": os.path.abspath("sock.abs"), "rel": "sock.rel", "abstract": "\0zoo-" + os.getcwd(),
                      "deleted": "sock.deleted"}
        self.listening = {n: quiet(socket.socket(UNIX, SEQ if n == "rel" else STREAM)) for n in self.names}
        for n, s in self.listening.items():
            s.bind(self.names[n])
            s.listen(5)
        os.unlink("sock.deleted")
        self.peers = {}

    def fill(self):
        for n, s in self.listening.items():
            if n != "deleted":
                self.peers[n] = quiet(socket.socket(UNIX, s.type))
                self.peers[n].connect(self.names[n])

    def check(self):
        for n, s in self.listening.items():
            same("name", s.getsockname(), self.names[n] if n != "abstract" else self.names[n].encode())
            true("does not listen", s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            if n == "deleted":
                continue
            c = s.accept()[0]
            self.peers[n].send(b"from " + n.encode())
            same("what is said", c.recv(100), b"from " + n.encode())
            c.send(b"answer")
            same("answer", self.peers[n].recv(100), b"answer")
            c.close()
            same("end", self.peers[n].recv(100), b"")
            self.peers[n].close()
        true("the deleted name is there", not os.path.exists("sock.deleted"))


@animal
class UnixPendingData(Animal):
    """A connection that waits to be accepted has sent something already."""

    def setup(self):
        self.listening = quiet(socket.socket(UNIX, STREAM))
        self.listening.bind("\0zoo-pending-" + os.getcwd())
        self.listening.listen(5)

    def fill(self):
        self.peer = quiet(socket.socket(UNIX, STREAM))
        self.peer.connect("\0zoo-pending-" + os.getcwd())
        self.peer.send(b"early words")

    def check(self):
        c = self.listening.accept()[0]
        same("what waits", c.recv(100), b"early words")
        c.close()
        same("end", self.peer.recv(100), b"")
        self.peer.close()


@animal
class UnixDatagrams(Animal):
    def setup(self):
        self.to, self.by = quiet(socket.socket(UNIX, DGRAM)), quiet(socket.socket(UNIX, DGRAM))
        self.to.bind("sock.dgram")
        self.by.bind("\0zoo-sender-" + os.getcwd())
        self.anon = quiet(socket.socket(UNIX, DGRAM))
        self.anon.connect("sock.dgram")

    def fill(self):
        self.by.sendto(b"one", "sock.dgram")
        self.anon.send(b"two")
        self.by.sendto(b"", "sock.dgram")

    def check(self):
        name = b"\0zoo-sender-" + os.getcwd().encode()
        same("messages", [self.to.recvfrom(100) for _ in range(3)], [(b"one", name), (b"two", None), (b"", name)])
        true("more", not readable(self.to.fileno()))
        self.anon.send(b"again")
        same("again", self.to.recv(100), b"again")
        same("peer", self.anon.getpeername(), "sock.dgram")


@animal
class UnixInFlight(Animal):
    """Descriptors in a queue, and a socket in a queue that has one in its own."""

    def setup(self):
        self.a, self.b = pair(STREAM)

    def give(self, by, fds, words):
        by.sendmsg([words], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])

    def take(self, s):
        words, anc, _, _ = s.recvmsg(100, socket.CMSG_SPACE(64))
        return words, [fd for _, _, data in anc for fd in array.array("i", data)]

    def fill(self):
        ev = libc.eventfd(9, os.O_NONBLOCK)
        c, d = pair(DGRAM)
        with open("in-flight", "w+") as f:
            f.write("a file")
            f.flush()
            self.give(c, [f.fileno()], b"inner")
        self.give(self.a, [ev, d.fileno()], b"outer")
        os.close(ev)
        c.close()
        d.close()

    def check(self):
        words, fds = self.take(self.b)
        same("message", (words, len(fds)), (b"outer", 2))
        same("eventfd", os.read(fds[0], 8), struct.pack("Q", 9))
        inner = socket.socket(fileno=fds[1])
        words, files = self.take(inner)
        same("inner message", (words, len(files)), (b"inner", 1))
        same("file", os.pread(files[0], 100, 0), b"a file")
        for fd in [fds[0], *files]:
            os.close(fd)
        inner.close()


@animal
class UnixCredentials(Animal):
    """Of a peer that is gone, of a sender that is gone, of one that lives."""

    def setup(self):
        self.a, self.b = pair(DGRAM)
        self.b.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        self.peer = self.a.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, 12)

    def fill(self):
        self.a.send(b"mine")

    def check(self):
        words, anc, _, _ = self.b.recvmsg(100, 100)
        same("message", words, b"mine")
        same("credentials", [struct.unpack("iii", c[:12]) for _, t, c in anc if t == 2],
             [(os.getpid(), os.getuid(), os.getgid())])
        same("peer", self.a.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, 12), self.peer)


def code(*instructions):
    """A classic filter, and what keeps its bytes alive."""
    buf = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in instructions))
    return struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(buf)), buf


TAKE_ALL = code((6, 0, 0, 0xffffffff))


@animal
class Udp(Animal):
    def setup(self):
        self.bound, self.connected = quiet(socket.socket(socket.AF_INET, DGRAM)), quiet(socket.socket(socket.AF_INET6, DGRAM))
        self.bound.bind(("127.0.0.1", 0))
        self.bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100000)
        self.bound.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
        self.bound.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, TAKE_ALL[0])
        self.fresh = socket.socket(socket.AF_INET, DGRAM)
        self.connected.bind(("::1", 0))
        self.connected.connect(self.connected.getsockname())
        self.was = self.look()

    def look(self):
        return (self.bound.getsockname(), self.connected.getsockname(), self.connected.getpeername(),
                self.bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
                self.bound.getsockopt(socket.IPPROTO_IP, socket.IP_TTL), self.fresh.getsockname())

    def check(self):
        same("addresses, options", self.look(), self.was)
        self.fresh_sender = socket.socket(socket.AF_INET, DGRAM)
        self.fresh_sender.sendto(b"new work", self.bound.getsockname())
        self.fresh_sender.close()
        true("nothing comes", readable(self.bound.fileno(), 60))
        same("new work", self.bound.recv(100), b"new work")
        self.connected.send(b"to itself")
        true("nothing comes to itself", readable(self.connected.fileno(), 60))
        same("to itself", self.connected.recv(100), b"to itself")
        # Bytes of a filter: this many instructions.
        n = ctypes.c_uint32(0)
        libc.getsockopt(self.bound.fileno(), socket.SOL_SOCKET, SO_ATTACH_FILTER, None, ctypes.byref(n))
        same("the filter's length", n.value, 1)


@animal
class Tcp(Animal):
    """Listening, bound, closed; no connection."""

    def setup(self):
        self.listening, self.bound = socket.socket(), socket.socket(socket.AF_INET6)
        self.closed = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(17)
        self.bound.bind(("::", 0))
        self.closed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.was = self.look()

    def look(self):
        return (self.listening.getsockname(), self.bound.getsockname(), self.closed.getsockname(),
                self.closed.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                self.closed.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                self.listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
                self.listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def check(self):
        same("addresses, options", self.look(), self.was)
        c = socket.create_connection(self.listening.getsockname(), 60)
        s = self.listening.accept()[0]
        c.sendall(b"new connection")
        same("new connection", s.recv(100), b"new connection")
        # Closed without TIME_WAIT, which a dump would find in its way.
        for x in (c, s):
            x.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            x.close()


@animal
class Raw(Animal):
    def setup(self):
        self.udp = quiet(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
        self.udp.bind(("127.0.0.1", 0))
        self.six = quiet(socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
        try:
            with open("/proc/sys/net/ipv4/ping_group_range", "w") as f:
                f.write("0 0")
            self.ping = quiet(socket.socket(socket.AF_INET, DGRAM, socket.IPPROTO_ICMP))
        except OSError:
            self.ping = None

    def check(self):
        drained(self.udp.fileno())
        s = socket.socket(socket.AF_INET, DGRAM)
        s.sendto(b"seen raw", ("127.0.0.1", 9))
        s.close()
        true("nothing comes", readable(self.udp.fileno(), 60))
        same("packet", self.udp.recv(100)[28:], b"seen raw")
        same("protocols", [x.getsockopt(socket.SOL_SOCKET, 38) for x in (self.udp, self.six)], [17, 58])
        if self.ping:
            self.ping.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + b"ping", ("127.0.0.1", 0))
            true("no answer to a ping", readable(self.ping.fileno(), 60))
            same("answer", self.ping.recv(100)[8:], b"ping")
        drained(self.udp.fileno())


@animal
class Packet(Animal):
    def setup(self):
        self.s = quiet(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        self.s.bind(("lo", 3))
        self.s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, TAKE_ALL[0])

    def fill(self):
        drained(self.s.fileno())

    def check(self):
        same("name", self.s.getsockname()[:2], ("lo", 3))
        drained(self.s.fileno())
        s = socket.socket(socket.AF_INET, DGRAM)
        s.sendto(b"on the wire", ("127.0.0.1", 9))
        s.close()
        true("nothing comes", readable(self.s.fileno(), 60))
        same("packet", self.s.recv(100)[-11:], b"on the wire")
        drained(self.s.fileno())


@animal
class Netlink(Animal):
    def setup(self):
        self.s = quiet(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
        self.s.bind((0, 1))
        self.s.setsockopt(270, 1, 5)  # one group more
        self.other = quiet(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15))
        self.name = self.s.getsockname()

    def fill(self):
        drained(self.s.fileno())

    def check(self):
        same("name", self.s.getsockname(), self.name)
        drained(self.s.fileno())
        self.s.send(struct.pack("IHHII", 32, 18, 1 | 0x300, 7, 0) + b"\0" * 16)  # RTM_GETLINK, all
        true("no answer", readable(self.s.fileno(), 60))
        same("answer", struct.unpack_from("IHHI", self.s.recv(65536))[1:4:2], (16, 7))
        drained(self.s.fileno())
