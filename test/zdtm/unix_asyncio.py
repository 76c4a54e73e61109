#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An asyncio server on a unix socket and clients that talk to it all the time, in one tree; new clients come in afterwards.
# zdtm: real
# zdtm: frozen
# zdtm: iters 3
# zdtm: restores 2
import asyncio
import os
import socket
import sys
import time

top = os.getcwd()
N = 8


def say(words):
    with open(os.path.join(top, "result"), "a") as f:
        f.write(words + "\n")


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(b"echo " + line)
        await writer.drain()
    writer.close()


async def talk(i, path, stop):
    reader, writer = await asyncio.open_unix_connection(path)
    n = 0
    while not stop.is_set():
        line = b"%d %d %s\n" % (i, n, b"x" * (n % 3000))
        writer.write(line)
        got = await reader.readline()
        if got != b"echo " + line:
            say("FAIL client %d, line %d: %r" % (i, n, got[:50]))
            return False
        n += 1
        await asyncio.sleep(0.001)
    writer.close()
    return n > 0


async def server():
    await (await asyncio.start_unix_server(serve, "server.sock")).serve_forever()


async def client():
    stop = asyncio.Event()
    tasks = [asyncio.create_task(talk(i, "server.sock", stop)) for i in range(N)]
    await asyncio.sleep(0.1)
    open(os.path.join(top, "ready"), "w").close()
    while not os.path.exists(os.path.join(top, "verify")):
        await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(talk(N, "server.sock", stop)))
    await asyncio.sleep(0.2)
    stop.set()
    return all(await asyncio.gather(*tasks))


def listens(path):
    """The file exists from bind(2) on, before listen(2)."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == 0


pid = os.fork()
if not pid:
    asyncio.run(server())
while not listens("server.sock"):
    time.sleep(0.01)
ok = False
try:
    ok = asyncio.run(client())
finally:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
say("PASS" if ok else "FAIL a client did not get through")
sys.exit(not ok)
