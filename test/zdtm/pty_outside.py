#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Terminals from outside of the tree: named with --external and handed in with --inherit-fd, several, one of them the
# controlling terminal; settings that a failed or killed restore had changed come back; another mount of devpts.
# zdtm: driver
# zdtm: needs-root
import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import termios
import time

from case import runs
from driver import TOP, check, run_all, scenario, state_of, text, wait_for

sys.path.insert(0, TOP)
LIBC = ctypes.CDLL(None, use_errno=True)


class Pty:
    def __init__(self):
        self.master, self.slave = os.openpty()
        st = os.fstat(self.slave)
        self.key = "tty[%x:%x]" % (st.st_rdev, st.st_dev)
        self.name = os.ttyname(self.slave)

    def attr(self):
        return termios.tcgetattr(self.slave)

    def raw(self):
        a = self.attr()
        a[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self.slave, termios.TCSANOW, a)

    def close(self):
        os.close(self.master)
        os.close(self.slave)


def tty_nr(pid):
    return int(text("/proc/%d/stat" % pid).rpartition(")")[2].split()[4])


@scenario
def handed_in(s):
    first, second = Pty(), Pty()
    first.raw()
    s.victim(stdin=second.slave, stdout=first.slave, stderr=first.slave,
             preexec_fn=lambda: fcntl.ioctl(first.slave, termios.TIOCSCTTY, 0))
    s.dump("--external", first.key, ok=False)
    check(s.rc and second.key in s.errors("dump.log"), "with one of two: %d, %s" % (s.rc, s.errors("dump.log")))
    s.dump("--external", first.key, "--external", second.key)
    first.close()
    second.close()
    a, b = Pty(), Pty()
    s.restore(ok=False)
    check(s.rc and "--inherit-fd" in s.errors("restore.log"), "without: %s" % s.errors("restore.log"))
    s.restore("--inherit-fd", "fd[%d]:%s" % (a.slave, first.key), "--inherit-fd", "fd[%d]:%s" % (b.slave, second.key),
              pass_fds=(a.slave, b.slave))
    check(os.readlink("/proc/%d/fd/1" % s.pid) == a.name, "output goes to %s" % os.readlink("/proc/%d/fd/1" % s.pid))
    check(os.readlink("/proc/%d/fd/0" % s.pid) == b.name, "input comes from elsewhere")
    check(tty_nr(s.pid) == os.fstat(a.slave).st_rdev, "its controlling terminal is %x" % tty_nr(s.pid))
    check(not a.attr()[3] & termios.ICANON and b.attr()[3] & termios.ICANON, "settings")
    s.verify()
    a.close()
    b.close()


@scenario
def taken_back(s):
    first, second = Pty(), Pty()
    first.raw()
    s.victim(stdin=first.slave, stdout=first.slave, stderr=first.slave)
    s.dump("--external", first.key)
    before = second.attr()
    hand = ("--inherit-fd", "fd[%d]:%s" % (second.slave, first.key))
    s.restore("--action-script", '[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ] || exit 1', *hand, ok=False,
              pass_fds=(second.slave,))
    check(s.rc and second.attr() == before, "after a failed restore (%d): %r" % (s.rc, second.attr()))
    killed, points, s.proc = 0, "", None
    for n in range(1, 200):
        s.restore("--test-kill-at", n, *hand, ok=False, pass_fds=(second.slave,))
        if s.rc == 0:
            break
        killed += 1
        points += text(s.path("imgs/restore.log"))
        if runs(s.pid):
            break  # it was committed
        s.gone()
        check(wait_for(lambda: second.attr() == before), "killed at point %d: %r" % (n, second.attr()))
    check("killed at fault point" in points and ": terminal set" in points, "no restore was killed when it had set it")
    if state_of(s.pid) != "gone":
        s.kill()
    s.restore(*hand, pass_fds=(second.slave,))
    check(not second.attr()[3] & termios.ICANON, "settings of a restore that succeeds")
    s.verify()
    first.close()
    second.close()


VICTIM = """import os, sys, termios, time
first = os.openpty()
m = os.open(sys.argv[1] + "/ptmx", os.O_RDWR | os.O_NOCTTY)
import fcntl, struct
fcntl.ioctl(m, 0x40045431, struct.pack("i", 0))
n = struct.unpack("i", fcntl.ioctl(m, 0x80045430, struct.pack("i", 0)))[0]
s = os.open("%s/%d" % (sys.argv[1], n), os.O_RDWR | os.O_NOCTTY)
os.write(m, b"to the second\\n")
os.write(first[0], b"to the first\\n")
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.02)
ok = os.read(s, 99) == b"to the second\\n" and os.read(first[1], 99) == b"to the first\\n"
ok = ok and os.fstat(s).st_dev != os.fstat(first[1]).st_dev
ok = ok and struct.unpack("i", fcntl.ioctl(m, 0x80045430, struct.pack("i", 0)))[0] == n
open("result", "w").write("PASS\\n" if ok else "FAIL\\n")
"""


@scenario
def second_devpts(s):
    mount = s.path("devpts")
    os.mkdir(mount)
    check(not LIBC.mount(b"none", mount.encode(), b"devpts", 0, b"newinstance,ptmxmode=0666,mode=0620"), "mount")
    try:
        with open(s.path("victim.py"), "w") as f:
            f.write(VICTIM)
        held = [os.openpty() for _ in range(3)]
        s.proc = subprocess.Popen([sys.executable, "victim.py", mount], cwd=s.dir, start_new_session=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready")
        for _ in range(3):
            s.dump()
            s.restore()
            s.clean_images()
        s.verify()
        for m, t in held:
            os.close(m)
            os.close(t)
    finally:
        wait_for(lambda: LIBC.umount(mount.encode()) == 0)


JOB = """import os, sys, termios, time
tty = os.open("/dev/tty", os.O_RDWR)
null = os.open("/dev/null", os.O_RDWR)
for fd in 0, 1, 2:
    os.dup2(null, fd)
a = termios.tcgetattr(tty)
a[3] &= ~(termios.ICANON | termios.ECHO)
termios.tcsetattr(tty, termios.TCSANOW, a)
open("ready", "w").write(str(os.getpid()))
while not os.path.exists("verify"):
    time.sleep(0.02)
os.write(tty, b"hello from the job\\n")
open("result", "w").write("PASS\\n" if not termios.tcgetattr(tty)[3] & termios.ICANON else "FAIL\\n")
"""


@scenario
def job_with_dev_tty(s):
    """A pager: all that it has of its terminal is /dev/tty."""
    with open(s.path("job.py"), "w") as f:
        f.write(JOB)
    first, second = Pty(), Pty()

    def session(pty, *cmd):
        return subprocess.Popen(["sh", "-c", "%s; true" % " ".join(cmd)], stdin=pty.slave, stdout=pty.slave, stderr=pty.slave,
                                start_new_session=True, cwd=s.dir,
                                preexec_fn=lambda: fcntl.ioctl(pty.slave, termios.TIOCSCTTY, 0))
    shell = session(first, sys.executable, "job.py")
    check(wait_for(lambda: text(s.path("ready")).isdigit()), "the job does not start")
    s.pid = int(text(s.path("ready")))
    time.sleep(0.05)
    s.dump("--shell-job", ok=False)
    check(s.rc == 0, "dump: %s" % s.errors("dump.log"))
    shell.wait()
    other = session(second, s.criu, "restore", "-D", s.imgs, "-v4", "-o", "restore.log", "--shell-job")
    check(wait_for(lambda: state_of(s.pid) != "gone"), "not restored: %s" % s.errors("restore.log"))
    check(wait_for(lambda: not second.attr()[3] & termios.ICANON), "settings were not handed over")
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: "PASS" in text(s.path("result"))), "the job says %r" % text(s.path("result")))
    check(b"hello from the job" in os.read(second.master, 999), "its terminal is another")
    other.wait()
    first.close()
    second.close()


run_all()
