#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A server for inference as vLLM lays it out, on stand-ins for GPUs: an API process, an engine and workers, each on a GPU, with
# shared memory (named, and files in /dev/shm), semaphores in it, unix sockets, TCP on the loopback, pipes, threads, pidfds
# that watch each other. Requests go through all of them while it is saved with --leave-running and restored, again and again;
# the program itself counts what is lost, doubled or wrong.
# zdtm: driver
# zdtm: needs gcc
# zdtm: timeout 900
import os
import shutil

from cuda_mock import Gpu
from driver import check, rounds_wanted, run_all, scenario, text, wait_for

SERVER = r"""
import json, mmap, multiprocessing as mp, queue, select, socket, struct
from multiprocessing import shared_memory, connection
mp.set_start_method('fork')
WORKERS = 2
mock = os.environ['MOCK']

def on_gpu():
    def driver_thread():
        with open('%s/state.%d' % (mock, os.getpid()), 'w') as f: f.write('running\n')
        with open('%s/new.%d' % (mock, os.getpid()), 'w') as f: f.write('%d\n' % threading.get_native_id())
        os.rename('%s/new.%d' % (mock, os.getpid()), '%s/tid.%d' % (mock, os.getpid()))
        while True: time.sleep(0.01)
    threading.Thread(target=driver_thread, daemon=True).start()

def may_compute():
    # A call into CUDA waits while the process is locked.
    while open('%s/state.%d' % (mock, os.getpid())).read() != 'running\n': time.sleep(0.005)

def worker(rank, ring, sem, wake, done):
    on_gpu()
    weights = mmap.mmap(os.open('/dev/shm/weights.%d' % os.getppid(), os.O_RDWR), 1 << 20)
    parent = os.pidfd_open(os.getppid())
    while not os.path.exists('%s/tid.%d' % (mock, os.getpid())): time.sleep(0.01)
    steps = 0
    while not select.select([parent], [], [], 0)[0]:
        if not wake.acquire(timeout=0.2): continue
        may_compute()
        steps += 1
        n = struct.unpack_from('<Q', ring.buf, 0)[0]
        with sem:
            struct.pack_into('<QQ', ring.buf, 64 + 64 * rank, n * weights[rank] + rank, steps)
        done.send((rank, n))

def engine(path):
    on_gpu()
    ring = shared_memory.SharedMemory(create=True, size=1 << 16)
    with open('/dev/shm/weights.%d' % os.getpid(), 'wb') as f: f.write(bytes(range(3, 256)) + bytes((1 << 20) - 253))
    sem, wakes, ends, procs = mp.Lock(), [], [], []
    for rank in range(WORKERS):
        a, b = mp.Pipe()
        wake = mp.Semaphore(0)
        p = mp.Process(target=worker, args=(rank, ring, sem, wake, b))
        p.start()
        wakes.append(wake); ends.append(a); procs.append(p)
    listener = connection.Listener(path, 'AF_UNIX')
    api = listener.accept()
    steps = 0
    while True:
        n = api.recv()
        if n is None: break
        may_compute()
        struct.pack_into('<Q', ring.buf, 0, n)
        for w in wakes: w.release()
        for e in ends:
            rank, m = e.recv()
            assert m == n, (rank, m, n)
        steps += 1
        with sem:
            got = [struct.unpack_from('<QQ', ring.buf, 64 + 64 * r) for r in range(WORKERS)]
        api.send((n, [g[0] for g in got], [g[1] for g in got], steps, [p.is_alive() for p in procs]))
    for p in procs: p.terminate(); p.join()
    ring.close(); ring.unlink()
    os.unlink('/dev/shm/weights.%d' % os.getpid())

path = os.path.abspath('engine.sock')
child = mp.Process(target=engine, args=(path,))
child.start()
to_engine = None
while not to_engine:
    try: to_engine = connection.Client(path, 'AF_UNIX')
    except (FileNotFoundError, ConnectionRefusedError): time.sleep(0.01)
server = socket.create_server(('127.0.0.1', 0))
requests, wrong, answered, ended, counting = queue.Queue(), [], [0], [], threading.Lock()

def batcher():
    n = 0
    while True:
        conn = requests.get()
        if conn is None: return
        n += 1
        to_engine.send(n)
        m, values, steps, total, alive = to_engine.recv()
        if (m, values, steps, total, alive) != (n, [n * (3 + r) + r for r in range(WORKERS)], [n] * WORKERS, n, [True] * WORKERS):
            wrong.append((n, m, values, steps, total, alive))
        conn.sendall(b'%d\n' % sum(values))

def accepting():
    while True:
        conn = server.accept()[0]
        threading.Thread(target=handler, args=(conn,), daemon=True).start()

def handler(conn):
    f = conn.makefile('rb')
    for line in f: requests.put(conn)

def client(k):
    # Its connection is to the tree itself: it goes on after a restore.
    c = socket.create_connection(server.getsockname())
    f = c.makefile('rb')
    sent = 0
    while not ended:
        c.sendall(b'go\n')
        sent += 1
        line = f.readline()
        if not line: wrong.append('client %d: closed after %d' % (k, sent)); return
        with counting:
            answered[0] += 1
            if answered[0] % 20 == 0:
                with open('count.tmp', 'w') as o: o.write(str(answered[0]))
                os.rename('count.tmp', 'count')

for target in (batcher, accepting): threading.Thread(target=target, daemon=True).start()
clients = [threading.Thread(target=client, args=(k,)) for k in range(4)]
for t in clients: t.start()
while len([x for x in os.listdir(mock) if x.startswith('tid')]) < 1 + WORKERS: time.sleep(0.01)

def check():
    ended.append(1)
    for t in clients: t.join(60)
    if any(t.is_alive() for t in clients): wrong.append('a client waits')
    to_engine.send(None)
    child.join(60)
    if child.exitcode != 0: wrong.append('engine: %s' % child.exitcode)
    return wrong
"""


def counted(s):
    return int(text(s.path("count"))) if os.path.exists(s.path("count")) else 0


def goes_on(s, when):
    """What it has answered grows, from what it had answered."""
    now = counted(s)
    check(wait_for(lambda: counted(s) > now + 40), "%s: stands at %d: %s" % (when, counted(s), text(s.path("err"))))


def serve(s, **kw):
    g = Gpu(s, program=SERVER, processes=4, **kw)
    goes_on(s, "before the first dump")
    return g


@scenario
def snapshots(s):
    """One that runs on is saved again and again."""
    g = serve(s)
    for i in range(rounds_wanted(5)):
        g.dump("-R", "--tcp-established")
        g.as_before("round %d" % i)
        goes_on(s, "round %d" % i)
        g.right()
    s.verify()


@scenario
def moved(s):
    """Saved and restored, again and again, in turn by both ways to ask the driver."""
    g = serve(s, driver=True)
    for i in range(rounds_wanted(5)):
        before = counted(s)
        g.dump("--tcp-established")
        g.restore("--tcp-established")
        g.as_before("round %d" % i)
        goes_on(s, "round %d" % i)
        check(counted(s) >= before, "round %d: answers are lost" % i)
        g.right()
        g.driver(i % 2 == 1)
    s.verify()


@scenario
def from_a_snapshot(s):
    """The program is killed, and goes on from the last snapshot, twice."""
    g = serve(s)
    kept = s.path("shm")  # files belong to who keeps them: what is in /dev/shm is saved beside the images
    os.mkdir(kept)
    g.dump("-R", "--tcp-established", "--action-script", s.script(
        "keep", "[ $CRTOOLS_SCRIPT_ACTION != post-dump ] || cp /dev/shm/* %s" % kept))
    at = counted(s)
    goes_on(s, "after the snapshot")
    for i in range(2):
        s.kill()
        os.unlink(s.path("count"))
        g.checkpointed()
        for n in os.listdir(kept):
            shutil.copyfile(os.path.join(kept, n), os.path.join("/dev/shm", n))
        g.restore("--tcp-established")
        g.as_before("restored")
        check(wait_for(lambda: counted(s) >= at), "stands at %d" % counted(s))
        goes_on(s, "restore %d" % i)
    s.verify()


run_all()
