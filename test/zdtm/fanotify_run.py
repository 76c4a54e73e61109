#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A program of many threads that has to allow whatever is opened in /run, and counts that: a dump of it waits for nothing that only
# this program could allow, also where criu finds there what an earlier command kept (criu.types), and where the program is stopped.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 120
import ctypes
import os
import signal
import subprocess
import sys

from driver import check, run_all, scenario, text, tree, wait_for

PROGRAM = """
import ctypes, os, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.fanotify_init(0x4 | 0x1, os.O_RDONLY)
assert fd >= 0, os.strerror(ctypes.get_errno())
assert not libc.fanotify_mark(fd, 1, ctypes.c_uint64(0x10000 | 0x08000000), -100, b"/run"), os.strerror(ctypes.get_errno())
def count(n):
    with open("count.new", "w") as f: f.write(str(n))
    os.rename("count.new", "count")
count(0)
for i in range(64):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
open("ready", "w").close()
n = 0
while True:
    data = os.read(fd, 4096)
    while data:
        size, _, _, _, mask, its, pid = struct.unpack_from("=IBBHQii", data)
        os.write(fd, struct.pack("=iI", its, 1))
        os.close(its)
        n, data = n + 1, data[size:]
        count(n)
"""


@scenario
def allows(s):
    libc = ctypes.CDLL(None, use_errno=True)
    check(not libc.unshare(0x20000) and not libc.mount(b"none", b"/", None, 0x44000, None) and
          not libc.mount(b"none", b"/run", b"tmpfs", 0, None), os.strerror(ctypes.get_errno()))

    def count():
        return int(text(s.path("count")))

    with open(s.path("err"), "w") as err:
        s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("err")))
    for i in range(3):
        s.clean_images()
        s.dump(timeout=20)
        s.restore(timeout=20)
        check(i == 0 or os.path.islink("/run/criu.types"), "nothing was kept")
        had = count()
        with open("/run/file%d" % i, "w"):
            pass
        check(wait_for(lambda: count() > had), "it is asked no more")
    s.clean_images()
    for p in tree(s.pid):
        os.kill(p, signal.SIGSTOP)
    s.dump(timeout=20)
    s.restore(timeout=20)
    s.kill()


run_all()
