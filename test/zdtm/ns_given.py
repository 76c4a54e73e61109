#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Namespaces that are no part of a checkpoint: --external TYPE[INODE]:KEY at dump, --inherit-fd fd[N]:KEY at restore, with the
# same one, another one, none; criu's own as an external one; --join-ns by pid and by path. What a restore that is killed has made in
# such an ipc namespace is taken back there.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

from driver import check, children, need, reap, run_all, scenario, state_of, text, wait_for

# Says where it is, and what its segment holds, each time that it is asked.
VICTIM = """
import ctypes, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0x7777, 5000, 0o1600)
at = libc.shmat(segment, None, 0)
ctypes.memmove(at, b"hello", 5)
sem = libc.semget(0x7778, 2, 0o1600)
assert libc.semctl(sem, 0, 16, 7) == 0
queue = libc.msgget(0x7779, 0o1600)
assert not libc.msgsnd(queue, b"\\1\\0\\0\\0\\0\\0\\0\\0text", 4, 0)
open("ready", "w")
while True:
    if os.path.exists("ask"):
        os.unlink("ask")
        said = [socket.gethostname(), libc.shmget(0x7777, 0, 0) == segment, ctypes.string_at(at, 5).decode(), libc.semget(0x7778, 0, 0) ==
                sem, libc.semctl(sem, 0, 12), libc.msgget(0x7779, 0) == queue]
        with open("said.new", "w") as f:
            f.write(" ".join(map(str, said)))
        os.rename("said.new", "said")
    time.sleep(0.01)
"""
ALL = "True hello True 7 True"


class Holder:
    """A process in namespaces of its own, with a host name."""

    def __init__(self, s, name):
        self.p = subprocess.Popen(["unshare", "-ui", "sh", "-c", "hostname %s; echo >%s; exec sleep 1000" % (name, s.path(name))],
                                  stdin=subprocess.DEVNULL)
        check(wait_for(lambda: os.path.exists(s.path(name))), "no namespaces")
        os.unlink(s.path(name))
        self.pid = self.p.pid

    def ino(self, kind):
        return os.stat("/proc/%d/ns/%s" % (self.pid, kind)).st_ino

    def objects(self):
        p = subprocess.run(["nsenter", "-i", "-t", str(self.pid), "cat", "/proc/sysvipc/shm", "/proc/sysvipc/sem",
                            "/proc/sysvipc/msg"], capture_output=True, text=True)
        return [line.split()[:2] for line in p.stdout.splitlines() if "perms" not in line]

    def end(self):
        self.p.kill()
        self.p.wait()


def start(s, holder):
    need("unshare", "nsenter", "setsid")
    with open(s.path("victim.py"), "w") as f:
        f.write(VICTIM)
    with open(s.path("victim.out"), "a") as out:
        enter = ["nsenter", "-u", "-i", "-t", str(holder.pid)] if holder else []
        s.proc = subprocess.Popen([*enter, "python3", "victim.py"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready: " + text(s.path("victim.out")))
    os.unlink(s.path("ready"))


def ask(s, want):
    if os.path.exists(s.path("said")):
        os.unlink(s.path("said"))
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("said"))), "it does not answer")
    check(text(s.path("said")) == want, "it says %s, not %s" % (text(s.path("said")), want))


def external(holder):
    return [w for kind in ("uts", "ipc") for w in ("--external", "%s[%d]:the %s" % (kind, holder.ino(kind), kind))]


def given(s, holder, *opts, **kw):
    fds = {kind: os.open("/proc/%s/ns/%s" % (holder.pid if holder else "self", kind), os.O_RDONLY) for kind in ("uts", "ipc")}
    try:
        s.restore(*[w for kind, fd in fds.items() for w in ("--inherit-fd", "fd[%d]:the %s" % (fd, kind))], *opts,
                  pass_fds=list(fds.values()), **kw)
    finally:
        for fd in fds.values():
            os.close(fd)


def same_ns(s, holder):
    for kind in "uts", "ipc":
        check(os.stat("/proc/%d/ns/%s" % (s.pid, kind)).st_ino == holder.ino(kind), "it is in another %s namespace" % kind)


@scenario
def inherited(s):
    first, second = Holder(s, "first"), Holder(s, "second")
    try:
        start(s, first)
        ask(s, "first " + ALL)
        objects = first.objects()
        for n in range(3):
            s.dump(*external(first))
            check(not [i for i in s.images() if i.startswith(("utsns", "ipcns-var"))], "what is external is in the images: %s" % s.images())
            check(first.objects() == objects, "the objects have changed")
            s.restore(ok=False)
            check(s.rc != 0 and "give another one by --inherit-fd 'fd[N]:the" in s.errors("restore.log"), s.errors("restore.log"))
            given(s, first)
            same_ns(s, first)
            ask(s, "first " + ALL)
            check(first.objects() == objects, "there are other objects: %s" % first.objects())
        s.kill()
        given(s, second)
        same_ns(s, second)
        ask(s, "second " + ALL)
        check(second.objects() == objects, "there are %s" % second.objects())
        s.kill()
    finally:
        first.end()
        second.end()


@scenario
def killed(s):
    """Objects that a restore has made in an external namespace are gone when it is killed, and when it fails."""
    first, second = Holder(s, "first"), Holder(s, "second")
    try:
        start(s, first)
        objects = first.objects()
        s.dump(*external(first))
        s.proc = None
        for point in range(1, 500):
            given(s, second, "--test-kill-at", str(point), ok=False)
            if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "restore.log")):
                break
            s.gone()
            check(wait_for(lambda: not second.objects()), "killed at %d: %s" % (point, second.objects()))
        check(point > 8, "it ended at point %d" % point)
        check(second.objects() == objects, "there are %s" % second.objects())
        s.kill()
        s.script("no", '[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ]')
        third = Holder(s, "third")
        given(s, third, "--action-script", s.path("no"), ok=False)
        left = third.objects()
        third.end()
        check(s.rc != 0 and not left, "a restore that fails leaves %s" % left)
    finally:
        first.end()
        second.end()


@scenario
def crius_own(s):
    """What is criu's own at dump is another one at restore."""
    outside = Holder(s, "outside")
    try:
        s.victim()
        uts = os.stat("/proc/self/ns/uts").st_ino
        s.dump("--external", "uts[%d]:the uts" % uts)
        given(s, outside)
        check(os.stat("/proc/%d/ns/uts" % s.pid).st_ino == outside.ino("uts"), "it is in criu's")
        check("--inherit-fd" not in "".join(line for line in text(os.path.join(s.imgs, "restore.log")).splitlines() if "the uts" in line),
              "a warning")
        s.verify()
    finally:
        outside.end()


@scenario
def joined(s):
    first, second = Holder(s, "first"), Holder(s, "second")
    try:
        start(s, first)
        s.dump()
        s.restore()
        check(os.stat("/proc/%d/ns/uts" % s.pid).st_ino != first.ino("uts"), "it is in what is not its own")
        ask(s, "first " + ALL)
        s.kill()
        s.restore("--join-ns", "uts:%d" % second.pid, "-J", "ipc:/proc/%d/ns/ipc" % second.pid)
        same_ns(s, second)
        ask(s, "second " + ALL)
        s.kill()
        for bad, why in (("uts:/proc/1/ns/ipc", "no namespace of this type"), ("cgroup:1", "cannot be joined"), ("uts", "NS:PID or NS:FILE"),
                         ("ipc:/no/such", "No such file")):
            s.restore("--join-ns", bad, ok=False)
            check(s.rc != 0 and why in s.errors("restore.log"), "%s: %s" % (bad, s.errors("restore.log")))
            check(state_of(s.pid) == "gone", "it was restored")
    finally:
        first.end()
        second.end()


SERVER = """
import os, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 7070))
s.listen()
open("ready", "w")
while True:
    c = s.accept()[0]
    while True:
        data = c.recv(100)
        if not data: break
        c.sendall(data.upper())
"""

CLIENT = """
import os, socket, time
c = socket.create_connection(("127.0.0.1", 7070))
n = 0
while True:
    n += 1
    word = "word %d" % n
    c.sendall(word.encode())
    assert c.recv(100) == word.upper().encode()
    with open("counted.new", "w") as f:
        f.write(str(n))
    os.rename("counted.new", "counted")
    time.sleep(0.01)
"""


def counted(s):
    return int(text(s.path("counted"))) if os.path.exists(s.path("counted")) else 0


def goes_on(s, client, when):
    n = counted(s)
    check(wait_for(lambda: counted(s) > n + 5 or client.poll() is not None) and client.poll() is None, "%s: the client has %s" %
          (when, "ended" if client.poll() is not None else "stopped at %d" % n))


def net_dump(s, holder, key):
    s.dump("--tcp-established", "--external", "net[%d]:%s" % (os.stat("/proc/%d/ns/net" % holder.pid).st_ino, key))


def net_restore(s, holder, key, *opts, **kw):
    fd = os.open("/proc/%d/ns/net" % holder.pid, os.O_RDONLY)
    try:
        s.restore("--tcp-established", "--inherit-fd", "fd[%d]:%s" % (fd, key), *opts, pass_fds=[fd], **kw)
    finally:
        os.close(fd)


def net_holder():
    p = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; exec sleep 1000"], stdin=subprocess.DEVNULL)
    check(wait_for(lambda: text("/proc/%d/comm" % p.pid) == "sleep\n"), "no network namespace")
    return p


@scenario
def net(s):
    """As runc does with a network namespace that has a path: a connection to a process outside of the tree in there goes on."""
    need("unshare", "nsenter", "ip")
    key, holder = "extRootNetNS", net_holder()
    enter = ["nsenter", "-n", "-t", str(holder.pid), "python3", "-c"]
    client = None
    try:
        s.proc = subprocess.Popen([*enter, SERVER], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "the server is not ready")
        client = subprocess.Popen([*enter, CLIENT], cwd=s.dir, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goes_on(s, client, "at first")
        for n in range(3):
            net_dump(s, holder, key)
            check(s.restore("--tcp-established", ok=False) != 0, "restored without its namespace")
            if n == 1:
                net_restore(s, holder, key, "--test-kill-at", "12", ok=False)
                check(s.rc != 0, "it was not killed")
                s.gone()
            net_restore(s, holder, key)
            check(os.readlink("/proc/%d/ns/net" % s.pid) == os.readlink("/proc/%d/ns/net" % holder.pid), "it is elsewhere")
            goes_on(s, client, "round %d" % n)
        rules = subprocess.run(["nsenter", "-n", "-t", str(holder.pid), "nft", "list", "ruleset"], capture_output=True, text=True).stdout
        check("CRIU" not in rules, "a lock is left: %s" % rules)
        s.kill()
    finally:
        for p in (client, holder):
            if p:
                p.kill()
                p.wait()


@scenario
def joined_net(s):
    """What the images have of the network namespace is left out; its listening socket is made in the one that is joined."""
    need("unshare", "nsenter", "ip")
    first, second = net_holder(), net_holder()
    try:
        s.proc = subprocess.Popen(["nsenter", "-n", "-t", str(first.pid), "python3", "-c", SERVER], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "the server is not ready")
        s.dump()
        s.restore("--join-ns", "net:%d" % second.pid)
        check(os.readlink("/proc/%d/ns/net" % s.pid) == os.readlink("/proc/%d/ns/net" % second.pid), "it is elsewhere")
        client = subprocess.Popen(["nsenter", "-n", "-t", str(second.pid), "python3", "-c", CLIENT], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        goes_on(s, client, "joined")
        s.kill()
        client.wait()
    finally:
        for p in first, second:
            p.kill()
            p.wait()


MEMBER = """
import os, threading, time
child = os.fork()
if not child:
    os.setsid()
    while True: time.sleep(100)
while os.getpgid(child) != child: time.sleep(0.001)
threading.Thread(target=time.sleep, args=(100000,), daemon=True).start()
while True:
    with open("said.new", "w") as f:
        f.write("%d %d %d %d" % (os.getpid(), os.getppid(), os.getpgid(child), len(os.listdir("/proc/self/task"))))
    os.rename("said.new", "said")
    time.sleep(0.01)
"""


def pid_holder():
    """unshare, and the first process of its namespace."""
    init = "import signal, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN); time.sleep(1000)"
    p = subprocess.Popen(["unshare", "-pf", "--kill-child", "python3", "-c", init], stdin=subprocess.DEVNULL)
    check(wait_for(lambda: [c for c in children(p.pid) if text("/proc/%d/comm" % c) == "python3\n"]), "no pid namespace")
    check(wait_for(lambda: "SigIgn:\t0000000001011000" in text("/proc/%d/status" % children(p.pid)[0])), "no init")
    return p, children(p.pid)[0]


def says(s):
    if os.path.exists(s.path("said")):
        os.unlink(s.path("said"))
    check(wait_for(lambda: os.path.exists(s.path("said"))), "it says nothing")
    return text(s.path("said"))


def pid_restore(s, init, *opts, **kw):
    fd = os.open("/proc/%d/ns/pid" % init, os.O_RDONLY)
    try:
        s.restore("--inherit-fd", "fd[%d]:extRootPidNS" % fd, "--pidfile", "pid", *opts, pass_fds=[fd], **kw)
    finally:
        os.close(fd)
    if s.rc == 0:
        s.pid = int(text(os.path.join(s.imgs, "pid")))


@scenario
def pid(s):
    """As runc does with a pid namespace that has a path: numbers in there are as before, in the same one and in another one."""
    need("unshare", "nsenter")
    (first, init), (second, other) = pid_holder(), pid_holder()
    try:
        with open(s.path("member.py"), "w") as f:
            f.write(MEMBER)
        p = subprocess.Popen(["nsenter", "-p", "-t", str(init), "setsid", "python3", "member.py"], cwd=s.dir,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = says(s)
        s.pid = children(p.pid)[0]
        ino = os.stat("/proc/%d/ns/pid" % init).st_ino
        check(s.dump(ok=False) != 0, "dumped without --external")
        for n in range(3):
            s.proc = None
            s.dump("--external", "pid[%d]:extRootPidNS" % ino)
            s.gone()
            check(s.restore(ok=False) != 0, "restored without its namespace")
            if n == 1:
                pid_restore(s, init, "--test-kill-at", "9", ok=False)
                check(s.rc != 0 and wait_for(lambda: reap() or set(children(os.getpid())) == {first.pid, second.pid}), "something is left")
            pid_restore(s, other if n == 2 else init)
            check(os.stat("/proc/%d/ns/pid" % s.pid).st_ino == os.stat("/proc/%d/ns/pid" % (other if n == 2 else init)).st_ino, "it is elsewhere")
            check(says(s) == before, "round %d: it says %s, not %s" % (n, says(s), before))
        there = s.pid
        pid_restore(s, other, ok=False)
        check(s.rc != 0 and s.pid == there and says(s) == before, "restored though its number is taken")
        s.kill()
    finally:
        for p in first, second:
            p.kill()
            p.wait()


run_all()
