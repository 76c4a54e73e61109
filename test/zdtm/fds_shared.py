#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Two pairs of tasks, and each pair shares more than half of the descriptors that a task (and the tool) may have.
# zdtm: timeout 300
import ctypes
import os
import resource
import signal
import struct
import sys
import time

libc = ctypes.CDLL(None)
hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20000)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
N = hard * 2 // 3


def work(pair, second):
    """Adds to what is in each, when told so."""
    first, got = pair
    while True:
        signal.sigwait([signal.SIGUSR1])
        ok = True
        for i in range(N):
            if second:
                ok = ok and struct.unpack("Q", os.read(first + i, 8))[0] == i % 1000 + 2
            else:
                os.write(first + i, struct.pack("Q", 1))
        os.write(got, b"y" if ok else b"n")


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
r, w = os.pipe()
pids = []
for k in range(2):
    pid = os.fork()
    if not pid:
        fds = [libc.eventfd(i % 1000 + 1, 0) for i in range(N)]
        if fds != list(range(fds[0], fds[0] + N)):
            os._exit(1)
        me = os.fork()
        if me:
            os.write(w, b"%10d" % me)
        work((fds[0], w), not me)
    pids.append((pid, int(os.read(r, 10))))
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.01)
said = b""
for i in range(2):
    for p in pids:
        os.kill(p[i], signal.SIGUSR1)
        said += os.read(r, 1)
for p in pids:
    os.kill(p[1], signal.SIGKILL)
    os.kill(p[0], signal.SIGKILL)
    os.waitpid(p[0], 0)
with open("result", "w") as f:
    f.write("PASS\n" if said == b"yyyy" else "FAIL they say %r\n" % said)
sys.exit(said != b"yyyy")
