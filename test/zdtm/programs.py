#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs that people run: redis with 100,000 keys, nginx with two workers, memcached, node as an HTTP server.
# Each is given work over TCP; while no connection is open it is dumped and restored, three times; after each restore it
# still has what it was given, and does new work. In a network namespace of the test's own. What is not installed is
# passed over, and listed so.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip
# zdtm: timeout 300
import hashlib
import os

from driver import check, scenario, text, tree, wait_for
from server_program import ROUNDS, Http, Program, Server, connect, run_in_own_network

KEYS = 100000


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
        check(got == b"VALUE counter 0 %d\r\n%d\r\nEND\r\n" % (len(str(i)), i), "the counter: %r" % got)


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


run_in_own_network()
