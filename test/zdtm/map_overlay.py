#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An overlay whose layers lie on two file systems shows files with one number in /proc/PID/maps: what a program has mapped of
# the one, not from its start, is not taken for the other, a library, whose build id would be looked for at restore.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 60
import ctypes
import os
import re
import subprocess
import sys

from driver import Skipped, check, run_all, scenario, text, wait_for

PROGRAM = """
import mmap, os, time
def at(path, offset):
    fd = os.open(path, os.O_RDONLY)
    m = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=offset)
    os.close(fd)
    return m
data, library = at("o/data", 4096), at("o/library", 0)
os.symlink("x", "ready")
while not os.path.exists("verify"): time.sleep(0.01)
ok = data[:4] == b"data" and library[:4] == b"\\x7fELF"
with open("result", "w") as f: f.write("PASS\\n" if ok else "FAIL %r %r\\n" % (data[:4], library[:4]))
"""


@scenario
def two_layers(s):
    libc = ctypes.CDLL(None, use_errno=True)
    check(not libc.unshare(0x20000) and not libc.mount(b"none", b"/", None, 0x44000, None), os.strerror(ctypes.get_errno()))
    with open("/proc/self/maps") as f:
        library = next(m.group(1) for m in (re.search(r" (/\S*/libc[.-]\S+)$", x.strip()) for x in f) if m)
    for name in "a", "b", "o":
        os.mkdir(s.path(name))
    for name in "a", "b":
        check(not libc.mount(b"none", s.path(name).encode(), b"tmpfs", 0, None), "mount of a tmpfs")
    with open(s.path("a/data"), "wb") as f:
        f.write(b"data" * 4096)
    with open(library, "rb") as f, open(s.path("b/library"), "wb") as g:
        g.write(f.read())
    if libc.mount(b"none", s.path("o").encode(), b"overlay", 1, b"lowerdir=%s:%s" % (s.path("a").encode(), s.path("b").encode())):
        raise Skipped("mount of an overlay: " + os.strerror(ctypes.get_errno()))
    with open(s.path("err"), "w") as err:
        s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.lexists(s.path("ready"))), text(s.path("err")))
    numbers = {x.split()[4] for x in text("/proc/%d/maps" % s.pid).splitlines() if "/o/" in x}
    check(len(numbers) == 1, "the files have different numbers: %s" % numbers)
    s.dump()
    s.restore()
    s.verify()


run_all()
