#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# IPC namespaces of the tree's own as unshare(1), ipcmk(1) and sysctl make them, looked at from outside: what ipcs says and all
# settings are as before, for three rounds; the host's objects are never touched. Killed at any point of a dump, all is as it was,
# messages too; killed at any point of a restore, nothing is left. What a process outside of the tree uses in there is refused.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

from driver import check, need, run_all, scenario, state_of, text, wait_for

SETTINGS = ["/proc/sys/kernel/" + n for n in ("msgmax", "msgmnb", "msgmni", "sem", "shmmax", "shmall", "shmmni", "shm_rmid_forced")] + \
    ["/proc/sys/fs/mqueue/" + n for n in ("msg_default", "msg_max", "msgsize_default", "msgsize_max", "queues_max")]

# A queue that stays open and one that does not, with the same messages; the number of the last one says when all is there.
QUEUES = """
import ctypes, os, struct, time
rt = ctypes.CDLL("librt.so.1", use_errno=True)
for name in b"/open", b"/closed":
    q = rt.mq_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o620, struct.pack("8l", 0, 5, 64, 0, 0, 0, 0, 0))
    assert q >= 0, os.strerror(ctypes.get_errno())
    for i in range(4):
        assert not rt.mq_send(q, b"message %d" % i, 9, i % 2)
os.close(q)
open("ready", "w")
while True: time.sleep(100)
"""

SCRIPT = """
ipcmk -M 1000000 -p 640 && ipcmk -M 5000 && ipcmk -S 300 -p 604 && ipcmk -Q
echo 4000 >/proc/sys/kernel/msgmax; echo 30 >/proc/sys/kernel/shmmni; echo 70 700 40 20 >/proc/sys/kernel/sem
echo 12 >/proc/sys/fs/mqueue/msg_max; echo 200000 >/proc/sys/kernel/shmmax
python3 queues.py
"""

LOOK = "mkdir -p mq; mount -t mqueue none mq; for i in m s q; do ipcs -$i; ipcs -c -$i; done; " \
       "for q in mq/*; do [ ! -e $q ] || stat -c '%%n %%a %%u %%g' $q; [ ! -e $q ] || grep -H . $q; done; grep . %s" % " ".join(SETTINGS)


def look(pid):
    """All that is in the namespace of a task, as text."""
    p = subprocess.run(["nsenter", "-i", "-t", str(pid), "unshare", "-m", "sh", "-c", LOOK], capture_output=True, text=True)
    lines = [" ".join(line.split()) for line in p.stdout.splitlines() if line.strip()]
    check(p.returncode == 0 and len(lines) > 24, "looking: %s%s" % (p.stdout, p.stderr))
    return lines


def host():
    return [text("/proc/sysvipc/" + n) for n in ("shm", "sem", "msg")], [text(f) for f in SETTINGS]


def start(s):
    need("unshare", "nsenter", "ipcmk", "ipcs")
    with open(s.path("queues.py"), "w") as f:
        f.write(QUEUES)
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["unshare", "-i", "sh", "-c", SCRIPT], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready: " + text(s.path("victim.out")))
    os.unlink(s.path("ready"))


def same(before, now, when):
    check(before == now, "%s: %s" % (when, [(a, b) for a, b in zip(before, now) if a != b] or (before, now)))


@scenario
def rounds(s):
    start(s)
    before, outside = look(s.pid), host()
    check(any("closed" in line and "QSIZE:36" in line for line in before), "no queues: %s" % before)
    for n in range(3):
        old = os.readlink("/proc/%d/ns/ipc" % s.pid)
        s.dump()
        s.restore()
        check(os.readlink("/proc/%d/ns/ipc" % s.pid) not in (os.readlink("/proc/self/ns/ipc"), ""), "in the host's")
        same(before, look(s.pid), "round %d (namespace %s)" % (n, old))
        check(host() == outside, "the host's have changed")
        s.clean_images()
    s.kill()


@scenario
def killed(s):
    start(s)
    before, outside = look(s.pid), host()
    for point in range(1, 500):
        s.dump("-R", "--test-kill-at", point, ok=False)
        check(wait_for(lambda: "t" not in state_of(s.pid)), "it stands still")
        same(before, look(s.pid), "dump killed at %d" % point)
        if s.rc >= 0:
            break
        s.clean_images()
    check(point > 8, "the dump ended at point %d" % point)
    s.clean_images()
    s.dump()
    s.proc = None
    for point in range(1, 500):
        s.restore("--test-kill-at", point, ok=False)
        if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "restore.log")):
            break
        s.gone()
        check(host() == outside, "restore killed at %d: the host's have changed" % point)
    check(point > 8, "the restore ended at point %d" % point)
    same(before, look(s.pid), "after all")
    s.kill()


HOLD = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
fd = os.open("/proc/%s/ns/ipc" % sys.argv[1], os.O_RDONLY)
assert not libc.setns(fd, 0x08000000)
if sys.argv[2] == "segment":
    assert libc.shmat(int(open("/proc/sysvipc/shm").read().splitlines()[1].split()[1]), None, 0) != 2 ** 64 - 1
else:
    assert libc.mq_open(b"/closed", os.O_RDONLY) >= 0
open("holds", "w")
time.sleep(1000)
"""


def refused(s, what, words):
    start(s)
    before = look(s.pid)
    p = subprocess.Popen(["python3", "-c", HOLD, str(s.pid), what], cwd=s.dir)
    try:
        check(wait_for(lambda: os.path.exists(s.path("holds"))), "the holder is not ready")
        check(s.dump(ok=False) != 0, "it was dumped")
        check(words in text(os.path.join(s.imgs, "dump.log")), s.errors("dump.log"))
    finally:
        p.kill()
        p.wait()
    same(before, look(s.pid), "after a dump that was refused")
    s.dump()
    s.restore()
    same(before, look(s.pid), "after the restore")
    s.kill()


@scenario
def attached_outside(s):
    refused(s, "segment", "is attached 1 times, but 0 times by tasks of the tree")


@scenario
def open_outside(s):
    refused(s, "queue", "which is outside of the tree, has it open")


FORCED = """
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
open("/proc/sys/kernel/shm_rmid_forced", "w").write("1")
at = libc.shmat(libc.shmget(0x98, 5000, 0o1600), None, 0)
ctypes.memmove(at, b"abc", 3)
open("ready", "w")
while not os.path.exists("loose"): time.sleep(0.01)
libc.shmget(0x97, 5000, 0o1600)
while True: time.sleep(100)
"""


@scenario
def forced(s):
    """kernel.shm_rmid_forced: a segment ends with its last mapping, also with one of criu's: that one is not touched."""
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["unshare", "-i", "python3", "-c", FORCED], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready: " + text(s.path("victim.out")))
    before = look(s.pid)
    for n in range(2):
        s.dump()
        s.restore()
        same(before, look(s.pid), "round %d" % n)
    open(s.path("loose"), "w").close()
    check(wait_for(lambda: len(look(s.pid)) > len(before)), "no second segment")
    before = look(s.pid)
    check(s.dump(ok=False) != 0 and "shm_rmid_forced is set" in s.errors("dump.log"), "it was dumped: " + s.errors("dump.log"))
    same(before, look(s.pid), "after a dump that was refused")
    s.kill()


run_all()
