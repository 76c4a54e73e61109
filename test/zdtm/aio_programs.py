#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs with asynchronous I/O of the kernel's (io_setup), dumped and restored with requests in flight, three times:
# fio with libaio, which verifies what it reads, and qemu-img bench -n. What is not installed is passed over, and listed so.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: set programs
# zdtm: timeout 300
import os
import subprocess

from driver import check, need, rounds_wanted, run_all, scenario, text, wait_for


RUNTIME = 3 * rounds_wanted(3) - 5  # seconds: longer than the rounds take, also where processors are busy


def start(s, *args):
    s.proc = subprocess.Popen(args, cwd=s.dir, stdin=subprocess.DEVNULL, stdout=open(s.path("out"), "w"),
                              stderr=subprocess.STDOUT, start_new_session=True)
    s.pid = s.proc.pid


def read_bytes(s):
    try:
        with open("/proc/%d/io" % s.pid) as f:
            return int(f.read().split("read_bytes: ")[1].split()[0])
    except (OSError, IndexError):
        return 1 << 60


def alive(s):
    try:
        with open("/proc/%d/stat" % s.pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def rounds(s):
    for i in range(rounds_wanted(3)):
        check(wait_for(lambda: read_bytes(s) > 100000), "no I/O: %s" % text(s.path("out")))
        check(alive(s), "it has ended before round %d: %s" % (i, text(s.path("out"))))
        s.dump("--file-locks")
        s.restore("--file-locks")
    check(wait_for(lambda: not alive(s)), "it does not come to its end")


@scenario
def fio_libaio(s):
    need("fio")
    start(s, "fio", "--thread", "--name=a", "--ioengine=libaio", "--direct=1", "--rw=randrw", "--bs=4k", "--iodepth=16",
          "--size=8m", "--filename=data", "--verify=crc32c", "--verify_backlog=64", "--time_based", "--runtime=%d" % RUNTIME,
          "--thinktime=500", "--output=result")
    rounds(s)
    check("err= 0" in text(s.path("result")), "fio: %s" % text(s.path("result")) + text(s.path("out")))


@scenario
def qemu_img_bench(s):
    need("qemu-img")
    with open(s.path("disk"), "wb") as f:
        f.write(os.urandom(8 << 20))
    start(s, "qemu-img", "bench", "-f", "raw", "-n", "-t", "none", "-c", "100000", "-d", "16", "-s", "4096", "disk")
    rounds(s)
    check("Run completed in" in text(s.path("out")), "qemu-img: %s" % text(s.path("out")))


run_all()
