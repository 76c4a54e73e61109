#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Semaphores, queues and shared memory as Python's multiprocessing makes them, by fork and by spawn (as vLLM starts its
# workers: a ring buffer in named shared memory, semaphores that are still in /dev/shm), restored 20 times from one set of images.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 300
import ctypes
import os
import subprocess
import sys

from driver import Failed, check, reap, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for

PROGRAM = '''
import multiprocessing as mp, os, sys, time
from multiprocessing import shared_memory

def worker(n, tasks, results, lock, event, barrier, counter, ring_name, go):
    ring = shared_memory.SharedMemory(name=ring_name)
    while True:
        go.acquire()
        x = tasks.get()
        with lock:
            counter.value += 1
        ring.buf[n] = x & 0xff
        barrier.wait(60)
        results.put((n, x * x))

def main():
    ctx = mp.get_context(sys.argv[1])
    tasks, results, lock, event = ctx.Queue(), ctx.SimpleQueue(), ctx.Lock(), ctx.Event()
    barrier, counter = ctx.Barrier(3), ctx.Value('i', 0)
    ring = shared_memory.SharedMemory(create=True, size=100000)
    go = [ctx.Semaphore(0) for _ in range(2)]
    ps = [ctx.Process(target=worker, args=(n, tasks, results, lock, event, barrier, counter, ring.name, go[n])) for n in range(2)]
    for p in ps: p.start()
    done = 0
    def work(x):
        nonlocal done
        for n in range(2):
            tasks.put(x + n)
            go[n].release()
        barrier.wait(60)
        got = sorted([results.get(), results.get()])
        done += 2
        assert sorted(v for _, v in got) == [x * x, (x + 1) * (x + 1)], got
        assert counter.value == done, (counter.value, done)
        assert sorted(ring.buf[:2]) == [x & 0xff, (x + 1) & 0xff], bytes(ring.buf[:2])
        assert [p.is_alive() for p in ps] == [True, True]
    work(1)
    work(5)
    tasks.put(77) # one waits in the queue over the dump
    time.sleep(0.2)
    open('ready', 'w').close()
    while not os.path.exists('ask'): time.sleep(0.01)
    try:
        assert tasks.get(timeout=60) == 77
        for x in range(10, 20): work(x)
        said = 'well %d' % counter.value
    except BaseException as e:
        said = 'bad %r' % e
    with open('answer.tmp', 'w') as f: f.write(said)
    os.rename('answer.tmp', 'answer')
    time.sleep(1000)

if __name__ == '__main__':
    main()
'''


def names():
    return sorted(os.listdir("/dev/shm"))


def go(s, method, times):
    with open(s.path("prog.py"), "w") as f:
        f.write(PROGRAM)
    s.proc = subprocess.Popen([sys.executable, s.path("prog.py"), method], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "not ready")
    check(s.proc.poll() is None, "the victim: " + text(s.path("err")))
    maps = "".join(text("/proc/%d/maps" % p) for p in tree(s.pid))
    check("/dev/shm/sem." in maps and "(deleted)" in maps, "no semaphore by a deleted name")
    pids, shm = tree(s.pid), names()
    s.dump()
    check(names() == shm, "the dump changed /dev/shm: %r, it was %r" % (names(), shm))
    contents = {n: open("/dev/shm/" + n, "rb").read() for n in shm}
    for i in range(rounds_wanted(times)):
        for n in shm:  # what has a name is no part of the images: it is as it was at the dump
            with open("/dev/shm/" + n, "r+b") as f:
                f.write(contents[n])
        s.restore()
        check(sorted(tree(s.pid)) == sorted(pids), "restore %d: processes %r, not %r" % (i, tree(s.pid), pids))
        open(s.path("ask"), "w").close()
        said = wait_for(lambda: os.path.exists(s.path("answer"))) and text(s.path("answer"))
        check(said == "well 24", "restore %d: %s %s" % (i, said, text(s.path("err"))))
        for n in ("ask", "answer"):
            os.unlink(s.path(n))
        s.kill()
        check(wait_for(lambda: reap() or all(state_of(p) == "gone" for p in pids)), "not all are gone")
        check(names() == shm, "restore %d changed /dev/shm: %r, it was %r" % (i, names(), shm))


@scenario
def fork(s):
    go(s, "fork", 3)


@scenario
def spawn(s):
    go(s, "spawn", 20)


if ctypes.CDLL(None, use_errno=True).unshare(0x20000):
    raise Failed("no mount namespace of our own")
subprocess.run("mount --make-rprivate / && mount -t tmpfs shm /dev/shm", shell=True, check=True)
run_all()
