#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A task inside execve() that does not come to its end: it cannot be seized before. The dump says so at its deadline and
# not later, leaves nothing, and the task goes on; behind it the program is dumped and restored. What holds it up is a
# permission mark of fanotify on the interpreter, which execve() opens late.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import shutil
import struct

from driver import check, run_all, scenario, text, wait_for

CLASS_CONTENT, MARK_ADD, OPEN_EXEC_PERM, ALLOW, AT_FDCWD = 4, 1, 0x40000, 1, -100
EVENT = "IBBHQii"


def hold(path):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.fanotify_init(CLASS_CONTENT, os.O_RDONLY | os.O_CLOEXEC)
    check(fd >= 0 and libc.fanotify_mark(fd, MARK_ADD, ctypes.c_uint64(OPEN_EXEC_PERM), AT_FDCWD, path.encode()) == 0,
          "fanotify: %s" % os.strerror(ctypes.get_errno()))
    return fd


def take(fd):
    """The descriptor of the file that somebody waits to execute."""
    return struct.unpack(EVENT, os.read(fd, 4096)[:struct.calcsize(EVENT)])[5]


@scenario
def told_at_the_deadline(s):
    interp = s.path("interp")
    shutil.copy("/bin/sh", interp)
    with open(s.path("script"), "w") as f:
        f.write("#!%s\nexec sleep 1000\n" % interp)
    os.chmod(f.name, 0o755)
    fan = hold(interp)
    pid = os.fork()
    if not pid:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for n in range(3):
            os.dup2(null, n)
        os.closerange(3, 1000)
        os.execv("/bin/sh", ["sh", "-c", "exec %s" % f.name])
    asked = take(fan)
    s.pid = pid
    s.dump("--timeout", "1", ok=False)
    check(s.rc == 1 and "executes a program" in s.errors("dump.log") and "--timeout" in s.errors("dump.log"),
          "rc %s: %s" % (s.rc, s.errors("dump.log")))
    check(not s.images(), "images are left: %s" % s.images())
    os.write(fan, struct.pack("iI", asked, ALLOW))
    os.close(asked)
    os.close(fan)
    check(wait_for(lambda: text("/proc/%d/comm" % pid) == "sleep\n"), "it does not go on: %s" % text("/proc/%d/comm" % pid))
    for _ in range(2):
        s.dump()
        s.restore()
        check(text("/proc/%d/comm" % pid) == "sleep\n", "it is not there again")
    s.kill()


run_all()
