#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An event loop of libuv's in Python (uvloop): servers on TCP and on a unix socket with clients that talk to them all the
# time, timers, a thread pool, a signal and children.
# zdtm: real
# zdtm: set programs
# zdtm: dump --tcp-established
# zdtm: restore --tcp-established
# zdtm: allow fd */eventfd-count  any  a thread was about to be woken
# zdtm: iters 3
# zdtm: restores 2
import asyncio
import os
import signal
import sys

top = os.getcwd()
fails, counts = [], {}


def ending():
    return os.path.exists(top + "/verify")


async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(b"%d\n" % (int(line) * 2))
        await writer.drain()
    writer.close()


async def talk(name, reader, writer):
    i = counts[name] = 0
    while not ending() or counts[name] < 3:
        i = counts[name] = i + 1
        writer.write(b"%d\n" % i)
        if await reader.readline() != b"%d\n" % (2 * i):
            fails.append("%s: a wrong answer to %d" % (name, i))
            break
        await asyncio.sleep(0.003)
    writer.close()


async def in_threads():
    loop = asyncio.get_running_loop()
    counts["threads"] = 0
    while not ending():
        if await loop.run_in_executor(None, sum, range(1000)) != 499500:
            fails.append("threads: a wrong sum")
        counts["threads"] += 1
        await asyncio.sleep(0.005)


async def in_child():
    code = "import sys\nfor line in sys.stdin: print(int(line) + 1, flush=True)"
    kid = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE,
                                               stdout=asyncio.subprocess.PIPE)
    i = counts["child"] = 0
    while not ending():
        kid.stdin.write(b"%d\n" % i)
        if await kid.stdout.readline() != b"%d\n" % (i + 1):
            fails.append("child: a wrong answer to %d" % i)
            break
        i = counts["child"] = i + 1
        await asyncio.sleep(0.004)
    kid.stdin.close()
    if await asyncio.wait_for(kid.wait(), 60):
        fails.append("child: ended with %s" % kid.returncode)


async def signals():
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, came.set)
    counts["signals"] = 0
    while not ending():
        came.clear()
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(came.wait(), 60)
        counts["signals"] += 1
        await asyncio.sleep(0.01)


async def main():
    tcp = await asyncio.start_server(answer, "127.0.0.1", 0)
    await asyncio.start_unix_server(answer, "socket")
    tasks = [in_threads(), in_child(), signals()]
    for n in range(4):
        tasks.append(talk("tcp %d" % n, *await asyncio.open_connection(*tcp.sockets[0].getsockname())))
        tasks.append(talk("unix %d" % n, *await asyncio.open_unix_connection("socket")))
    tasks = [asyncio.create_task(t) for t in tasks]
    while len(counts) < len(tasks) or min(counts.values()) < 3:
        await asyncio.sleep(0.01)
    open(top + "/ready", "w").close()
    for t in tasks:
        try:
            await t
        except Exception as e:
            fails.append("%s: %s" % (type(e).__name__, e))


try:
    import uvloop
except ImportError as e:
    with open(top + "/result", "w") as f:
        f.write("SKIP %s\n" % e)
    sys.exit(77)
uvloop.install()
asyncio.run(main())
with open(top + "/result", "a") as f:
    f.writelines("FAIL %s\n" % w for w in fails[:5])
    f.write("PASS\n")
