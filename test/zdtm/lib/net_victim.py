# SPDX-License-Identifier: GPL-2.0-only
"""
A program in a network namespace of its own: it has sockets of all kinds, counts bytes over TCP with a child, and looks at
all of that when the file "verify" is there.
"""
import os
import socket
import struct
import sys
import time
import traceback

NAME = "\0criu-test-net-ns"


def counter(sock, echo):
    """Sends numbers and gets them back, one after the other; the file "count" says how far it came."""
    n = 0
    while True:
        if echo:
            data = sock.recv(8, socket.MSG_WAITALL)
            if not data:
                return
            sock.sendall(data)
            continue
        sock.sendall(struct.pack("=Q", n))
        got = sock.recv(8, socket.MSG_WAITALL)
        if len(got) != 8 or struct.unpack("=Q", got)[0] != n:
            with open("bad", "w") as f:
                f.write("sent %d, got %r" % (n, got))
            return
        n += 1
        if n % 64 == 0:
            with open("count.new", "w") as f:
                f.write(str(n))
            os.rename("count.new", "count")
            time.sleep(0.001)


def tcp_pair(listener):
    client = socket.create_connection(listener.getsockname()[:2])
    server, _ = listener.accept()
    return client, server


class Sockets:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 80))
        self.listener6 = socket.create_server(("::1", 80), family=socket.AF_INET6)
        self.a, self.b = tcp_pair(self.listener)
        self.c, self.d = tcp_pair(self.listener6)
        self.a.sendall(b"on its way")
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 53))
        self.udp.sendto(b"queued", self.udp.getsockname())
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(NAME)
        self.abstract.listen(5)
        self.client = socket.socket(socket.AF_UNIX)
        self.client.connect(NAME)
        self.accepted, _ = self.abstract.accept()
        self.dgram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.dgram.bind(NAME + "-dgram")
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.netlink.bind((4711, 1))
        self.packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.packet.bind(("lo", 0x0800))

    def verify(self):
        assert self.b.recv(100) == b"on its way"
        for x, y in ((self.a, self.b), (self.d, self.c), (self.client, self.accepted)):
            x.sendall(b"again")
            assert y.recv(100) == b"again"
        new, other = tcp_pair(self.listener)
        new.sendall(b"new")
        assert other.recv(10) == b"new"
        assert self.udp.recvfrom(100) == (b"queued", ("127.0.0.1", 53))
        s = socket.socket(socket.AF_UNIX)
        s.connect(NAME)
        s.close()
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.sendto(b"x", NAME + "-dgram")
        assert self.dgram.recv(10) == b"x"
        assert self.netlink.getsockname() == (4711, 1), self.netlink.getsockname()
        # RTM_GETLINK of all: answered from the namespace that the socket is in
        self.netlink.send(struct.pack("=IHHIIBxHiII", 32, 18, 0x301, 1, 0, 0, 0, 0, 0, 0))
        assert b"lo\0" in self.netlink.recv(65536)
        self.packet.settimeout(20)  # it sees the other connections, too
        for n in range(200000):
            if n % 100 == 0:
                self.udp.sendto(b"seen", self.udp.getsockname())
                self.udp.recv(100)
            if b"seen" in self.packet.recv(2000):
                break
        else:
            assert False, "the packet socket sees nothing"
        sockets = [s for s in vars(self).values() if isinstance(s, socket.socket)]
        cookie = {s.getsockopt(socket.SOL_SOCKET, 71, 8) for s in sockets}  # SO_NETNS_COOKIE
        assert len(cookie) == 1, "%d network namespaces" % len(cookie)
        fresh = socket.socket(socket.AF_UNIX)
        assert fresh.getsockopt(socket.SOL_SOCKET, 71, 8) in cookie, "not the namespace of the task"


def main():
    os.system("ip link set lo up")
    time.sleep(0.1)  # ::1
    all_sockets = Sockets()
    count = tcp_pair(all_sockets.listener)
    for echo in (0, 1):
        if not os.fork():
            count[1 - echo].close()
            counter(count[echo], echo)
            os._exit(0)
    for s in count:
        s.close()
    open("ready", "w").close()
    while not os.path.exists("verify"):
        time.sleep(0.02)
    try:
        all_sockets.verify()
        said = "PASS"
    except Exception:
        said = "FAIL %s" % traceback.format_exc().replace("\n", " | ")
    with open("result", "a") as f:
        f.write(said + "\n")
    os.unlink("verify")
    while "again" in sys.argv:
        time.sleep(1)


main()
