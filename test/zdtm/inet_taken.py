#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What keeps IPv4 and IPv6 sockets from coming back is said before anything is started, and the same images restore when it is
# gone: a port that somebody else has, an address that is not on the host, an interface that is not there. A socket of
# another network namespace comes back in one of its own; --skip-in-flight drops connections that wait. In a network namespace of its own.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip
import ctypes
import os
import socket
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def new_net():
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


new_net()

from driver import check, children, reap, run_all, scenario, wait_for  # noqa: E402


def listening():
    """Ports of 127.0.0.1 that somebody listens at."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    return [int(r[1].split(":")[1], 16) for r in rows if r[3] == "0A" and r[1].startswith("0100007F")]


def fails(s, *words):
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored all the same")
    for w in words:
        check(w in said, "the error does not say %r: %s" % (w, said))
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")


@scenario
def port(s):
    s.victim("inet_tcp_listen")
    number = listening()[0]
    s.dump()
    with socket.create_server(("127.0.0.1", number)):
        fails(s, "127.0.0.1:%d" % number, "in use by pid %d (" % os.getpid(), "listening TCP socket")
    s.restore()
    s.verify()


@scenario
def address(s):
    """The freely bound one needs none; with an address of the victim's own that is gone it is another matter."""
    subprocess.run(["ip", "addr", "add", "192.0.2.99/32", "dev", "lo"], check=True)
    with socket.create_server(("192.0.2.99", 0)) as server:
        number = server.getsockname()[1]
        s.victim(pass_fds=[server.fileno()])
        server.close()
        s.dump()
    subprocess.run(["ip", "addr", "del", "192.0.2.99/32", "dev", "lo"], check=True)
    fails(s, "192.0.2.99:%d" % number, "not on this host")
    subprocess.run(["ip", "addr", "add", "192.0.2.99/32", "dev", "lo"], check=True)
    s.restore()
    socket.create_connection(("192.0.2.99", number), 60).close()
    s.verify()


@scenario
def interface(s):
    subprocess.run(["ip", "link", "add", "gone0", "type", "dummy"])
    if not os.path.exists("/proc/sys/net/ipv4/conf/gone0"):
        return  # a kernel without the device
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as p:
        u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"gone0")
        p.bind(("gone0", 3))
        s.victim(pass_fds=[u.fileno(), p.fileno()])
        s.dump()
    subprocess.run(["ip", "link", "del", "gone0"], check=True)
    fails(s, "no network interface gone0", "network interface gone0 of its packet socket")
    subprocess.run(["ip", "link", "add", "gone0", "type", "dummy"], check=True)
    s.restore()
    s.verify()


@scenario
def namespace(s):
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    new_net()
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    check(libc.setns(here, CLONE_NEWNET) == 0, "back")
    number = other.fileno()
    s.victim(pass_fds=[number])
    other.close()
    for _ in range(2):
        s.dump()
        s.restore()
        pidfd = os.pidfd_open(s.pid)
        with socket.socket(fileno=libc.syscall(438, pidfd, number, 0)) as there, socket.socket() as here_too:  # pidfd_getfd
            cookies = [k.getsockopt(socket.SOL_SOCKET, 71, 8) for k in (there, here_too)]  # SO_NETNS_COOKIE
        os.close(pidfd)
        check(cookies[0] != cookies[1], "it is in the tree's namespace")
        s.clean_images()
    s.verify()


@scenario
def in_flight(s):
    s.victim("inet_tcp_listen")
    number = listening()[0]
    clients = [socket.create_connection(("127.0.0.1", number), 60) for _ in range(3)]
    s.dump(ok=False)
    said = s.errors("dump.log")
    check(s.rc != 0 and "127.0.0.1:%d" % clients[0].getsockname()[1] in said and "3 connections" in said, said)
    s.dump("--skip-in-flight")
    for c in clients:
        try:
            check(c.recv(1) == b"", "somebody answers")
        except ConnectionResetError:
            pass
        c.close()
    s.restore()
    s.verify()


run_all()
