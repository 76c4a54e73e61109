#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Netlink sockets that are connected to others, which are connected to them, or to nothing: what is sent arrives.
# zdtm: restores 2
import os
import socket
import struct
import time

USERSOCK = 2


def new(port=None, kind=socket.SOCK_RAW):
    s = socket.socket(socket.AF_NETLINK, kind, USERSOCK)
    if port is not None:
        s.bind((port, 0))
    return s


def connected(to, s=None):
    s = s or new()
    s.connect((to if isinstance(to, int) else to.getsockname()[0], 0))
    return s


def message(name):
    return struct.pack("IHHII", 16 + len(name), 16, 0, 1, 0) + name.encode()


given, chosen, left, right, later = new(5001), new(0), new(0), new(0), connected(5555)
connected(left, right)
connected(right, left)
again = connected(given)
other = new(6001)
connected(other, again)
loose = connected(given)
loose.connect((0, 0))
many = [new(0) for _ in range(200)]
dgram = new(0, socket.SOCK_DGRAM)
pairs = [("given", connected(given), given), ("chosen", connected(chosen), chosen), ("both", left, right), ("both back", right, left),
         ("later", later, new(5555)), ("again", again, other), ("datagrams", connected(dgram, new(None, socket.SOCK_DGRAM)), dgram)]


def look():
    for name, sender, receiver in pairs:
        try:
            sender.send(message(name))
            receiver.settimeout(5)
            got = receiver.recv(1000)
            if got != message(name):
                yield "%s: %r" % (name, got)
        except OSError as e:
            yield "%s: %s" % (name, e)


assert not list(look())
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.01)
with open("result", "w") as out:
    for bad in look():
        out.write("FAIL %s\n" % bad)
    out.write("PASS\n")
