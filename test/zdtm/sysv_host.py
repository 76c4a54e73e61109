#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# System V segments and the host: gone as after a reboot, taken by another process (its number or its key), in use by
# another one, of which the data counts then. What keeps a segment from coming back is said before anything is started; a
# restore that fails or is killed leaves no segment that it has made, and takes none that was there.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import subprocess
import time

from driver import Failed, check, children, reap, run_all, scenario, text, wait_for

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
IPC_CREAT, IPC_RMID, KEY, SIZE = 0o1000, 0, 0x5A445401, 32 * 4096 - 100
NEXT_ID = "/proc/sys/kernel/shm_next_id"


def segments():
    """Number: (key, bytes, attached)."""
    rows = [line.split() for line in text("/proc/sysvipc/shm").splitlines()[1:]]
    return {int(r[1]): (int(r[0]), int(r[3]), int(r[6])) for r in rows}


def remove_all():
    for i in segments():
        libc.shmctl(i, IPC_RMID, None)


def make(key, size, number=None):
    if number is not None:
        with open(NEXT_ID, "w") as f:
            f.write(str(number))
    made = libc.shmget(key, ctypes.c_size_t(size), IPC_CREAT | 0o600)
    check(made >= 0 and number in (None, made), "shmget gave %d" % made)
    return made


def fails(s, *words):
    before = segments()
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored all the same")
    for w in words:
        check(w in said, "the error does not say %r: %s" % (w, said))
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")
    check(segments() == before, "other segments than before: %s, %s" % (before, segments()))


def victim(s):
    remove_all()
    s.victim("sysv_shm")


def keyed():
    return next(i for i, s in segments().items() if s[0] == KEY)


@scenario
def reboot(s):
    victim(s)
    before = {i: v[:2] for i, v in segments().items()}
    s.dump()
    for _ in range(2):
        remove_all()  # the first restore's too
        check(not segments(), "segments are left")
        s.restore()
        check({i: v[:2] for i, v in segments().items()} == before, "%s, was %s" % (segments(), before))
        s.kill()
    s.restore()
    s.verify()
    remove_all()


@scenario
def number_taken(s):
    victim(s)
    number = keyed()
    s.dump()
    remove_all()
    make(KEY + 5, 4096, number)
    fails(s, "shared memory %d " % number, "ipcrm -m")
    remove_all()
    check(wait_for(lambda: time.time() > int(os.stat(s.imgs + "/inventory.img").st_mtime) + 1.1), "the clock stands")
    make(KEY, SIZE, number)  # as ours to the letter, but not made for this tree
    fails(s, "shared memory %d " % number, "another one's")
    remove_all()
    s.restore()
    s.verify()
    remove_all()


@scenario
def key_taken(s):
    victim(s)
    number = keyed()
    s.dump()
    remove_all()
    make(KEY, 4096, number + 40)
    fails(s, "its key 0x%08x" % KEY, "ipcrm -M")
    remove_all()
    s.restore()
    s.verify()
    remove_all()


@scenario
def used_outside(s):
    """Nobody else had it at the dump: the data of others is not written over."""
    victim(s)
    number = keyed()
    s.dump()
    at = libc.shmat(number, None, 0)
    ctypes.memset(at, 0x77, 1)
    fails(s, "in use", "ipcs -p -m")
    libc.shmdt(ctypes.c_void_p(at))
    s.restore()
    s.verify()
    remove_all()


@scenario
def shared_with_outside(s):
    """What others write meanwhile is in it."""
    victim(s)
    at = libc.shmat(keyed(), None, 0)
    s.dump()
    ctypes.memset(at + 3, 0x55, 1)
    s.restore()
    check(ctypes.string_at(at + 3, 1) == b"\x55", "what another process wrote is gone")
    s.kill()
    libc.shmdt(ctypes.c_void_p(at))
    remove_all()


@scenario
def killed(s):
    """At each fault point of a restore that has to make the segments."""
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
        check(wait_for(lambda: not segments()), "killed at point %d: %s" % (point, segments()))
    check(3 < point < 59, "there are %d points" % point)
    s.verify()
    remove_all()


@scenario
def same_inode(s):
    """A memfd that has a segment's number as its inode number: each keeps its own data."""
    remove_all()
    for _ in range(20000):
        fd = os.memfd_create("x")
        number = os.fstat(fd).st_ino
        if number % 32768 < 3000:
            break
        os.close(fd)
    else:
        return
    os.write(fd, b"of the memfd")
    make(KEY, SIZE, number) if number < 2**31 else None
    program = ("import ctypes, os, sys, time\n"
               "libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p\n"
               "at = libc.shmat(%d, None, 0)\n"
               "ctypes.memset(at, 0x53, 12)\n"
               "open('ready', 'w')\n"
               "while not os.path.exists('verify'): time.sleep(0.01)\n"
               "same = ctypes.string_at(at, 12) == b'S' * 12 and os.pread(%d, 20, 0) == b'of the memfd'\n"
               "open('result', 'w').write('PASS\\n' if same else 'FAIL other data\\n')\n" % (number, fd))
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen(["/usr/bin/python3", "-c", program], cwd=s.dir, pass_fds=[fd], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    if not wait_for(lambda: os.path.exists(s.path("ready"))):
        raise Failed("the victim is not ready: " + text(s.path("victim.out")))
    os.close(fd)
    s.dump()
    remove_all()
    s.restore()
    s.verify()
    remove_all()


run_all()
