#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs in the middle of their work over TCP: redis with pipelined commands of a client in its tree and of one outside,
# nginx in the middle of a large download by curl, an ssh session (with its separated privileges), streams of asyncio on
# both sides. All go on, with every byte right. What is not installed is passed over, and listed so.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip
# zdtm: timeout 900
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

from driver import check, need, rounds_wanted, run_all, scenario, state_of, text, wait_for
from tcp_peers import own_network, shell

STRESS = bool(os.environ.get("STRESS"))
ROUNDS = rounds_wanted(10 if STRESS else 3)
PORT = 7400


def popen(s, *args, out="program.out", **kw):
    with open(s.path(out), "a") as f:
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", f)
        return subprocess.Popen(list(map(str, args)), stderr=f, cwd=s.dir, start_new_session=True, **kw)


def start(s, *args):
    """The tree; it listens."""
    s.proc = popen(s, *args)
    s.pid = s.proc.pid
    check(wait_for(listens), "it does not listen: " + text(s.path("program.out"))[-500:])


def listens():
    try:
        socket.create_connection(("127.0.0.1", PORT), 60).close()
        return True
    except OSError:
        return False


def write(s, name, words):
    with open(s.path(name), "w") as f:
        f.write(words.replace("@DIR@", s.dir).replace("@PORT@", str(PORT)))
    return s.path(name)


def round_trip(s):
    s.clean_images()
    s.dump("--tcp-established", timeout=300)
    time.sleep(0.05)
    s.restore("--tcp-established", timeout=300)


# ---- clients that say how far they are, in a file ----

FAR = r"""
import os, sys
port, name = int(sys.argv[1]), sys.argv[2]
far_fd = os.open("far." + name, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o644)
def far(n):
    os.pwrite(far_fd, b"%12d\n" % n, 0)
def stopping():
    return os.path.exists("stop")
def guard(f):
    try:
        f()
    except BaseException as e:
        open("wrong", "a").write("%s: %r\n" % (name, e))
        os._exit(1)
    open("done." + name, "w").close()
"""


def far(s, name):
    words = text(s.path("far." + name)).split() if os.path.exists(s.path("far." + name)) else []
    return int(words[0]) if words else 0


def go_on(s, names, when, more=1000):
    before = {n: far(s, n) for n in names}
    wait_for(lambda: all(far(s, n) >= before[n] + more for n in names) or os.path.exists(s.path("wrong")))
    check(not os.path.exists(s.path("wrong")), "%s: %s" % (when, text(s.path("wrong")) if os.path.exists(s.path("wrong")) else ""))
    for n in names:
        check(far(s, n) >= before[n] + more, "%s: %s stands still at %d" % (when, n, far(s, n)))


def rounds_of(s, names, more=1000):
    go_on(s, names, "at the beginning", more)
    for i in range(ROUNDS):
        round_trip(s)
        go_on(s, names, "round %d" % i, more)
    open(s.path("stop"), "w").close()
    check(wait_for(lambda: all(os.path.exists(s.path("done." + n)) for n in names) or os.path.exists(s.path("wrong"))),
          "the clients do not end")
    check(not os.path.exists(s.path("wrong")), "at the end: %s" % (text(s.path("wrong")) if os.path.exists(s.path("wrong")) else ""))


REDIS_CLIENT = FAR + r"""
import select, socket
def words(*w):
    return b"*%d\r\n" % len(w) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in w)
def value(i):
    return (b"%s:%d:" % (name.encode(), i)) * (1 + i * 37 % 40)
def command(i):
    me, k = name.encode(), b"%d" % (i // 3 % 1000)
    if i % 3 == 0:
        return words(b"INCR", b"count:" + me), b":%d\r\n" % (i // 3 + 1)
    if i % 3 == 1:
        return words(b"SET", b"at:%s:%s" % (me, k), value(i)), b"+OK\r\n"
    return words(b"GET", b"at:%s:%s" % (me, k)), b"$%d\r\n%s\r\n" % (len(value(i - 1)), value(i - 1))
def main():
    s = socket.create_connection(("127.0.0.1", port))
    s.setblocking(False)
    out, want, i = bytearray(), bytearray(), 0
    while True:
        stop = stopping()
        while not stop and len(want) < 400000:
            c, answer = command(i)
            out += c
            want += answer
            i += 1
        if stop and not want and i % 3 == 0:
            break
        if stop and not want:
            c, answer = command(i)
            out += c
            want += answer
            i += 1
        r, w, _ = select.select([s], [s] if out else [], [], 5)
        if w:
            del out[:s.send(out[:65536])]
        if r:
            got = s.recv(65536)
            if not got or not want.startswith(got):
                raise Exception("after %d commands: %r, wanted %r" % (i, got[:200], bytes(want[:200])))
            del want[:len(got)]
            far(i)
    far(i)
guard(main)
"""

REDIS_TREE = r"""
import subprocess, sys
server = subprocess.Popen(["redis-server", "--port", "@PORT@", "--bind", "127.0.0.1", "--save", "", "--dir", "@DIR@", "--appendonly", "no"])
while subprocess.run(["redis-cli", "-p", "@PORT@", "ping"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
    pass
client = subprocess.Popen([sys.executable, "client.py", "@PORT@", "inside"])
client.wait()
server.wait()
"""


@scenario
def redis(s):
    need("redis-server", "redis-cli")
    write(s, "client.py", REDIS_CLIENT)
    start(s, sys.executable, write(s, "tree.py", REDIS_TREE))
    wait_for(lambda: os.path.exists(s.path("far.inside")))
    popen(s, sys.executable, "client.py", PORT, "outside")
    rounds_of(s, ("inside", "outside"), 20000)
    for n in ("inside", "outside"):
        said = shell("redis-cli -p %d get count:%s" % (PORT, n)).strip()
        check(said == str(far(s, n) // 3), "%s: the count is %s after %d commands" % (n, said, far(s, n)))
    s.kill()


# ---- nginx ----

NGINX = """daemon off; worker_processes 2; user root; pid @DIR@/nginx.pid; error_log @DIR@/error.log;
events { worker_connections 64; }
http {
	access_log off; sendfile on; default_type application/octet-stream;
	client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3; uwsgi_temp_path @DIR@/t4;
	scgi_temp_path @DIR@/t5;
	server { listen 127.0.0.1:@PORT@; root @DIR@/www; }
}
"""


class Download:
    """curl, and a reader of its output who waits at `limit` until he may go on."""

    def __init__(self, s, size):
        self.proc = popen(s, "curl", "-sS", "http://127.0.0.1:%d/large" % PORT, out="curl.out", stdout=subprocess.PIPE)
        self.size, self.limit, self.got, self.sum = size, 0, 0, hashlib.sha256()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while True:
            while self.got >= self.limit:
                time.sleep(0.001)
            data = os.read(self.proc.stdout.fileno(), 1 << 16)
            if not data:
                return
            self.sum.update(data)
            self.got += len(data)

    def until(self, part):
        """Starts what leads up to a part of it, and returns well before that: it flows."""
        before = self.got
        self.limit = int(self.size * part)
        check(wait_for(lambda: self.got > before + (self.limit - before) / 3, 120), "the download stands still at %d" % self.got)


def large(path, size):
    """Mostly holes; its sum."""
    total, step = hashlib.sha256(), size // 64
    with open(path, "wb") as f:
        f.truncate(size)
        for i in range(0, size, step):
            f.seek(i)
            f.write(b"%d " % i * 20000)
        f.truncate(size)
    with open(path, "rb") as f:
        while data := f.read(1 << 20):
            total.update(data)
    return total.hexdigest()


@scenario
def nginx(s):
    need("nginx", "curl")
    os.mkdir(s.path("www"))
    size = 3 << 30 if STRESS else 200 << 20
    want = large(s.path("www/large"), size)
    start(s, "nginx", "-p", s.dir, "-e", s.path("error.log"), "-c", write(s, "nginx.conf", NGINX))
    d = Download(s, size)
    for part in (0.4, 0.8):
        d.until(part)
        round_trip(s)
        check(d.proc.poll() is None, "curl has ended: %s" % text(s.path("curl.out")))
    d.limit = 2 * size
    d.thread.join(300)
    check(d.proc.wait(60) == 0, "curl has failed: %s" % text(s.path("curl.out")))
    check(d.got == size and d.sum.hexdigest() == want, "%d of %d bytes, or others" % (d.got, size))
    check(len(shell("curl -sS -r 0-99 http://127.0.0.1:%d/large" % PORT)) == 100, "no new download")
    s.kill()


# ---- ssh ----

SSHD = """Port @PORT@
ListenAddress 127.0.0.1
HostKey @DIR@/host
AuthorizedKeysFile @DIR@/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
"""
LOOP = "echo ready; while read x; do echo got $x; done; echo end"


class Ssh:
    def __init__(self, s, user):
        self.proc = popen(s, "ssh", "-F", "none", "-T", "-p", PORT, "-i", s.path("key"), "-o", "StrictHostKeyChecking=no", "-o",
                          "UserKnownHostsFile=" + s.path("known"), "-o", "LogLevel=ERROR", user + "@127.0.0.1", LOOP,
                          out="ssh.out", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.words("ready")

    def words(self, want):
        line = self.proc.stdout.readline().decode().strip()
        check(line == want, "ssh says %r, not %r" % (line, want))

    def send(self, words):
        self.proc.stdin.write(words.encode() + b"\n")
        self.proc.stdin.flush()

    def end(self):
        self.proc.stdin.close()
        self.words("end")
        check(self.proc.wait(60) == 0, "ssh ends with %d" % self.proc.returncode)


def somebody(s):
    """A user who may log in, here only; ssh's separated child runs as sshd."""
    with open(s.path("passwd"), "w") as f:
        f.write("\n".join(x for x in text("/etc/passwd").splitlines() if not x.startswith("somebody:")))
        f.write("\nsomebody:*:64321:64321::/tmp:/bin/sh\n")
    os.chmod(s.path("passwd"), 0o644)
    shell("mount --bind %s /etc/passwd" % s.path("passwd"))


@scenario
def ssh(s):
    need("sshd", "ssh", "ssh-keygen")
    somebody(s)
    try:
        for name in ("host", "key"):
            shell("ssh-keygen -q -t ed25519 -N '' -f %s" % s.path(name))
        shutil.copy(s.path("key.pub"), s.path("authorized"))
        os.chmod(s.path("authorized"), 0o644)
        shell("mount -t tmpfs -o mode=755 none /run && mkdir -m 755 /run/sshd")
        start(s, shutil.which("sshd"), "-D", "-e", "-f", write(s, "sshd.conf", SSHD))
        sessions = [Ssh(s, "somebody"), Ssh(s, "root")]
        for i in range(ROUNDS):
            for k in sessions:
                k.send("before %d" % i)
                k.words("got before %d" % i)
            round_trip(s)
            for k in sessions:
                k.send("after %d" % i)
                k.words("got after %d" % i)
        sessions.append(Ssh(s, "somebody"))
        for k in sessions:
            k.end()
        check(state_of(s.pid) != "gone", "sshd has ended")
        s.kill()
    finally:
        shell("umount /etc/passwd; umount -l /run")


# ---- asyncio ----

ASYNC_SERVER = FAR + r"""
import asyncio
async def serve(r, w):
    while data := await r.read(30000):
        w.write(data.translate(bytes((i + 1) % 256 for i in range(256))))
        await w.drain()
    w.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    if not os.fork():
        os.execv(sys.executable, [sys.executable, "client.py", str(port), "inside"])
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""

ASYNC_CLIENT = FAR + r"""
import asyncio
total = 0
CYCLE = bytes(i % 256 for i in range(70000))
async def talk(seed):
    global total
    r, w = await asyncio.open_connection("127.0.0.1", port)
    at = seed
    async def give():
        nonlocal at
        while not stopping():
            n = 1 + at * 7 % 20000
            w.write(CYCLE[at % 256:at % 256 + n])
            at += n
            await w.drain()
        w.write_eof()
    async def take():
        global total
        n = seed
        while data := await r.read(50000):
            if data != CYCLE[(n + 1) % 256:(n + 1) % 256 + len(data)]:
                raise Exception("other bytes after %d" % n)
            n += len(data)
            total += len(data)
            far(total)
        if n != at:
            raise Exception("%d bytes of %d" % (n, at))
    await asyncio.gather(give(), take())
    w.close()
async def all():
    await asyncio.gather(*[talk(i) for i in range(10)])
guard(lambda: asyncio.run(all()))
"""


@scenario
def asyncio(s):
    write(s, "client.py", ASYNC_CLIENT)
    start(s, sys.executable, write(s, "server.py", ASYNC_SERVER), PORT, "server")
    popen(s, sys.executable, "client.py", PORT, "outside")
    rounds_of(s, ("inside", "outside"), 200000)
    s.kill()


def own_mounts():
    """Mounts made here are nobody else's."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, 0x44000, None) == 0, "unshare")  # MS_REC | MS_PRIVATE


own_network()
own_mounts()
run_all()
