#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Namespaces of types time, user and mnt that are no part of a checkpoint: --external TYPE[INODE]:KEY and --inherit-fd fd[N]:KEY,
# with the same one, another one, none; --join-ns, for user namespaces with UID,GID; what the kernel takes nobody into.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs unshare nsenter setsid
import os
import shutil
import subprocess

from driver import check, rounds_wanted, run_all, scenario, state_of, text, wait_for

ROUNDS = rounds_wanted(3)

# Writes what it is and sees, again and again.
VICTIM = """
import os, sys, time
f = open(sys.argv[1], "r+") if len(sys.argv) > 1 else None
if f: os.chdir(os.path.dirname(sys.argv[1]))
child = 0
if os.getuid() == 0 and not f and not os.fork():
    child = 1
    os.setresgid(50, 50, 50)
    os.setresuid(1000, 1000, 1000)
out = os.open(sys.argv[2] if f else ".", os.O_PATH)
name = "/proc/self/fd/%d/said%s" % (out, ".child" if child else "")
while True:
    said = "%s %s %s" % (os.getresuid(), os.getresgid(), [line.split()[1] for line in open("/proc/self/status") if line[:6] in ("CapPrm", "CapEff")])
    if f:
        f.seek(0)
        said = "%s %s %s" % (f.read(), os.path.exists("file"), os.getcwd())
    said += "; %f" % time.monotonic()
    for call in (lambda: os.symlink(said, name + ".new"), lambda: os.rename(name + ".new", name)):
        try:
            call()  # nothing is open, whenever it is dumped, and a second restore may find what the first has left
        except OSError:
            pass
    time.sleep(0.01)
"""


class Holder:
    """A process in a namespace of its own."""

    def __init__(self, s, *command):
        mark = s.path("holder")
        self.p = subprocess.Popen([*command, "sh", "-c", "echo >%s; exec sleep 1000" % mark], stdin=subprocess.DEVNULL)
        check(wait_for(lambda: os.path.exists(mark)), "no namespace")
        check(wait_for(lambda: text("/proc/%d/comm" % self.p.pid) == "sleep\n"), "no holder")
        os.unlink(mark)
        self.pid = self.p.pid

    def ino(self, kind):
        return os.stat("/proc/%d/ns/%s" % (self.pid, kind)).st_ino

    def end(self):
        self.p.kill()
        self.p.wait()


def user_holder(s, first):
    os.chmod(s.dir, 0o777)
    h = Holder(s, "unshare", "-U")
    for name in "uid_map", "gid_map":
        with open("/proc/%d/%s" % (h.pid, name), "w") as f:
            f.write("0 %d 65536" % first)
    return h


def start(s, enter, *args):
    shutil.copy("/dev/null", s.path("victim.out"))
    with open(s.path("victim.py"), "w") as f:
        f.write(VICTIM)
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen([*enter, "setsid", "python3", s.path("victim.py"), *args], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=out)
    s.pid = s.proc.pid
    said(s)


def said(s, name="said"):
    """What it says of itself, and its clock: twice, since the first may be what it read before a dump."""
    for _ in range(2):
        if os.path.islink(s.path(name)):
            os.unlink(s.path(name))
        check(wait_for(lambda: os.path.islink(s.path(name))), "it says nothing: " + text(s.path("victim.out")))
    what, clock = os.readlink(s.path(name)).rsplit("; ", 1)
    return what, float(clock)


def given(s, kind, pid, *opts, **kw):
    fd = os.open("/proc/%s/ns/%s" % (pid, kind), os.O_RDONLY)
    try:
        s.restore("--inherit-fd", "fd[%d]:the %s" % (fd, kind), *opts, pass_fds=[fd], **kw)
    finally:
        os.close(fd)


def is_in(s, kind, holder):
    check(os.stat("/proc/%d/ns/%s" % (s.pid, kind)).st_ino == holder.ino(kind), "it is in another %s namespace" % kind)


def refused(s, why, *opts):
    s.restore(*opts, ok=False)
    check(s.rc != 0 and why in s.errors("restore.log"), "%s: rc %d, %s" % (opts, s.rc, s.errors("restore.log")))
    check(state_of(s.pid) == "gone", "it was restored")


def through(s, kind, first, second, check_it):
    """Dumped in the first, restored in it and in the other one, by both ways."""
    for n in range(ROUNDS):
        s.dump("--external", "%s[%d]:the %s" % (kind, first.ino(kind), kind))
        refused(s, "give another one by --inherit-fd 'fd[N]:the %s'" % kind)
        given(s, kind, first.pid)
        is_in(s, kind, first)
        check_it(first)
        s.clean_images()
    s.dump("--external", "%s[%d]:the %s" % (kind, first.ino(kind), kind))
    given(s, kind, first.pid, "--test-kill-at", "9", ok=False)
    check(s.rc != 0, "it was not killed")
    s.gone()
    given(s, kind, second.pid)
    is_in(s, kind, second)
    check_it(second)
    s.kill()
    refused(s, "no namespace of this type", "--join-ns", "%s:/proc/1/ns/uts" % kind)
    for where in str(second.pid), "/proc/%d/ns/%s" % (first.pid, kind):
        holder = second if where == str(second.pid) else first
        s.restore("--join-ns", "%s:%s" % (kind, where))
        is_in(s, kind, holder)
        check_it(holder)
        s.kill()
    s.clean_images()


@scenario
def time_ns(s):
    holders = [Holder(s, "unshare", "-T", "--monotonic=%d" % m, "--boottime=5") for m in (500000, 700000)]
    try:
        ahead = {holders[0].pid: 500000, holders[1].pid: 700000}

        def clock(holder):
            now = float(text("/proc/uptime").split()[0]) + ahead[holder.pid]
            its = said(s)[1]
            check(abs(its - now) < 60, "its clock shows %f, not %f" % (its, now))

        start(s, ["nsenter", "-T", "-t", str(holders[0].pid)])
        clock(holders[0])
        through(s, "time", *holders, clock)
        # One that was in criu's own.
        start(s, [])
        s.dump()
        s.restore("-J", "time:%d" % holders[1].pid)
        is_in(s, "time", holders[1])
        clock(holders[1])
        s.kill()
    finally:
        for h in holders:
            h.end()


@scenario
def user_ns(s):
    holders = [user_holder(s, 100000), user_holder(s, 300000)]
    try:
        outside = {holders[0].pid: 100000, holders[1].pid: 300000}

        start(s, ["nsenter", "-U", "-t", str(holders[0].pid), "-S", "0", "-G", "0"])
        before = said(s)[0], said(s, "said.child")[0]

        def ids(holder):
            now = said(s)[0], said(s, "said.child")[0]
            check(now == before, "it is %s, not %s" % (now, before))
            uids = text("/proc/%d/status" % s.pid).split("Uid:")[1].split()[0]
            check(int(uids) == outside[holder.pid], "outside it is user %s" % uids)

        ids(holders[0])
        through(s, "user", *holders, ids)
        # One that was in criu's own, and the ids with which it comes in.
        start(s, [])
        before = said(s)[0], said(s, "said.child")[0]
        s.dump()
        for extra in "", ",0,0", ",1000,50":
            s.restore("-J", "user:%d%s" % (holders[1].pid, extra))
            is_in(s, "user", holders[1])
            ids(holders[1])
            s.kill()
        refused(s, "has no place in the map", "-J", "user:%d,70000,0" % holders[1].pid)
        refused(s, "UID,GID is expected", "-J", "user:%d,70000" % holders[1].pid)
        refused(s, "only a user namespace takes", "-J", "uts:%d,0,0" % holders[1].pid)
        refused(s, "setns(user): Invalid argument", "-J", "user:/proc/self/ns/user")
        refused(s, "cgroup namespaces cannot be joined", "-J", "cgroup:1")
        refused(s, "pid namespaces cannot be joined", "-J", "pid:1")
    finally:
        for h in holders:
            h.end()


@scenario
def mnt_ns(s):
    place = s.path("place")
    os.mkdir(place)
    holders = [Holder(s, "unshare", "-m", "sh", "-ec", "mount -t tmpfs %s %s; echo of-one >%s/file; exec \"$@\"" % (name, place, place), "sh")
               for name in ("one", "two")]
    try:
        def file(holder):
            check(said(s)[0] == "of-one\n True %s" % place, "it says %s" % said(s)[0])
            mine = subprocess.run(["nsenter", "-m", "-t", str(holder.pid), "stat", "-c", "%d %i", place + "/file"], capture_output=True,
                                  text=True).stdout.split()
            its = [os.stat("/proc/%d/fd/%s" % (s.pid, fd)) for fd in os.listdir("/proc/%d/fd" % s.pid) if
                   os.readlink("/proc/%d/fd/%s" % (s.pid, fd)) == place + "/file"]
            check([[str(st.st_dev), str(st.st_ino)] for st in its] == [mine], "its file is another: %s" % its)

        before = text("/proc/self/mountinfo")
        start(s, ["nsenter", "-m", "-t", str(holders[0].pid)], place + "/file", s.dir)
        file(holders[0])
        through(s, "mnt", *holders, file)
        # One that was saved with all mounts, which are left out.
        start(s, ["nsenter", "-m", "-t", str(holders[0].pid)], place + "/file", s.dir)
        s.dump()
        s.restore("-J", "mnt:%d" % holders[1].pid)
        is_in(s, "mnt", holders[1])
        file(holders[1])
        s.kill()
        s.clean_images()
        check(text("/proc/self/mountinfo") == before, "mounts are left")
        # One that was in criu's own: files are looked for where criu is.
        start(s, [])
        s.dump("--external", "mnt[%d]:own" % os.stat("/proc/self/ns/mnt").st_ino, ok=False)
        check(s.rc != 0 and "is criu's own mount namespace" in s.errors("dump.log"), s.errors("dump.log"))
        s.dump()
        refused(s, "was criu's own at the dump", "-J", "mnt:%d" % holders[0].pid)
    finally:
        for h in holders:
            h.end()


run_all()
