#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What is open on a mount that is in no place (open_tree, umount -l), in a mount namespace of the tree's own and in criu's: refused
# with what to do, and the program lives on.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

from driver import check, run_all, scenario, state_of, text, wait_for

VICTIM = r"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
place, how = sys.argv[1].encode(), sys.argv[2:]
def must(ret):
    if ret < 0: raise OSError(ctypes.get_errno(), "call")
    return ret
must(libc.unshare(0x20000))
must(libc.mount(None, b"/", None, 0x44000, None))
must(libc.mount(b"t", place, b"tmpfs", 0, None))
with open(place + b"/file", "w") as f: f.write("x")
if "lazy" in how: fd = os.open(place, os.O_RDONLY)
else: fd = must(libc.syscall(428, -100, place, 1 | os.O_CLOEXEC))
file = os.open("/proc/self/fd/%d/file" % fd, os.O_RDONLY)
if "lazy" in how: must(libc.umount2(place, 2))
if "cwd" in how: os.fchdir(fd)
if "root" not in how: os.close(fd)
if "file" not in how: os.close(file)
open(sys.argv[1] + ".ready", "w")
time.sleep(100000)
"""


@scenario
def refused(s):
    place = s.path("place")
    os.mkdir(place)
    for how, names in (("root",), ["fd "]), (("file",), ["fd "]), (("cwd",), ["its working directory"]), (("root", "file", "cwd"), ["fd "]), \
            (("lazy", "file"), ["fd "]), (("lazy", "cwd"), ["its working directory"]):
        with open(s.path("victim.out"), "w") as out:
            s.proc = subprocess.Popen(["python3", "-c", VICTIM, place, *how], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                      start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(place + ".ready")), "not ready: " + text(s.path("victim.out")))
        os.unlink(place + ".ready")
        s.dump(ok=False)
        said = s.errors("dump.log")
        for name in names:
            check(s.rc and any(name in line and "its mount is in no place" in line for line in said.split("Error")), "%s: %s" % (how, said))
        check(wait_for(lambda: state_of(s.pid) == "S"), "%s: the program is %s" % (how, state_of(s.pid)))
        s.kill()


run_all()
