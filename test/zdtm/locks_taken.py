#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Locks that somebody else holds by the time of the restore: it fails, naming file, range and holder, and leaves nothing;
# when they are free again the same images restore. A flock that is also held outside is warned of at dump; leases that
# somebody is breaking.
# zdtm: driver
import fcntl
import os

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
    """What each is to become: a read lease where the file is open for reading alone, else none."""
    s.victim("locks_lease")
    broken(s.path("w"), os.O_RDONLY)
    broken(s.path("r"), os.O_WRONLY)
    had = leases(s)
    check(had == {"w": "LEASE BREAKING READ", "p": "LEASE ACTIVE WRITE", "r": "LEASE BREAKING UNLCK"}, str(had))
    s.dump("-l")
    log = text(os.path.join(s.imgs, "dump.log"))
    check(log.count("its lease is being broken") == 2, "what the log says of it")
    s.restore()
    had = leases(s)
    check(had == {"w": "LEASE ACTIVE READ", "p": "LEASE ACTIVE WRITE"}, str(had))
    s.kill()


run_all()
