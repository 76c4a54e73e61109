#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# POSIX message queues and the host: gone as after a reboot, taken by another queue, with fewer messages than at the dump, open
# in processes outside of the tree, whose messages are not touched. What keeps one from coming back is said before anything is
# started; a restore that fails or is killed leaves no queue that it has made; a dump that is killed leaves all messages in order.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import random
import signal
import struct
import subprocess
import time

from driver import Failed, check, children, reap, run_all, scenario, text, wait_for

libc = ctypes.CDLL(None, use_errno=True)
NAME, GONE, N, SIZE = b"/zdtm-host", b"/zdtm-gone", 9, 8000

VICTIM = """
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
attr = struct.pack("8l", 0, 10, 8000, 0, 0, 0, 0, 0)
q = libc.mq_open(b"/zdtm-host", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NONBLOCK, 0o600, attr)
g = libc.mq_open(b"/zdtm-gone", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NONBLOCK, 0o600, attr)
assert q >= 0 and g >= 0 and not libc.mq_unlink(b"/zdtm-gone") and not libc.mq_send(g, b"still", 5, 1)
for i in range(9):
    assert not libc.mq_send(q, bytes([i]) * (800 * i), 800 * i, i % 3)
open("ready", "w")
buf, prio = ctypes.create_string_buffer(8000), ctypes.c_uint()
said = []
def received(fd):
    got = libc.mq_receive(fd, buf, ctypes.c_size_t(8000), ctypes.byref(prio))
    return got, prio.value, buf.raw[0] if got > 0 else 0
while not os.path.exists("verify"): time.sleep(0.01)
for i in sorted(range(9), key=lambda i: (-(i % 3), i)):
    r = received(q)
    if r != (800 * i, i % 3, i): said.append("FAIL message %d: %s" % (i, r))
if received(q)[0] != -1: said.append("FAIL more messages")
if received(g) != (5, 1, ord("s")): said.append("FAIL the queue without a name")
open("result", "w").write("\\n".join(said + [""]) if said else "PASS\\n")
"""


def opened(name=NAME, flags=os.O_RDWR | os.O_NONBLOCK, attr=None):
    return libc.mq_open(name, flags, 0o600, attr)


def exists(name=NAME):
    fd = opened(name, os.O_RDONLY)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def remove_all():
    libc.mq_unlink(NAME)
    libc.mq_unlink(GONE)


def victim(s):
    remove_all()
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen(["/usr/bin/python3", "-c", VICTIM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    if not wait_for(lambda: os.path.exists(s.path("ready"))):
        raise Failed("the victim is not ready: " + text(s.path("victim.out")))


def receive(fd):
    buf = ctypes.create_string_buffer(SIZE)
    return libc.mq_receive(fd, buf, ctypes.c_size_t(SIZE), None)


def fails(s, *words):
    before = exists(), exists(GONE)
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored all the same")
    for w in words:
        check(w in said, "the error does not say %r: %s" % (w, said))
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")
    check((exists(), exists(GONE)) == before, "other queues than before")


@scenario
def reboot(s):
    victim(s)
    s.dump()
    check(exists(), "the dump has removed the queue")
    for _ in range(3):
        remove_all()
        s.restore()
        check(exists() and not exists(GONE), "%s, %s" % (exists(), exists(GONE)))
        s.kill()
    s.restore()  # what the restore before has left
    s.verify()
    remove_all()


@scenario
def another(s):
    """Of other sizes, with fewer messages, and with the name of one that has none any more."""
    victim(s)
    s.dump()
    fd = opened()
    check(receive(fd) >= 0, "no message")
    os.close(fd)
    fails(s, "message queue /zdtm-host has 8 messages, at the dump 9", "mq_unlink")
    remove_all()
    os.close(opened(flags=os.O_CREAT | os.O_RDWR, attr=struct.pack("8l", 0, 3, 10, 0, 0, 0, 0, 0)))
    fails(s, "message queue /zdtm-host holds 3 messages of 10 bytes, at the dump 10 of 8000")
    remove_all()
    os.close(opened(GONE, os.O_CREAT | os.O_RDWR, struct.pack("8l", 0, 10, SIZE, 0, 0, 0, 0, 0)))
    fails(s, "/zdtm-gone is another one")
    remove_all()
    s.restore()
    s.verify()
    remove_all()


@scenario
def open_outside(s):
    """Its messages are not touched: what others take meanwhile is gone, but not what is theirs to take."""
    victim(s)
    fd = opened()
    s.dump()
    s.restore()
    s.kill()
    libc.mq_unlink(NAME)
    fails(s, "message queue /zdtm-host is gone, and its messages are not in the images")
    os.close(fd)


@scenario
def removed_and_open_outside(s):
    victim(s)
    fd = next(n for n in os.listdir("/proc/%d/fd" % s.pid) if "gone" in os.readlink("/proc/%d/fd/%s" % (s.pid, n)))
    kept = os.open("/proc/%d/fd/%s" % (s.pid, fd), os.O_RDONLY)
    s.dump(ok=False)
    check(s.rc != 0 and "/zdtm-gone has no name any more" in s.errors("dump.log"), "dumped: " + s.errors("dump.log"))
    os.close(kept)
    s.dump()
    s.restore()
    s.verify()
    remove_all()


@scenario
def by_path_and_in_flight(s):
    """Opened in a mounted file system of queues, and only in a socket's queue."""
    remove_all()
    mounted = s.path("queues")
    os.mkdir(mounted)
    check(not libc.mount(b"none", mounted.encode(), b"mqueue", 0, None), "mount: " + os.strerror(ctypes.get_errno()))
    code = ("import ctypes, os, socket, time\n"
            "l = ctypes.CDLL(None)\n"
            "q = l.mq_open(b'/zdtm-host', os.O_CREAT | os.O_RDWR, 0o600, None)\n"
            "p = os.open('%s/zdtm-host', os.O_RDWR)\n"
            "l.mq_send(q, b'in flight', 9, 3)\n"
            "a, b = socket.socketpair()\n"
            "socket.send_fds(a, [b'x'], [q])\n"
            "os.close(q)\n"
            "open('ready', 'w')\n"
            "while not os.path.exists('verify'): time.sleep(0.01)\n"
            "q = socket.recv_fds(b, 1, 1)[1][0]\n"
            "buf = ctypes.create_string_buffer(8192)\n"
            "same = l.mq_receive(q, buf, ctypes.c_size_t(8192), None) == 9 and not l.mq_send(p, b'y', 1, 0)\n"
            "same = same and l.mq_receive(q, buf, ctypes.c_size_t(8192), None) == 1\n"
            "links = [os.readlink('/proc/self/fd/%%d' %% n) for n in (p, q)]\n"
            "same = same and links == ['%s/zdtm-host', '/zdtm-host']\n"
            "open('result', 'w').write('PASS\\n' if same else 'FAIL %%s\\n' %% links)\n" % (mounted, mounted))
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen(["/usr/bin/python3", "-c", code], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready: " + text(s.path("victim.out")))
    s.dump()
    remove_all()
    s.restore()
    s.verify()
    libc.umount2(mounted.encode(), 2)
    remove_all()


@scenario
def killed(s):
    """At each fault point of a restore that has to make both."""
    victim(s)
    s.dump()
    s.proc = None  # restored tasks with its pid are reaped, too
    for point in range(1, 60):
        remove_all()
        s.restore("--test-kill-at", str(point), ok=False)
        if "fault point %d: restore committed" % point in text(s.imgs + "/restore.log"):
            break
        check(s.rc != 0, "restored, not killed at point %d" % point)
        check(wait_for(lambda: reap() or not children(os.getpid())), "killed at point %d: a process is left" % point)
        check(wait_for(lambda: not exists() and not exists(GONE)), "killed at point %d: a queue is left" % point)
    check(3 < point < 59, "there are %d points" % point)
    s.verify()
    remove_all()


@scenario
def killed_dump(s):
    """At its fault points from where messages are read on, and at any instant."""
    victim(s)
    for point in range(1, 100, 7):
        s.dump("--test-kill-at", str(point), "--leave-running", ok=False)
        if s.rc == 0:
            break
    check(point < 92, "there are %d points" % point)
    for _ in range(200 if os.environ.get("STRESS") else 10):
        p = subprocess.Popen([os.environ["CRIU"], "dump", "-t", str(s.pid), "-D", s.imgs, "-R", "-o", "killed.log"], stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.002, 0.05))
        p.send_signal(signal.SIGKILL)
        p.wait()
    check(wait_for(lambda: "TracerPid:\t0" in text("/proc/%d/status" % s.pid)), "is still traced")
    s.verify()
    remove_all()


@scenario
def killed_in_the_middle(s):
    """While thousands of messages are taken out and put back, criu, and also its guardian or what does that: none is lost, none changes places."""
    remove_all()
    many = 4000
    with open("/proc/sys/fs/mqueue/msg_max", "w") as f:
        f.write(str(many))
    code = ("import ctypes, os, struct, time\n"
            "l = ctypes.CDLL(None)\n"
            "q = -1\n"
            "while q < 0:\n"  # RLIMIT_MSGQUEUE counts the queues of all tests that run now
            "    q = l.mq_open(b'/zdtm-host', os.O_CREAT | os.O_RDWR, 0o600, struct.pack('8l', 0, %d, 8, 0, 0, 0, 0, 0))\n"
            "    time.sleep(0.01)\n"
            "for i in range(%d): l.mq_send(q, struct.pack('q', i), 8, i %% 5)\n"
            "open('ready', 'w')\n"
            "while True: time.sleep(0.1)\n" % (many, many))
    s.proc = subprocess.Popen(["/usr/bin/python3", "-c", code], cwd=s.dir, stdin=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready")
    for turn in range(300 if os.environ.get("STRESS") else 9):
        p = subprocess.Popen([os.environ["CRIU"], "dump", "-t", str(s.pid), "-D", s.imgs, "-R", "-o", "killed.log"],
                             stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.005, 0.04))
        for child in children(p.pid):
            guardian = text("/proc/%d/comm" % child).startswith("criu-guardian")
            if turn % 3 == (1 if guardian else 2):  # what does the work, or the guardian, or none of them
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # a helper of criu's that has ended meanwhile
        p.send_signal(signal.SIGKILL)
        p.wait()
        check(wait_for(lambda: reap() or children(os.getpid()) == [s.pid]), "something is left")
    fd = opened()
    buf, want = ctypes.create_string_buffer(8), sorted(range(many), key=lambda i: (-(i % 5), i))
    got = []
    while libc.mq_receive(fd, buf, ctypes.c_size_t(8), None) == 8:
        got.append(struct.unpack("q", buf.raw)[0])
    os.close(fd)
    check(got == want, "%d of %d messages, or in another order" % (len(got), many))
    remove_all()


run_all()
