#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs that people run, in a network namespace: nginx with two workers and redis, each with a client inside whose
# connection goes on; a web server of python behind a veth, with a client outside that keeps its connection.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter
# zdtm: timeout 300
import http.client
import os
import sys

from net_host import check, ip, start, subprocess, text, wait_for

from driver import need, run_all, scenario

NGINX = """daemon off; worker_processes 2; user root; pid @DIR@/nginx.pid; error_log @DIR@/error.log;
events { worker_connections 64; }
http {
	access_log off; keepalive_requests 1000000;
	client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3; uwsgi_temp_path @DIR@/t4;
	scgi_temp_path @DIR@/t5;
	server { listen 127.0.0.1:80; listen unix:@DIR@/web.sock; root @DIR@; }
}
"""
WEB_CLIENT = """
import http.client, os, time
c = http.client.HTTPConnection("127.0.0.1", 80)
n = 0
while True:
    c.request("GET", "/page")
    r = c.getresponse()
    assert r.status == 200 and r.read() == b"the page" and not r.will_close
    n += 1
    open("count.new", "w").write(str(n)); os.rename("count.new", "count")
    time.sleep(0.005)
"""
REDIS_CLIENT = """
import os, socket, time
while True:
    try:
        c = socket.create_connection(("127.0.0.1", 6379)); break
    except OSError:
        time.sleep(0.02)
f = c.makefile("rwb")
n = 0
while True:
    f.write(b"INCR x\\r\\n"); f.flush()
    n += 1
    got = f.readline()
    assert got == b":%d\\r\\n" % n, got
    open("count.new", "w").write(str(n)); os.rename("count.new", "count")
    time.sleep(0.005)
"""
WEB_SERVER = """
import http.server, socketserver
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    pass
Server(("", 8000), Handler).serve_forever()
"""


def goes_on(s, when):
    was = text(s.path("count"))
    check(wait_for(lambda: text(s.path("count")) not in ("", was)), "%s: the client stands still: %s" % (when, text(s.path("victim.out"))))


def three_rounds(s):
    goes_on(s, "before")
    for n in range(3):
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        goes_on(s, "round %d" % n)
        s.clean_images()
    check("Traceback" not in text(s.path("victim.out")), text(s.path("victim.out")))
    s.kill()


def script(s, name, body):
    with open(s.path(name), "w") as f:
        f.write(body.replace("@DIR@", s.dir))
    return s.path(name)


@scenario
def nginx(s):
    need("nginx")
    script(s, "page", "the page")
    conf, client = script(s, "nginx.conf", NGINX), script(s, "client.py", WEB_CLIENT)
    start(s, "unshare", "-n", "sh", "-c", "ip link set lo up; nginx -c %s -e %s & while [ ! -S web.sock ]; do sleep 0.02; done; exec %s %s" %
          (conf, s.path("error.log"), sys.executable, client))
    three_rounds(s)


@scenario
def redis(s):
    need("redis-server")
    client = script(s, "client.py", REDIS_CLIENT)
    start(s, "unshare", "-n", "sh", "-c", "ip link set lo up; redis-server --save '' --appendonly no --dir %s & exec %s %s" %
          (s.dir, sys.executable, client))
    three_rounds(s)


@scenario
def python_web_server(s):
    script(s, "page", "the page")
    ip("link add br9 type bridge")
    ip("addr add 10.77.0.1/24 dev br9")
    ip("link set br9 up")
    start(s, "unshare", "-n", sys.executable, script(s, "server.py", WEB_SERVER))
    check(wait_for(lambda: os.readlink("/proc/%d/ns/net" % s.pid) != os.readlink("/proc/self/ns/net")), "no namespace")
    ip("link add hv0 type veth peer name eth0 netns %d" % s.pid)
    ip("link set hv0 master br9 up")
    for words in ("link set lo up", "addr add 10.77.0.2/24 dev eth0", "link set eth0 up"):
        ip(words, pid=s.pid)
    check(wait_for(lambda: ":8000" in subprocess.run(["nsenter", "-t", str(s.pid), "-n", "ss", "-ltn"], capture_output=True,
                                                     text=True).stdout), "it does not listen")
    client = http.client.HTTPConnection("10.77.0.2", 8000, timeout=20)

    def page(when):
        client.request("GET", "/page")
        r = client.getresponse()
        check(r.status == 200 and r.read() == b"the page", when)
    page("before")
    sock = client.sock
    for n in range(3):
        s.dump("--tcp-established")
        s.restore("--tcp-established", "--external", "veth[eth0]:hv0@br9")
        page("round %d" % n)
        check(client.sock is sock, "round %d: another connection" % n)
        s.clean_images()
    client.close()
    s.kill()


run_all()
