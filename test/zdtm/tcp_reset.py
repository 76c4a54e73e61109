#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Connections that ended by a reset, in every way a program may have learned of it or not: what poll, recv, send and SO_ERROR say
# afterwards is what they say of a twin that was not dumped; each send without MSG_NOSIGNAL that fails with EPIPE raises SIGPIPE.
# zdtm: iters 2
import errno
import os
import select
import signal
import socket
import struct
import time

pipes = []
signal.signal(signal.SIGPIPE, lambda *a: pipes.append(1))


def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
    return a, b


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def until_closed(s):
    end = time.monotonic() + 20
    while s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 7:
        assert time.monotonic() < end
        time.sleep(0.001)


def said(fn):
    try:
        r = fn()
        return len(r) if isinstance(r, bytes) else r
    except OSError as e:
        return errno.errorcode[e.errno]


def disconnect(s):
    """connect() to AF_UNSPEC: by libc, since Python knows no such address."""
    import ctypes
    ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)


def plain(a, b):
    reset(b)


def half(a, b):
    a.shutdown(socket.SHUT_WR)
    reset(b)


def peer_half(a, b):
    b.shutdown(socket.SHUT_WR)
    while not select.select([a], [], [], 1)[0]:
        pass
    reset(b)


def unread(a, b):
    b.send(b"12345")
    while not select.select([a], [], [], 1)[0]:
        pass
    reset(b)


def data_lost(a, b):
    """The peer closes with bytes that it has not read: a reset comes of it."""
    a.send(b"12345")
    while not select.select([b], [], [], 1)[0]:
        pass
    b.close()


def own_unspec(a, b):
    disconnect(a)
    b.close()


def nothing(s):
    pass


def by_recv(s):
    said(lambda: s.recv(100))


def by_error(s):
    s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def by_send(s):
    said(lambda: s.send(b"x"))


def twice(s):
    by_recv(s)
    by_recv(s)
    by_send(s)


def verdict(s, first):
    p = select.poll()
    p.register(s, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    s.setblocking(False)
    pipes.clear()
    out = [[e for _, e in p.poll(0)]]
    if first == "error":
        out.append(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    if first == "recv":
        out += [said(lambda: s.recv(100)), said(lambda: s.recv(100))]
    out += [said(lambda: s.send(b"x")), said(lambda: s.send(b"x")), said(lambda: s.recv(100)), said(lambda: s.recv(100)),
            said(s.getpeername), len(pipes)]
    return out


def make(way, told):
    a, b = pair()
    way(a, b)
    until_closed(a)
    told(a)
    return a


CASES = [(way, told, first) for way in (plain, half, peer_half, unread, data_lost, own_unspec)
         for told in (nothing, by_recv, by_error, by_send, twice) for first in ("send", "recv", "error")]
made = [(make(way, told), verdict(make(way, told), first), way, told, first) for way, told, first in CASES]
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.01)
with open("result", "w") as out:
    for s, want, way, told, first in made:
        got = verdict(s, first)
        if got != want:
            out.write("FAIL %s, told %s, %s first: %r, wanted %r\n" % (way.__name__, told.__name__, first, got, want))
    out.write("PASS\n")
