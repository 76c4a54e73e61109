#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Reads and writes that move less than asked for, or are interrupted (a library between criu and the kernel): private, shared and
# copied memory, memfds, deleted files and huge pages come back byte by byte.
# zdtm: driver
# zdtm: needs gcc
import os
import subprocess
import sys

from driver import HERE, check, run_all, scenario, wait_for

PROGRAM = """
import ctypes, hashlib, mmap, os, time
def noise(n, seed):
    return hashlib.shake_128(b'%d' % seed).digest(n)
private, shared = mmap.mmap(-1, 3 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), mmap.mmap(-1, 3 << 20)
fd, mem = os.open('away', os.O_RDWR | os.O_CREAT), os.memfd_create('mem')
huge = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
huge.madvise(mmap.MADV_HUGEPAGE)
huge[:] = noise(8 << 20, 4)
private[:] = noise(3 << 20, 1)
shared[:] = noise(3 << 20, 2)
os.write(fd, noise(1000001, 3))
os.write(mem, noise(1000001, 5))
os.unlink('away')
def verify(child):
    bad = ''
    if private[:] != noise(3 << 20, 1): bad += ' private'
    if shared[:] != noise(3 << 20, 2): bad += ' shared'
    if huge[:] != noise(8 << 20, 4): bad += ' huge'
    if os.pread(fd, 2000000, 0) != noise(1000001, 3): bad += ' deleted'
    if os.pread(mem, 2000000, 0) != noise(1000001, 5): bad += ' memfd'
    return bad
pid = os.fork()
if pid == 0:
    while not os.path.exists('verify'): time.sleep(0.01)
    os._exit(1 if verify(1) else 0)
open('ready', 'w').close()
while not os.path.exists('verify'): time.sleep(0.01)
bad = verify(0)
if os.waitpid(pid, 0)[1]: bad += ' child'
with open('result', 'w') as f: f.write('FAIL%s' % bad if bad else 'PASS')
"""


def run_through(s, env):
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=s.dir, stdin=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), "not ready")
    s.dump(env=env)
    s.restore(env=env)
    s.verify()


@scenario
def short(s):
    lib = s.path("short_io.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O", "-o", lib, os.path.join(HERE, "lib/short_io.c")], check=True)
    run_through(s, {"LD_PRELOAD": lib})


run_all()
