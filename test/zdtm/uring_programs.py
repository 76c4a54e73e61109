#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# fio with io_uring in all its ways, dumped and restored three times; it verifies what it reads.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: set programs
# zdtm: needs fio
# zdtm: timeout 300
import subprocess

from driver import check, rounds_wanted, run_all, scenario, text, wait_for


RUNTIME = 3 * rounds_wanted(3) - 5  # seconds: longer than the rounds take, also where processors are busy


def alive(s):
    try:
        with open("/proc/%d/stat" % s.pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def read_bytes(s):
    try:
        with open("/proc/%d/io" % s.pid) as f:
            return int(f.read().split("read_bytes: ")[1].split()[0])
    except (OSError, IndexError):
        return 1 << 60


POLLING = ("--direct=1", "--sqthread_poll=1", "--runtime=%d" % (RUNTIME + 6))


def fio(s, *args, least=100000):
    s.proc = subprocess.Popen(["fio", "--thread", "--name=a", "--ioengine=io_uring", "--rw=randrw", "--bs=4k", "--size=8m",
                               "--filename=data", "--verify=crc32c", "--verify_backlog=64", "--time_based", "--runtime=%d" % RUNTIME,
                               "--thinktime=500", "--output=result", *args], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=open(s.path("out"), "w"), stderr=subprocess.STDOUT, start_new_session=True)
    s.pid = s.proc.pid
    for i in range(rounds_wanted(3)):
        check(wait_for(lambda: read_bytes(s) > least), "no I/O: %s" % text(s.path("out")))
        check(alive(s), "it has ended before round %d: %s" % (i, text(s.path("result"))))
        s.dump()
        s.restore()
    check(wait_for(lambda: not alive(s)), "it does not come to its end")
    check("err= 0" in text(s.path("result")), "fio: %s" % text(s.path("result")) + text(s.path("out")))


@scenario
def direct(s):
    fio(s, "--direct=1", "--iodepth=16")


@scenario
def by_worker_threads(s):
    fio(s, "--direct=1", "--iodepth=8", "--force_async=1")


@scenario
def polling_thread(s):
    fio(s, "--iodepth=8", *POLLING, least=4096)  # the thread that polls wants a processor of its own


@scenario
def registered(s):
    fio(s, "--direct=1", "--iodepth=32", "--registerfiles=1", "--fixedbufs=1")


@scenario
def registered_polling_thread(s):
    fio(s, "--iodepth=16", "--registerfiles=1", "--fixedbufs=1", "--sqthread_poll_cpu=0", *POLLING, least=4096)


@scenario
def buffered(s):
    fio(s, "--direct=0", "--iodepth=32")


run_all()
