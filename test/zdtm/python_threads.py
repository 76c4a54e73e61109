#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An interpreter with threads: hashes in each, a queue between them, a child that talks by pipes.
# zdtm: real
# zdtm: frozen
# zdtm: iters 3
# zdtm: restores 3
import hashlib
import os
import queue
import subprocess
import sys
import threading
import time

top = os.getcwd()
stop = threading.Event()
results, q = {}, queue.Queue(100)
fails = []


def digest(n):
    h = b"%d" % n
    for _ in range(200):
        h = hashlib.sha256(h).digest()
    return h


def worker(i):
    n = 0
    while not stop.is_set():
        q.put((i, n, digest(i * 1000000 + n)))
        n += 1
    q.put((i, None, n))


def collector():
    seen, ended = {}, 0
    while ended < 4:
        i, n, h = q.get()
        if n is None:
            ended += 1
            if seen.get(i, 0) != h:
                fails.append("worker %d sent %d, %d came" % (i, h, seen.get(i, 0)))
        else:
            if n != seen.get(i, 0) or (n % 50 == 0 and h != digest(i * 1000000 + n)):
                fails.append("worker %d, number %d" % (i, n))
            seen[i] = n + 1
    results.update(seen)


threads = [threading.Thread(target=worker, args=(i,)) for i in range(4)] + [threading.Thread(target=collector)]
bc = subprocess.Popen([sys.executable, "-u", "-c", "import sys\nfor l in sys.stdin: print(int(l) * 2)"],
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for t in threads:
    t.start()
open(top + "/ready", "w").close()
n = 0
while not os.path.exists(top + "/verify"):
    n += 1
    bc.stdin.write("%d\n" % n)
    bc.stdin.flush()
    if bc.stdout.readline() != "%d\n" % (n * 2):
        fails.append("the child's answer %d" % n)
        break
    time.sleep(0.001)
stop.set()
for t in threads:
    t.join()
bc.stdin.close()
if bc.wait() or len(results) != 4 or min(results.values()) < 2:
    fails.append("the child ended with %s; %r" % (bc.returncode, results))
with open(top + "/result", "a") as f:
    f.writelines("FAIL %s\n" % w for w in fails[:5])
    f.write("PASS\n")
