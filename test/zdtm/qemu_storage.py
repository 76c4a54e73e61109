#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# QEMU's storage daemon with aio=io_uring, aio=native and aio=threads, and a client in the same tree that keeps it busy with
# 32 requests at a time: dumped and restored three times while they work. Then what was written is there, another client is
# served, and the busy one comes to its end without an error.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: set programs
# zdtm: needs qemu-storage-daemon qemu-io qemu-img
# zdtm: timeout 300
import os
import subprocess

from driver import check, passed_over, rounds_wanted, run_all, scenario, text, tree, wait_for


BUSY = """qemu-storage-daemon --blockdev driver=file,filename=disk,node-name=disk,aio=%s,cache.direct=on,locking=off \\
    --nbd-server addr.type=unix,addr.path=socket --export type=nbd,id=e,node-name=disk,writable=on &
while [ ! -S socket ]; do sleep 0.05; done
while [ ! -e enough ]; do
    qemu-img bench -w --pattern=90 -f raw -c 2000 -d 32 -s 4096 -S 8192 nbd+unix:///disk?socket=socket >>bench 2>&1 || { echo failed >>bench; break; }
done
echo done >>bench
wait
"""


def ask(s, *commands):
    args = [a for c in commands for a in ("-c", c)]
    got = subprocess.run(["qemu-io", "-f", "raw", *args, "nbd+unix:///disk?socket=socket"], cwd=s.dir, capture_output=True, text=True,
                         timeout=60)
    check(got.returncode == 0 and "failed" not in got.stdout, "qemu-io: %s%s" % (got.stdout, got.stderr))


def runs(s):
    return text(s.path("bench")).count("Run completed")


def has_ring(pid):
    fds = "/proc/%d/fd/" % pid
    return any(os.readlink(fds + n) == "anon_inode:[io_uring]" for n in os.listdir(fds))


def serve(s, aio):
    with open(s.path("disk"), "wb") as f:
        f.truncate(64 << 20)
    s.proc = subprocess.Popen(["sh", "-c", BUSY % aio], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=open(s.path("out"), "w"),
                              stderr=subprocess.STDOUT, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("bench")) and (runs(s) or "failed" in text(s.path("bench")))) and runs(s), "it does not start: %s" % text(s.path("out")))
    if aio == "io_uring" and not any(has_ring(p) for p in tree(s.pid)):
        passed_over("io_uring", "the daemon has no ring here")
    for i in range(rounds_wanted(3)):
        before = runs(s)
        ask(s, "write -P %d 33M 1M" % (i + 1))
        s.dump()
        s.restore()
        ask(s, "read -P %d 33M 1M" % (i + 1), "read -P 90 0 4096")
        check(wait_for(lambda: runs(s) > before), "the client does not go on after restore %d: %s" % (i, text(s.path("bench"))))
    open(s.path("enough"), "w").close()
    check(wait_for(lambda: "done" in text(s.path("bench"))), "the client does not come to its end")
    check("failed" not in text(s.path("bench")), "the client: %s" % text(s.path("bench")))
    s.kill()


@scenario
def io_uring(s):
    serve(s, "io_uring")


@scenario
def native(s):
    serve(s, "native")


@scenario
def threads(s):
    serve(s, "threads")


run_all()
