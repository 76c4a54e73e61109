#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Files of a FUSE file system that seem to be deleted while the dump runs, or about which its server answers with errors, or
# no more: they are opened by their paths at restore, and the log says which and why. And names that end in "(deleted)".
# zdtm: driver
# zdtm: needs-root
import ctypes
import errno
import os
import subprocess
import sys

from driver import Failed, check, run_all, scenario, text, wait_for
from fuse import Fuse

PROGRAM = """
import mmap, os, sys, time
HOME = os.getcwd()
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
a, b = os.open('fs/read', os.O_RDONLY), os.open('fs/write', os.O_RDWR)
p, d = os.open('fs/write', os.O_PATH), os.open('fs/dir', os.O_RDONLY)
os.lseek(a, 3, 0)
map = mmap.mmap(a, 4, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
os.chdir('fs/dir')
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


def start(s, setup, looks):
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, setup, looks], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "not ready")
    check(s.proc.poll() is None, "the victim: " + text(s.path("err")))


def fuse(s, setup=SETUP, looks=LOOKS):
    os.mkdir(s.path("fs"))
    f = Fuse(s.path("fs"), FILES)
    start(s, setup, looks)
    return f


def told(s, words, *names):
    log = text(s.path("imgs/dump.log"))
    for name in names:
        check(any("Warn" in x and name in x and words in x for x in log.splitlines()),
              "no warning says %r of %s: %s" % (words, name, log[-800:]))


def back(s, times=2):
    for i in range(times):
        s.restore()
        if i < times - 1:
            s.kill()
    s.verify()


@scenario
def answers(s):
    fuse(s)
    s.dump()
    check("FUSE" not in text(s.path("imgs/dump.log")), "nothing is wrong with it")
    back(s)


@scenario
def seems_deleted(s):
    """The race: every look at a path during the dump finds nothing."""
    f = fuse(s)
    f.lie(lookup=errno.ENOENT)
    s.dump()
    check(f.asked(), "nobody looked")
    f.lie()
    told(s, "No such file", "fs/read (deleted)", "fs/write (deleted)", "fs/dir (deleted)", "its working directory")
    back(s)


@scenario
def errors_of_all_sorts(s):
    f = fuse(s)
    for lookup, attr, statfs in ((errno.EPERM, 0, 0), (errno.ENOENT, errno.EPERM, 0), (errno.EACCES, errno.ENOENT, errno.EPERM),
                                 (errno.ENOTCONN, errno.ENOTCONN, errno.ENOTCONN)):
        f.lie(lookup, attr, statfs)
        s.dump()
        f.lie()
        told(s, os.strerror(lookup), "fs/read", "fs/write", "fs/dir")
        s.restore()
        s.clean_images()
    s.verify()


@scenario
def server_is_gone(s):
    f = fuse(s)
    f.stop()
    s.dump()
    told(s, "not connected", "fs/read", "fs/write", "its working directory")
    s.restore(ok=False)
    check(s.rc, "it was restored without a server")
    said = s.out + text(s.path("imgs/restore.log"))
    for who in ("fd 3", "fd 4", "fd 5", "fd 6", "working directory", "mapping"):
        check(any(who in x and "fs" in x for x in said.splitlines() if "Error" in x), "%s is not named: %s" % (who, said))
    f.unmount()
    f.start()
    back(s)


@scenario
def deleted_and_hidden(s):
    """Deleted for good while it is open: libfuse keeps it under a name of its own, which is gone with the tree."""
    f = fuse(s, """
a = os.open('fs/write', os.O_RDWR)
os.pwrite(a, b'secret', 6)
os.setxattr(a, 'user.empty', b'')
os.setxattr(a, 'user.note', b'kept' * 500)
os.unlink('fs/write')
""", """
see((os.getxattr(a, 'user.note'), os.getxattr(a, 'user.empty')) == (b'kept' * 500, b''), os.listxattr(a))
see(os.pread(a, 100, 0) == b'to be secretn', os.pread(a, 100, 0))
see(os.readlink('/proc/self/fd/%d' % a).endswith(' (deleted)'), os.readlink('/proc/self/fd/%d' % a))
""")
    check(any(n.startswith(".fuse_hidden") for n in os.listdir(s.path("fs"))), repr(os.listdir(s.path("fs"))))
    s.dump()
    check("1 deleted files are kept" in text(s.path("imgs/dump.log")), "it is no ghost")
    f.stop()
    f.unmount()
    f.nodes = {n: v for n, v in f.nodes.items() if v[0] != "write"}
    f.start()
    back(s)


@scenario
def names_with_the_mark(s):
    """No FUSE: what is called so, and what was."""
    os.mkdir(s.path("fs"))
    start(s, """
a = os.open('x (deleted)', os.O_RDWR | os.O_CREAT)
b = os.open('y (deleted)', os.O_RDWR | os.O_CREAT)
c = os.open('z', os.O_RDWR | os.O_CREAT)
d = os.open('z (deleted)', os.O_RDWR | os.O_CREAT)
for fd in (a, b, c, d): os.write(fd, b'content %d' % fd)
os.unlink('y (deleted)')
os.unlink('z')
n = os.readlink
""", """
for fd in (a, b, c, d): see(os.pread(fd, 100, 0) == b'content %d' % fd, fd)
see(n('/proc/self/fd/%d' % a) == HOME + '/x (deleted)' and os.fstat(a).st_nlink == 1, 'a')
see(n('/proc/self/fd/%d' % b) == HOME + '/y (deleted) (deleted)' and os.fstat(b).st_nlink == 0, 'b')
see(os.fstat(c).st_nlink == 0, n('/proc/self/fd/%d' % c))
see(n('/proc/self/fd/%d' % d) == HOME + '/z (deleted)' and os.fstat(d).st_nlink == 1, 'd')
see(os.path.samestat(os.fstat(d), os.stat('z (deleted)')), 'another file')
""")
    s.dump()
    back(s)


if ctypes.CDLL(None, use_errno=True).unshare(0x20000):
    raise Failed("no mount namespace of our own")
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
run_all()
