#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs that people run: redis with 100,000 keys, nginx with two workers, memcached, node and java as HTTP servers.
# Each is given work over TCP; while no connection is open it is dumped and restored, three times; after each restore it
# still has what it was given, and does new work. In a network namespace of the test's own. A program that is not
# installed is passed over (scripts/install-deps installs them with --all).
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip
# zdtm: timeout 300
import ctypes
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys

from driver import Skipped, check, run_all, scenario, text, tree, wait_for

ROUNDS = 3
KEYS = 100000
PORT = 7000


def connect():
    return socket.create_connection(("127.0.0.1", PORT), 60)


def established():
    """Connections that the program has not closed yet."""
    lines = [x.split() for f in ("tcp", "tcp6") for x in text("/proc/net/" + f).splitlines()[1:]]
    return [x for x in lines if x[3] not in ("0A", "06")]  # LISTEN, TIME_WAIT


class Program:
    """Started in its scenario's directory; a subclass says how, and how to talk to it."""
    needs = ()
    files = {}

    def __init__(self, s):
        for n in self.needs:
            if not shutil.which(n):
                raise Skipped("needs " + n)
        self.s = s
        for name, words in self.files.items():
            with open(s.path(name), "w") as f:
                f.write(words.replace("@PORT@", str(PORT)).replace("@DIR@", s.dir))
        self.prepare()
        with open(s.path("program.out"), "w") as out:
            s.proc = subprocess.Popen([a.replace("@PORT@", str(PORT)).replace("@DIR@", s.dir) for a in self.command],
                                      stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=s.dir, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(self.listens), "it does not listen: " + text(s.path("program.out"))[-500:])

    def prepare(self):
        pass

    def listens(self):
        try:
            connect().close()
            return True
        except OSError:
            return False

    def quiet(self):
        check(wait_for(lambda: not established()), "connections stay open: %r" % established())

    def rounds(self):
        s = self.s
        self.work(0)
        for i in range(1, ROUNDS + 1):
            self.quiet()
            tasks = len(tree(s.pid))
            s.clean_images()
            if not os.environ.get("DRY"):
                s.dump(timeout=120)
                s.restore(timeout=120)
            check(len(tree(s.pid)) == tasks, "round %d: %d tasks, not %d" % (i, len(tree(s.pid)), tasks))
            self.look(i)
            self.work(i)
        self.look(ROUNDS + 1)
        s.kill()

    def work(self, i):
        """Something new is given to it."""

    def look(self, i):
        """All that rounds 0 to i - 1 gave is there."""


def until(s, end):
    out = b""
    while not out.endswith(end):
        more = s.recv(1 << 20)
        if not more:
            break
        out += more
    return out


class Redis(Program):
    needs = ("redis-server",)
    command = ["redis-server", "--port", "@PORT@", "--bind", "127.0.0.1", "--save", "", "--dir", "@DIR@", "--appendonly", "no"]

    def ask(self, s, *commands):
        s.sendall(b"".join(b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in c) for c in commands))

    def say(self, *words):
        with connect() as s:
            self.ask(s, [w if isinstance(w, bytes) else str(w).encode() for w in words])
            return s.recv(65536)

    def work(self, i):
        n = KEYS if i == 0 else 1000
        with connect() as s:
            for at in range(0, n, 1000):
                self.ask(s, *[[b"SET", b"key:%d:%d" % (i, k), b"value %d %d" % (i, k)] for k in range(at, at + 1000)])
                got = b""
                while len(got) < 5000:
                    got += s.recv(65536)
                check(got == b"+OK\r\n" * 1000, "SET says %r" % got[:100])
        self.say("LPUSH", "list", i)
        # A child of its own, with a copy of its memory.
        check(b"Background saving" in self.say("BGSAVE"), "BGSAVE")
        check(wait_for(lambda: b"rdb_bgsave_in_progress:0" in self.say("INFO", "persistence")), "the save does not end")
        check(b"rdb_last_bgsave_status:ok" in self.say("INFO", "persistence"), "the save has failed")

    def look(self, i):
        want = KEYS + 1000 * (i - 1) + 1
        check(self.say("DBSIZE") == b":%d\r\n" % want, "DBSIZE is %r, not %d" % (self.say("DBSIZE"), want))
        for k in range(0, KEYS, 997):
            v = b"value 0 %d" % k
            check(self.say("GET", "key:0:%d" % k) == b"$%d\r\n%s\r\n" % (len(v), v), "key %d" % k)
        check(self.say("LLEN", "list") == b":%d\r\n" % i, "the list")


class Http(Program):
    def get(self, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        c.request("POST" if body else "GET", path, body, {"Connection": "close"})
        r = c.getresponse()
        words = r.read()
        c.close()
        return r.status, words


class Nginx(Http):
    needs = ("nginx",)
    files = {"nginx.conf": """daemon off; user root; worker_processes 2; pid @DIR@/nginx.pid; error_log @DIR@/error.log;
events { worker_connections 64; }
http {
	access_log @DIR@/access.log;
	client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3;
	uwsgi_temp_path @DIR@/t4; scgi_temp_path @DIR@/t5;
	server { listen 127.0.0.1:@PORT@; root @DIR@/www; }
}
"""}
    command = ["nginx", "-c", "@DIR@/nginx.conf", "-e", "@DIR@/error.log"]

    def prepare(self):
        os.mkdir(self.s.path("www"))
        self.file = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(20000))
        with open(self.s.path("www/file"), "wb") as f:
            f.write(self.file)

    def work(self, i):
        check(wait_for(lambda: len(tree(self.s.pid)) == 3), "a master and two workers: %r" % tree(self.s.pid))
        with open(self.s.path("www/new%d" % i), "w") as f:
            f.write("new %d" % i)
        for _ in range(10):
            check(self.get("/new%d" % i) == (200, b"new %d" % i), "the new file")
        check(self.get("/nothing")[0] == 404, "what is not there")

    def look(self, i):
        check(self.get("/file") == (200, self.file), "the file differs")
        check(self.get("/new0") == (200, b"new 0"), "the first new file")
        check("GET /file" in text(self.s.path("access.log")), "no line in its log")
        if i > ROUNDS:  # a master that can still start new workers
            old = tree(self.s.pid)[1:]
            os.kill(self.s.pid, 1)
            check(wait_for(lambda: len(tree(self.s.pid)) == 3 and not set(old) & set(tree(self.s.pid))), "SIGHUP")
            check(self.get("/file") == (200, self.file), "the file after SIGHUP")


class Memcached(Program):
    needs = ("memcached",)
    command = ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", "@PORT@", "-t", "4", "-m", "64"]

    def say(self, words, end):
        with connect() as s:
            s.sendall(words)
            return until(s, end)

    def work(self, i):
        words = b""
        for k in range(1000):
            v = (b"%d." % k * 100)[:100]
            words += b"set item:%d:%d 7 0 100 noreply\r\n%s\r\n" % (i, k, v)
        check(self.say(words + b"incr counter 1\r\nversion\r\n", b"\r\n").endswith(b"\r\n"), "set")
        if i == 0:
            check(self.say(b"set counter 0 0 1\r\n1\r\n", b"\r\n") == b"STORED\r\n", "set counter")

    def look(self, i):
        for n in range(i):
            for k in (0, 1, 500, 999):
                v = (b"%d." % k * 100)[:100]
                got = self.say(b"get item:%d:%d\r\n" % (n, k), b"END\r\n")
                check(got == b"VALUE item:%d:%d 7 100\r\n%s\r\nEND\r\n" % (n, k, v), "item %d:%d is %r" % (n, k, got[:80]))
        got = self.say(b"get counter\r\n", b"END\r\n")
        check(got == b"VALUE counter 0 1\r\n%d\r\nEND\r\n" % i, "the counter: %r" % got)


class Server(Http):
    """One that keeps what it is sent, and counts by a timer."""

    def work(self, i):
        for k in range(50):
            check(self.get("/item/%d/%d" % (i, k), b"body %d %d" % (i, k))[0] == 200, "a new item")

    def ticks(self):
        return int(self.get("/ticks")[1])

    def look(self, i):
        for n in range(i):
            for k in (0, 49):
                got = self.get("/item/%d/%d" % (n, k))
                check(got == (200, b"body %d %d" % (n, k)), "item %d/%d is %r" % (n, k, got))
        now = self.ticks()
        check(wait_for(lambda: self.ticks() > now), "its timer has stopped at %d" % now)


class Node(Server):
    needs = ("node",)
    files = {"server.js": """const http = require('http'), fs = require('fs'), items = new Map();
let ticks = 0;
setInterval(() => { ticks++; }, 5);
http.createServer((req, res) => {
	if (req.url == '/ticks') return res.end(String(ticks));
	if (req.method == 'GET') return fs.stat('server.js', () => setTimeout(() => res.end(items.get(req.url) || '?'), 1));
	const parts = [];
	req.on('data', d => parts.push(d));
	req.on('end', () => { items.set(req.url, Buffer.concat(parts)); res.end(); });
}).listen(@PORT@, '127.0.0.1');
"""}
    command = ["node", "server.js"]


class Java(Server):
    needs = ("java", "javac")
    files = {"Server.java": """import com.sun.net.httpserver.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Server {
	public static void main(String[] a) throws Exception {
		Map<String, byte[]> items = new ConcurrentHashMap<>();
		AtomicInteger ticks = new AtomicInteger();
		Executors.newScheduledThreadPool(2).scheduleAtFixedRate(ticks::incrementAndGet, 5, 5, TimeUnit.MILLISECONDS);
		HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", @PORT@), 10);
		s.createContext("/", x -> {
			byte[] out = new byte[0];
			String url = x.getRequestURI().toString();
			if (url.equals("/ticks"))
				out = ticks.toString().getBytes();
			else if (x.getRequestMethod().equals("GET"))
				out = items.getOrDefault(url, out);
			else
				items.put(url, x.getRequestBody().readAllBytes());
			x.sendResponseHeaders(200, out.length == 0 ? -1 : out.length);
			x.getResponseBody().write(out);
			x.close();
		});
		s.setExecutor(Executors.newFixedThreadPool(4));
		s.start();
	}
}
"""}
    command = ["java", "-Xmx200m", "-cp", ".", "Server"]

    def prepare(self):
        r = subprocess.run(["javac", "Server.java"], cwd=self.s.dir, capture_output=True, text=True)
        if r.returncode:
            raise Skipped("javac does not work here: " + r.stderr[-200:])


@scenario
def redis(s):
    Redis(s).rounds()


@scenario
def nginx(s):
    Nginx(s).rounds()


@scenario
def memcached(s):
    Memcached(s).rounds()


@scenario
def node(s):
    Node(s).rounds()


@scenario
def java(s):
    Java(s).rounds()


if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
    with open("result", "w") as out:
        out.write("SKIP no network namespace: %s\n" % os.strerror(ctypes.get_errno()))
    sys.exit(77)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
run_all()
