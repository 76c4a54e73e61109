#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# System V semaphore sets and message queues, and the host: gone as after a reboot, number or key taken by another one, in use
# by processes outside of the tree, whose changes live on, and of which the tree takes again what it held (SEM_UNDO). What keeps
# one from coming back is said before anything is started; a restore that fails or is killed leaves none that it has made.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import struct
import subprocess
import time

from driver import Failed, check, children, reap, run_all, scenario, text, wait_for

libc = ctypes.CDLL(None, use_errno=True)
IPC_CREAT, IPC_RMID, IPC_NOWAIT, SEM_UNDO = 0o1000, 0, 0o4000, 0x1000
GETVAL, SETVAL, GETPID = 12, 16, 11
SEM_KEY, MSG_KEY = 0x5A445402, 0x5A445403

# A process that holds 2 of a semaphore (SEM_UNDO) and has taken 1 for good; with a queue that has 3 messages.
VICTIM = """
import ctypes, os, struct, time
libc = ctypes.CDLL(None, use_errno=True)
op = lambda s, n, o, f: libc.semop(s, struct.pack("Hhh", n, o, f), 1)
s = libc.semget(%d, 2, 0o1600)
q = libc.msgget(%d, 0o1600)
if libc.semctl(s, 0, 12) == 0:
    libc.semctl(s, 0, 16, 10)
assert not op(s, 0, -2, 0x1000) and not op(s, 0, -1, 0) and not op(s, 1, 5, 0)
for i in range(3):
    assert not libc.msgsnd(q, struct.pack("l8s", i + 1, b"text %%03d" %% i), 8, 0)
open("ready", "w")
while not os.path.exists("verify"): time.sleep(0.01)
said = []
buf = ctypes.create_string_buffer(100)
for i in range(3):
    if libc.msgrcv(q, buf, 8, 0, 0o4000) != 8 or buf.raw[:16] != struct.pack("l8s", i + 1, b"text %%03d" %% i):
        said.append("FAIL message %%d: %%r" %% (i, buf.raw[:16]))
open("result", "w").write("\\n".join(said + [""]) if said else "PASS\\n")
""" % (SEM_KEY, MSG_KEY)


def numbers(kind):
    return {int(line.split()[1]): int(line.split()[0]) for line in text("/proc/sysvipc/" + kind).splitlines()[1:]}


def everything():
    return numbers("sem"), numbers("msg")


def remove_all():
    for i in numbers("sem"):
        libc.semctl(i, 0, IPC_RMID)
    for i in numbers("msg"):
        libc.msgctl(i, IPC_RMID, None)


def set_next(kind, number):
    with open("/proc/sys/kernel/%s_next_id" % kind, "w") as f:
        f.write(str(number))


def operate(sem, n, op, flags=IPC_NOWAIT):
    return libc.semop(sem, struct.pack("Hhh", n, op, flags), 1)


def value(sem, n=0):
    return libc.semctl(sem, n, GETVAL)


def victim(s):
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen(["/usr/bin/python3", "-c", VICTIM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    if not wait_for(lambda: os.path.exists(s.path("ready"))):
        raise Failed("the victim is not ready: " + text(s.path("victim.out")))
    return list(numbers("sem"))[0], list(numbers("msg"))[0]


def fails(s, *words):
    before = everything()
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored all the same")
    for w in words:
        check(w in said, "the error does not say %r: %s" % (w, said))
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")
    check(everything() == before, "other objects than before: %s, %s" % (before, everything()))


@scenario
def reboot(s):
    remove_all()
    sem, msg = victim(s)
    s.dump()
    for _ in range(3):
        remove_all()
        s.restore()
        check(everything() == ({sem: SEM_KEY}, {msg: MSG_KEY}), "there are %s" % (everything(),))
        check((value(sem), value(sem, 1)) == (7, 5), "values %d, %d" % (value(sem), value(sem, 1)))
        check(libc.semctl(sem, 0, GETPID) == s.pid, "changed last by %d" % libc.semctl(sem, 0, GETPID))
        s.kill()
        check(value(sem) == 9, "with its undo it is %d" % value(sem))
    s.restore()  # what the restore before has left
    check(value(sem) == 7, "value %d" % value(sem))
    s.verify()
    check(wait_for(lambda: value(sem) == 9), "at its end it is %d" % value(sem))
    remove_all()


@scenario
def taken(s):
    remove_all()
    sem, msg = victim(s)
    s.dump()
    remove_all()
    set_next("sem", sem)
    check(libc.semget(SEM_KEY, 2, IPC_CREAT | 0o644) == sem, "no set with its number")
    libc.semctl(sem, 0, SETVAL, 1)
    check(wait_for(lambda: time.time() > int(os.stat(s.imgs + "/inventory.img").st_mtime) + 1.1), "the clock stands")
    libc.semctl(sem, 0, SETVAL, 1)
    set_next("msg", msg)
    check(libc.msgget(MSG_KEY + 5, IPC_CREAT | 0o600) == msg, "no queue with its number")
    fails(s, "semaphore set %d " % sem, "ipcrm -s", "message queue %d " % msg, "ipcrm -q")
    remove_all()
    set_next("sem", sem + 3)
    libc.semget(SEM_KEY, 1, IPC_CREAT | 0o600)
    set_next("msg", msg + 3)
    libc.msgget(MSG_KEY, IPC_CREAT | 0o600)
    fails(s, "ipcrm -S 0x%08x" % SEM_KEY, "ipcrm -Q 0x%08x" % MSG_KEY)
    remove_all()
    s.restore()
    s.verify()
    remove_all()


@scenario
def used_outside(s):
    """Not at the dump: the values of others are not written over."""
    remove_all()
    sem, _ = victim(s)
    s.dump()
    operate(sem, 1, 1)
    fails(s, "semaphore set %d " % sem, "in use by processes that are not in the images")
    remove_all()
    s.restore()
    s.verify()
    remove_all()


@scenario
def shared_with_outside(s):
    """What others add meanwhile is there; what the tree held it takes again, if that is left."""
    remove_all()
    sem, _ = victim(s)
    operate(sem, 1, 1)
    s.dump()
    check(value(sem) == 9, "after the dump it is %d" % value(sem))
    operate(sem, 0, 20)
    for _ in range(2):
        s.restore()
        check((value(sem), value(sem, 1)) == (27, 6), "values %d, %d" % (value(sem), value(sem, 1)))
        s.kill()
        check(value(sem) == 29, "with its undo it is %d" % value(sem))
    operate(sem, 0, -28)
    fails(s, "the tree holds 2 of semaphore 0 (SEM_UNDO), which is 1 now")
    operate(sem, 0, 1)
    s.restore()
    check(value(sem) == 0, "value %d" % value(sem))
    s.verify()
    check(wait_for(lambda: value(sem) == 2), "at its end it is %d" % value(sem))
    remove_all()


@scenario
def undo_that_nothing_tells(s):
    """Others have changed all semaphores since: it is asked for, or where there are too many, it is said that it is lost."""
    remove_all()
    sem, _ = victim(s)
    operate(sem, 0, 1)
    operate(sem, 1, 1)
    s.dump()
    check(value(sem) == 10 and "is lost" not in s.out, "value %d; %s" % (value(sem), s.out))
    s.restore()
    check(value(sem) == 8, "value %d" % value(sem))
    s.verify()
    check(wait_for(lambda: value(sem) == 10), "at its end it is %d" % value(sem))
    remove_all()
    for name in ("ready", "verify", "result"):
        os.unlink(s.path(name)) if os.path.exists(s.path(name)) else None
    sem, _ = victim(s)
    libc.semget(0, 32000, IPC_CREAT | 0o600)
    operate(sem, 0, 1)
    operate(sem, 1, 1)
    s.dump()
    check("at its end semaphore 0 of set %d" % sem in s.out and "is lost" in s.out, "not a word of it: " + s.out)
    s.restore()
    check(value(sem) == 10, "value %d" % value(sem))
    s.verify()
    remove_all()


@scenario
def many(s):
    """A set of 32000, and the highest undo there is."""
    remove_all()
    sem, _ = victim(s)
    with open("/proc/sys/kernel/sem") as f:
        limits = f.read()
    big = libc.semget(SEM_KEY + 1, int(limits.split()[0]), IPC_CREAT | 0o600)
    last = int(limits.split()[0]) - 1
    code = ("import ctypes, struct, time; l = ctypes.CDLL(None)\n"
            "for n, o in ((0, 1), (1, 32767), (2, -32767), (%d, 5)): l.semop(%d, struct.pack('Hhh', n, o, 0), 1)\n"
            "l.semop(%d, struct.pack('HhhHhhHhh', 1, -32767, 0x1000, 2, 32767, 0x1000, %d, -5, 0x1000), 3)\n"
            "for n in range(3, 20000): l.semop(%d, struct.pack('Hhh', n, 1, 0), 1)\n"
            "open('held', 'w')\n"
            "while True: time.sleep(0.1)" % (last, big, big, last, big))
    libc.semctl(big, 2, SETVAL, 32767)
    holder = subprocess.Popen(["/usr/bin/python3", "-c", code], cwd=s.dir, start_new_session=True)
    check(wait_for(lambda: os.path.exists(s.path("held"))), "no holder")
    want = [1, 0, 32767, 0]
    check([value(big, n) for n in (0, 1, 2, last)] == want, "the holder holds something else")
    s.kill()
    s.proc, s.pid = holder, holder.pid
    began = time.monotonic()
    s.dump()
    took = time.monotonic() - began
    check(took < 5, "the dump took %.1f s" % took)
    remove_all()
    s.restore()
    check([value(big, n) for n in (0, 1, 2, last)] == want, "other values")
    s.kill()
    check([value(big, n) for n in (0, 1, 2, last)] == [1, 32767, 0, 5], "another undo")
    remove_all()


@scenario
def failed_dump(s):
    """Nothing is changed by looking: values, undo, messages, and who was last."""
    remove_all()
    sem, msg = victim(s)
    for point in range(1, 100, 9):
        s.dump("--test-kill-at", str(point), "--leave-running", ok=False)
        check(value(sem) == 7 and libc.semctl(sem, 0, GETPID) == s.pid, "point %d: %d" % (point, value(sem)))
        if s.rc == 0:
            break
    check(3 < point < 91, "there are %d points" % point)
    s.verify()
    check(wait_for(lambda: value(sem) == 9), "at its end it is %d" % value(sem))
    remove_all()


@scenario
def killed(s):
    """At each fault point of a restore that has to make both."""
    remove_all()
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
        check(wait_for(lambda: everything() == ({}, {})), "killed at point %d: %s" % (point, everything()))
    check(3 < point < 59, "there are %d points" % point)
    s.verify()
    remove_all()


run_all()
