#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Locks that somebody else holds by the time of the restore: it fails, naming file, range and holder, and leaves nothing;
# when they are free again the same images restore. A flock that is also held outside is warned of at dump; leases that
# somebody is breaking.
# zdtm: driver
import fcntl
import os
import subprocess
import sys

from driver import check, children, reap, run_all, scenario, text, wait_for


def conflict(s, program, take, words):
    s.victim(program)
    s.dump("-l")
    fds = take(s)
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored over a lock that is held")
    for w in (*words, "pid %d (" % os.getpid()):
        check(w in said, "the error does not say %r: %s" % (w, said))
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")
    for fd in fds:
        os.close(fd)
    s.restore()
    s.verify()


@scenario
def posix(s):
    def take(s):
        fd = os.open(s.path("file"), os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, 50)
        return [fd]
    conflict(s, "locks_posix", take, ["/posix/file", "POSIX", "on bytes 40 to 59"])


@scenario
def flock(s):
    def take(s):
        fd = os.open(s.path("ro"), os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_SH)
        return [fd]
    conflict(s, "locks_flock", take, ["/flock/ro", "the exclusive flock"])


@scenario
def ofd(s):
    def take(s):
        fd = os.open(s.path("file"), os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_SH, 1, 109)
        return [fd]
    conflict(s, "locks_ofd", take, ["/ofd/file", "the OFD write lock on bytes 100 to 109"])


@scenario
def held_outside(s):
    fd = os.open(s.path("held"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    s.victim(pass_fds=[fd])
    s.dump("-l")
    log = text(os.path.join(s.imgs, "dump.log"))
    check("its lock is also held through pid %d (" % os.getpid() in log, "no warning of the lock held outside")
    s.restore(ok=False)
    check("the exclusive flock cannot be taken" in s.errors("restore.log"), s.errors("restore.log"))
    os.close(fd)
    s.restore()
    again = os.open(s.path("held"), os.O_RDWR)
    try:
        fcntl.flock(again, fcntl.LOCK_SH | fcntl.LOCK_NB)
        check(False, "the lock is free")
    except BlockingIOError:
        pass
    s.verify()


@scenario
def refused_without(s):
    s.victim("locks_posix")
    s.dump(ok=False)
    said = s.errors("dump.log")
    check(s.rc != 0 and "--file-locks" in text(os.path.join(s.imgs, "dump.log")), said)
    s.verify()


def broken(path, flags):
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK))
        check(False, "the lease did not hold")
    except BlockingIOError:
        pass


def leases(s):
    found = {}
    for fd in os.listdir("/proc/%d/fd" % s.pid):
        for line in text("/proc/%d/fdinfo/%s" % (s.pid, fd)).splitlines():
            if "LEASE" in line:
                found[os.path.basename(os.readlink("/proc/%d/fd/%s" % (s.pid, fd)))] = " ".join(line.split()[2:5])
    return found


@scenario
def leases_being_broken(s):
    """Each still is, without a second signal, unless the file was opened meanwhile: then it is what it was to become."""
    s.victim("locks_lease")
    broken(s.path("w"), os.O_RDONLY)
    broken(s.path("r"), os.O_WRONLY)
    had = leases(s)
    check(had == {"w": "LEASE BREAKING READ", "p": "LEASE ACTIVE WRITE", "r": "LEASE BREAKING UNLCK"}, str(had))
    s.dump("-l")
    log = text(os.path.join(s.imgs, "dump.log"))
    check(log.count("its lease is being broken") == 2, "what the log says of it")
    s.restore()
    check(leases(s) == had, str(leases(s)))
    s.clean_images()
    s.dump("-l")  # and again
    opened = [os.open(s.path("w"), os.O_RDONLY), os.open(s.path("r"), os.O_WRONLY)]
    s.restore()
    had = leases(s)
    check(had == {"w": "LEASE ACTIVE READ", "p": "LEASE ACTIVE WRITE"}, str(had))
    check(text(os.path.join(s.imgs, "restore.log")).count("its lease was being broken") == 2, "what the log says of it")
    for fd in opened:
        os.close(fd)
    s.kill()


HOLDER = r"""
import fcntl, os, signal, time
fd = os.open("leased", os.O_RDWR | os.O_CREAT, 0o600)
told = []
signal.signal(signal.SIGIO, lambda *a: told.append(1))
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
open("ready", "w").close()
while not os.path.exists("give"):
    time.sleep(0.02)
said = [len(told), fcntl.fcntl(fd, 9) == os.getpid(), fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK]
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)  # the next opener is told
open("given", "w").close()
while len(told) < 2 and not os.path.exists("end"):
    time.sleep(0.02)
open("said.new", "w").write(repr(said + [len(told)]))
os.rename("said.new", "said")
time.sleep(1000)
"""


@scenario
def told_once(s):
    """The holder has had the signal: no second one comes, it gives way, and is told of the next opener."""
    s.proc = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("err"), "w"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("err")))
    broken(s.path("leased"), os.O_RDWR)
    for _ in range(3):
        s.clean_images()
        s.dump("-l")
        s.restore()
        check(leases(s) == {"leased": "LEASE BREAKING UNLCK"}, str(leases(s)))
    open(s.path("give"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("given"))), text(s.path("err")))
    broken(s.path("leased"), os.O_RDWR)
    check(wait_for(lambda: os.path.exists(s.path("said"))), text(s.path("err")))
    check(text(s.path("said")) == "[1, True, True, 2]", text(s.path("said")))
    s.kill()


run_all()
