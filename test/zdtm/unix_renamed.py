#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Sockets that were bound under a name of the moment and renamed, linked or moved to the one that clients know, as haproxy
# and supervisord do: who connects by that name finds them after a restore, and no other name comes back.
# zdtm: iters 2
# zdtm: restores 2
import os
import socket
import sys
import time

top = os.getcwd()


def say(words):
    with open(os.path.join(top, "result"), "a") as f:
        f.write(words + "\n")


def server(kind, bind, name, change):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(bind)
    if kind != socket.SOCK_DGRAM:
        s.listen(5)
    change(bind, name)
    os.chmod(name, 0o640)
    return s, bind, name


def link(old, new):
    os.link(old, new)
    os.unlink(old)


def answers(s, bind, name):
    c = socket.socket(socket.AF_UNIX, s.type)
    c.connect(name)
    c.send(b"hello")
    a = s if s.type == socket.SOCK_DGRAM else s.accept()[0]
    if a.recv(10) != b"hello" or s.getsockname() != bind:
        return "%s: not this socket, or its name is %s" % (name, s.getsockname())
    if os.path.exists(bind) or os.stat(name).st_mode & 0o777 != 0o640:
        return "%s: mode %o, %s exists: %s" % (name, os.stat(name).st_mode, bind, os.path.exists(bind))
    return ""


STREAM, DGRAM, SEQ = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
os.mkdir("run")
servers = [server(STREAM, "adm.sock.12.tmp", "adm.sock", os.rename), server(STREAM, top + "/s.12", top + "/s", link),
           server(DGRAM, top + "/log.new", top + "/run/log", os.rename), server(SEQ, "seq.new", "seq", link)]
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.01)
wrong = []
for x in servers:
    try:
        wrong.append(answers(*x))
    except OSError as e:
        wrong.append("%s: %s" % (x[2], e))
say("; ".join("FAIL " + w for w in wrong if w) or "PASS")
sys.exit(any(wrong))
