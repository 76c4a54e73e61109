#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An event loop that learns of its children's ends by pidfds, and works with them in a memfd that all have mapped.
# zdtm: real
# zdtm: frozen
# zdtm: iters 3
# zdtm: restores 2
import asyncio
import fcntl
import mmap
import os
import struct
import sys
import warnings

KIDS = 5
CHILD = """
import mmap, struct, sys
n, m = int(sys.argv[1]), mmap.mmap(int(sys.argv[2]), 4096)
for line in sys.stdin:
    done = struct.unpack_from("q", m, 8 * n)[0] + int(line)
    struct.pack_into("q", m, 8 * n, done)
    print(done, flush=True)
sys.exit(n + 10)
"""
top = os.getcwd()
fails = []


def sealed_memory():
    fd = os.memfd_create("counters", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    fcntl.fcntl(fd, 1033, 2 | 4)  # F_ADD_SEALS: neither shorter nor longer
    return fd, mmap.mmap(fd, 4096)


async def work(n, fd, memory):
    kid = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(n), str(fd), pass_fds=[fd],
                                               stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    total = i = 0
    started.append(n)
    while not os.path.exists(top + "/verify"):
        i += 1
        total += i
        kid.stdin.write(b"%d\n" % i)
        answer = await kid.stdout.readline()
        if answer != b"%d\n" % total or struct.unpack_from("q", memory, 8 * n)[0] != total:
            fails.append("child %d: %d is expected, it said %r" % (n, total, answer))
            break
        await asyncio.sleep(0.002)
    kid.stdin.close()
    code = await asyncio.wait_for(kid.wait(), 60)
    if code != n + 10 or not i:
        fails.append("child %d ended with %s after %d" % (n, code, i))


async def main():
    fd, memory = sealed_memory()
    tasks = [asyncio.create_task(work(n, fd, memory)) for n in range(KIDS)]
    while len(started) < KIDS:
        await asyncio.sleep(0.01)
    open(top + "/ready", "w").close()
    for t in tasks:
        try:
            await t
        except Exception as e:
            fails.append("%s: %s" % (type(e).__name__, e))
    try:
        os.ftruncate(fd, 8192)
        fails.append("the memfd is not sealed any more")
    except PermissionError:
        pass


started = []
warnings.simplefilter("ignore", DeprecationWarning)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
if hasattr(asyncio, "PidfdChildWatcher"):  # the only one from 3.14 on
    watcher = asyncio.PidfdChildWatcher()
    watcher.attach_loop(loop)
    asyncio.set_child_watcher(watcher)
loop.run_until_complete(main())
with open(top + "/result", "a") as f:
    f.writelines("FAIL %s\n" % w for w in fails[:5])
    f.write("PASS\n")
