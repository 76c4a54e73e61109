#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A FUSE that does not answer, or whose server is in the tree: the dump is refused in time, by names, and nothing is harmed.
# A FUSE on which only its user may do anything: dumped and restored with the identity of the tasks.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time

from driver import Failed, Skipped, check, children, need, run_all, scenario, state_of, status_of, text, tree, wait_for
from fuse import Fuse

UID = 65534  # has a name, which fusermount3 wants to see
STRESS = os.environ.get("STRESS", "")
PROGRAM = """
import mmap, os, sys, time
HOME = os.environ['HOME_DIR']
def said(text):
    with open(HOME + '/result', 'a') as f: f.write(text + '\\n')
def see(cond, words):
    if not cond: raise SystemExit(words)
exec(sys.argv[1])
open(HOME + '/ready', 'w').close()
while not os.path.exists(HOME + '/verify'):
    time.sleep(0.01)
try:
    exec(sys.argv[2])
except BaseException as e:
    said('FAIL %r' % e)
    raise
said('PASS')
"""
SETUP = """
a, b = os.open(HOME + '/fs/read', os.O_RDONLY), os.open(HOME + '/fs/write', os.O_RDWR)
p, d = os.open(HOME + '/fs/write', os.O_PATH), os.open(HOME + '/fs/dir', os.O_RDONLY)
os.lseek(a, 3, 0)
map = mmap.mmap(a, 4, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
os.chdir(HOME + '/fs/dir')
"""
LOOKS = """
see(os.read(a, 100) == b'be read', 'the first')
see(map[:4] == b'to b', 'the mapping: %r' % map[:4])
see(os.pwrite(b, b'WRITTEN', 6) == 7 and os.pread(b, 100, 0) == b'to be WRITTEN', 'the second')
for fd, name in ((a, 'read'), (b, 'write'), (p, 'write'), (d, 'dir')):
    see(os.readlink('/proc/self/fd/%d' % fd) == HOME + '/fs/' + name, name)
    see(os.path.samestat(os.fstat(fd), os.stat(HOME + '/fs/' + name)), name + ' is another')
see(os.getcwd() == HOME + '/fs/dir', os.getcwd())
"""
FILES = {"read": b"to be read", "write": b"to be written", "dir": None}


def start(s, setup=SETUP, looks=LOOKS, program=None, **kw):
    s.proc = subprocess.Popen([program or sys.executable, "-c", PROGRAM, setup, looks], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True,
                              env=dict(os.environ, HOME_DIR=s.dir, PYTHONHOME=sys.prefix), **kw)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "not ready")
    check(s.proc.poll() is None, "the victim: " + text(s.path("err")))


def fuse(s, files=FILES, user=None):
    os.mkdir(s.path("fs"))
    return Fuse(s.path("fs"), dict(files), user)


def errors(s, log="dump.log"):
    return [x for x in text(s.path("imgs/" + log)).splitlines() if "Error" in x]


def refused_in_time(s, limit, words, *names, command="dump", **kw):
    began = time.monotonic()
    getattr(s, command)(*kw.pop("opts", ("--timeout", "1")), ok=False, timeout=20, **kw)
    took = time.monotonic() - began
    check(s.rc, "the %s succeeded" % command)
    check(took < limit, "the %s took %.1f s" % (command, took))
    for name in names:
        check(any(words in x and name in x for x in errors(s, command + ".log")),
              "no error says %r of %s: %s" % (words, name, s.errors(command + ".log")))


def unharmed(s):
    for p in tree(s.pid):
        check(state_of(p) in "SR", "pid %d is in state %s" % (p, state_of(p)))
        check("TracerPid:\t0\n" in text("/proc/%d/status" % p), "pid %d is traced" % p)
    check(not [p for p in children(1) + children(os.getpid()) if "criu" == text("/proc/%d/comm" % p).strip()], "criu is left")


def helpers():
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and text("/proc/%s/comm" % p).strip() == "criu-foreign" and state_of(int(p)) != "Z"]


@scenario
def stopped(s):
    """What it has not read yet, a server that is stopped does not answer; the helper can be killed."""
    f = fuse(s)
    start(s)
    os.kill(f.pid, signal.SIGSTOP)
    before = helpers()
    refused_in_time(s, 6, "did not answer", "fd 3", "fd 4", "fd 6", "its working directory", "mapping", "fs/read")
    check(s.path("fs") in errors(s)[0] and "fuse.zdtm" in errors(s)[0], "the mount is not named: " + errors(s)[0])
    check(set(helpers()) <= set(before), "a helper is left")
    os.kill(f.pid, signal.SIGCONT)
    unharmed(s)
    s.verify()


@scenario
def swallowed(s):
    """What it has read and does not answer: the helper cannot be killed, is named, and has nothing of the tree."""
    f = fuse(s)
    start(s)
    before = set(helpers())
    f.swallow()
    refused_in_time(s, 6, "did not answer", "fd 3", "its working directory", "mapping")
    unharmed(s)
    left = set(helpers()) - before
    check(left, "no helper is left, so that this tests nothing")
    for pid in left:
        check(any("Warn" in x and "helper %d" % pid in x and s.path("fs") in x
                  for x in text(s.path("imgs/dump.log")).splitlines()), "helper %d is not named" % pid)
        check(all(os.readlink("/proc/%d/fd/%s" % (pid, n)) == "/dev/null" or "socket" in os.readlink("/proc/%d/fd/%s" % (pid, n))
                  or s.path("fs") in os.readlink("/proc/%d/fd/%s" % (pid, n)) for n in os.listdir("/proc/%d/fd" % pid)),
              "it has descriptors: %r" % [os.readlink("/proc/%d/fd/%s" % (pid, n)) for n in os.listdir("/proc/%d/fd" % pid)])
    f.answer_again()
    check(wait_for(lambda: not set(helpers()) - before), "the helper stays")
    s.verify()


@scenario
def below_an_overlay(s):
    """Images that are fetched when they are needed: an overlay that asks a FUSE for what it does not have."""
    f = fuse(s)
    for d in ("up", "work", "all"):
        os.mkdir(s.path(d))
    p = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s" % tuple(map(s.path, (
        "fs", "up", "work"))), s.path("all")], capture_output=True, text=True)
    if p.returncode:
        raise Skipped("mount of an overlay over a FUSE: " + p.stderr)
    start(s, "a = os.open(HOME + '/all/read', os.O_RDONLY); os.lseek(a, 3, 0); os.chdir(HOME + '/all')",
          "see(os.read(a, 100) == b'be read' and os.getcwd() == HOME + '/all', 'the file')")
    f.swallow()
    refused_in_time(s, 6, "did not answer", "fd 3")
    unharmed(s)
    f.answer_again()
    check(wait_for(lambda: not f.left_alone()), "the server is still silent")
    s.dump()
    s.restore()
    s.verify()
    subprocess.run(["umount", "-l", s.path("all")], check=True)
    f.unmount()


@scenario
def stops_in_the_middle(s):
    """The server falls silent at each of its requests in turn."""
    f = fuse(s)
    start(s)
    refused = 0
    for n in range(0, 250, 1 if STRESS else 37):
        f.swallow(after=n)
        began = time.monotonic()
        s.dump("--timeout", "1", "--leave-running", ok=False, timeout=20)
        check(time.monotonic() - began < 7, "after %d requests: %.1f s" % (n, time.monotonic() - began))
        unharmed(s)
        f.answer_again()
        refused += s.rc != 0
        s.clean_images()
        if not s.rc:
            break
    check(refused and not s.rc, "refused %d times" % refused)
    s.verify()


@scenario
def interrupted(s):
    """^C and SIGTERM end the dump at once while a helper waits for --timeout, 30 s."""
    f = fuse(s)
    start(s)
    f.swallow()
    for sig in (signal.SIGINT, signal.SIGTERM):
        before = set(helpers())
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-o", "dump.log", "--timeout", "30"],
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(wait_for(lambda: set(helpers()) - before), "no helper")
        time.sleep(0.3)
        check(p.poll() is None, "criu has ended by itself")
        began = time.monotonic()
        p.send_signal(sig)
        p.wait(10)
        check(time.monotonic() - began < 10, "it took %.1f s, as if it waited for --timeout" % (time.monotonic() - began))
        check(wait_for(lambda: "TracerPid:\t0\n" in text("/proc/%d/status" % s.pid)), "still traced")
    f.answer_again()
    unharmed(s)
    s.verify()


SERVER_IN_TREE = """
sys.path.insert(0, os.environ['ZDTM'] + '/lib')
from fuse import Fuse
f = Fuse(HOME + '/fs', {"read": b"to be read", "write": b"to be written", "dir": None})
if os.fork() == 0:
    while True: time.sleep(1)
"""


@scenario
def server_in_tree(s):
    """As an AppImage: recognised before anything is asked, though it would answer if it were not frozen."""
    os.mkdir(s.path("fs"))
    start(s, SERVER_IN_TREE + SETUP, LOOKS + "\nos.kill(f.pid, 9)")
    refused_in_time(s, 3, "server is in the tree", "fd ", "its working directory", "mapping", opts=())
    check(any("/dev/fuse" in x and "FUSE server's side of a mount: %s)" % s.path("fs") in x for x in errors(s)),
          "the server's side is not named, with its mount: %s" % errors(s))
    check(any(re.search(r"server is in the tree: pid \d+ \(python3[^)]*\), fd \d+", x) for x in errors(s)), errors(s)[0])
    unharmed(s)
    for p in tree(s.pid)[2:]:
        os.kill(p, 9)
    os.kill(s.pid, 0)
    s.kill()


@scenario
def restore_stopped(s):
    f = fuse(s)
    start(s)
    s.dump()
    os.kill(f.pid, signal.SIGSTOP)
    refused_in_time(s, 6, "did not answer", "fd 3", "fd 4", "its working directory", "its mapping", command="restore")
    check(s.path("fs") in errors(s, "restore.log")[0] and "fuse.zdtm" in errors(s, "restore.log")[0], "the mount is not named")
    os.kill(f.pid, signal.SIGCONT)
    s.restore()
    s.verify()


@scenario
def restore_stops_in_the_middle(s):
    f = fuse(s)
    start(s)
    s.dump()
    refused = 0
    for n in range(1, 250, 1 if STRESS else 13):
        f.swallow(after=n)
        began = time.monotonic()
        s.restore("--timeout", "1", ok=False, timeout=20)
        took = time.monotonic() - began
        f.answer_again()
        check(took < 7, "after %d requests: %.1f s" % (n, took))
        refused += s.rc != 0
        if not s.rc:
            break
        check(wait_for(lambda: state_of(s.pid) == "gone"), "a task is left after %d requests" % n)
    check(refused and not s.rc, "refused %d times" % refused)
    s.verify()


@scenario
def restore_interrupted(s):
    f = fuse(s)
    start(s)
    s.dump()
    f.swallow()
    for sig in (signal.SIGINT, signal.SIGTERM):
        before = set(helpers())
        p = subprocess.Popen([s.criu, "restore", "-d", "-D", s.imgs, "-o", "restore.log", "--timeout", "30"],
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(wait_for(lambda: set(helpers()) - before), "no helper")
        time.sleep(0.3)
        check(p.poll() is None, "criu has ended by itself")
        if all(int(status_of("/proc/%d/task/%s/status" % (p.pid, t))["SigBlk"], 16) & 1 << sig - 1 for t in os.listdir("/proc/%d/task" % p.pid)):
            p.kill()
            raise Skipped("this criu blocks signal %d while it restores" % sig)
        began = time.monotonic()
        p.send_signal(sig)
        p.wait(10)
        check(time.monotonic() - began < 10, "it took %.1f s, as if it waited for --timeout" % (time.monotonic() - began))
        check(wait_for(lambda: state_of(s.pid) == "gone"), "a task is left")
    f.answer_again()
    s.restore()
    s.verify()


@scenario
def hidden_by_one(s):
    """A local file, over which a FUSE was mounted that does not answer."""
    os.mkdir(s.path("fs"))
    for name, data in FILES.items():
        if data:
            with open(s.path("fs/" + name), "wb") as f:
                f.write(data)
    start(s, "a = os.open(HOME + '/fs/read', os.O_RDONLY)", "see(os.read(a, 100) == b'to be read', 'the first')")
    f = Fuse(s.path("fs"), {"other": b""})
    os.kill(f.pid, signal.SIGSTOP)
    refused_in_time(s, 7, "fs/read", "fd 3")
    os.kill(f.pid, signal.SIGCONT)
    unharmed(s)
    s.verify()


@scenario
def images_in_tree(s):
    """The image directory is on a mount that the tree itself serves."""
    need("bindfs", "fusermount3")
    os.mkdir(s.path("fs"))
    os.mkdir(s.path("src"))
    start(s, """
import subprocess
server = subprocess.Popen(['bindfs', '-f', HOME + '/src', HOME + '/fs'], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while ' %s/fs ' % HOME not in open('/proc/self/mountinfo').read(): time.sleep(0.01)
os.mkdir(HOME + '/fs/imgs')
""", "server.kill()")
    began = time.monotonic()
    s.tool("dump", "-t", s.pid, "-D", s.path("fs/imgs"), timeout=20)
    check(s.rc and time.monotonic() - began < 5, "rc %d after %.1f s" % (s.rc, time.monotonic() - began))
    check("the image directory is on a FUSE" in s.out and "bindfs" in s.out, s.out)
    unharmed(s)
    check([n for n in os.listdir(s.path("src/imgs")) if n.endswith(".img")] == [], "images are left")
    s.kill()
    subprocess.run(["umount", "-l", s.path("fs")])


@scenario
def unmounted_in_use(s):
    """umount -l: in no list of mounts, and in use."""
    f = fuse(s)
    start(s, looks="see(os.read(a, 100) == b'be read', 'the first')")
    f.unmount()
    os.kill(f.pid, signal.SIGSTOP)
    refused_in_time(s, 6, "did not answer", "fd 3", "its working directory")
    os.kill(f.pid, signal.SIGCONT)
    unharmed(s)
    s.verify()


@scenario
def of_a_user(s):
    """Root may look at nothing there: descriptors, directory, mapping, executable."""
    with open(os.path.realpath(sys.executable), "rb") as f:
        files = dict(FILES, prog=f.read())
    fuse(s, files, UID)
    try:
        os.stat(s.path("fs/read"))
        raise Failed("root may look at it")
    except PermissionError:
        pass
    os.chmod(s.dir, 0o777)
    start(s, program=s.path("fs/prog"), user=UID, group=UID, extra_groups=[])
    check(os.readlink("/proc/%d/exe" % s.pid) == s.path("fs/prog"), "the executable")
    s.dump()
    for i in range(3):
        s.restore()
        check(os.readlink("/proc/%d/exe" % s.pid) == s.path("fs/prog"), "the executable")
        if i < 2:
            s.kill()
    s.verify()


@scenario
def watched(s):
    """inotify."""
    f = fuse(s)
    start(s, """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
n = libc.inotify_init1(0o4000)
see(libc.inotify_add_watch(n, (HOME + '/fs/read').encode(), 2) > 0, 'inotify_add_watch')
""", """
with open(HOME + '/fs/read', 'r+b') as w: w.write(b'x')
see(os.read(n, 100)[4:8] == b'\\2\\0\\0\\0', 'no event')
""")
    os.kill(f.pid, signal.SIGSTOP)
    refused_in_time(s, 6, "did not answer", "fd 3")
    os.kill(f.pid, signal.SIGCONT)
    unharmed(s)
    s.dump()
    os.kill(f.pid, signal.SIGSTOP)
    refused_in_time(s, 6, "watches", "fd 3", command="restore")
    os.kill(f.pid, signal.SIGCONT)
    s.restore()
    s.verify()


@scenario
def bindfs(s):
    """A real program that serves a mount for its user alone, from outside of the tree."""
    need("bindfs", "fusermount3")
    os.mkdir(s.path("fs"))
    os.mkdir(s.path("src"))
    os.mkdir(s.path("src/dir"))
    for name, data in FILES.items():
        if data:
            with open(s.path("src/" + name), "wb") as f:
                f.write(data)
    shutil.copy(os.path.realpath(sys.executable), s.path("src/prog"))
    for path in ("src", "src/dir", "src/read", "src/write", "src/prog", "fs"):
        os.chown(s.path(path), UID, UID)
    os.mknod(s.path("device"), stat.S_IFCHR | 0o666, os.makedev(10, 229))
    os.chmod(s.path("device"), 0o666)
    subprocess.run(["mount", "--bind", s.path("device"), "/dev/fuse"], check=True)  # as it is elsewhere
    server = subprocess.Popen(["bindfs", "-f", "--no-allow-other", s.path("src"), s.path("fs")], user=UID, group=UID, extra_groups=[],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(s.path("bindfs.err"), "w"))
    wait_for(lambda: server.poll() is not None or " %s " % s.path("fs") in text("/proc/self/mountinfo"))
    if server.poll() is not None:
        raise Skipped("bindfs: " + text(s.path("bindfs.err")).strip())
    try:
        os.stat(s.path("fs/read"))
        raise Failed("root may look at it")
    except PermissionError:
        pass
    start(s, program=s.path("fs/prog"), user=UID, group=UID, extra_groups=[])
    s.dump("--file-validation", "checksum")
    for i in range(2):
        s.restore()
        check(os.readlink("/proc/%d/exe" % s.pid) == s.path("fs/prog"), "the executable")
        if not i:
            s.kill()
    s.verify()
    subprocess.run(["umount", "-l", s.path("fs")], check=True)


if ctypes.CDLL(None, use_errno=True).unshare(0x20000):
    raise Failed("no mount namespace of our own")
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
run_all()
