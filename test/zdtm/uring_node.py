#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# node with UV_USE_IO_URING=1, whose libuv has rings with a polling thread for its files and others for its epoll: writes
# and reads files, several at a time, answers on a unix socket, and counts; dumped and restored three times.
# zdtm: real
# zdtm: driver
# zdtm: needs node
# zdtm: timeout 120
import os
import socket
import subprocess

from driver import check, passed_over, rounds_wanted, run_all, scenario, text, wait_for

SCRIPT = """
const fs = require('fs'), net = require('net');
let n = 0, ticks = 0;
async function work(name) {
    for (;; n++) {
        const words = name + n;
        await fs.promises.writeFile(name, words);
        if (await fs.promises.readFile(name, 'utf8') !== words || (await fs.promises.stat(name)).size !== words.length)
            process.exit(3);
        await new Promise(r => setTimeout(r, 2));
    }
}
for (const name of ['a', 'b', 'c'])
    work(name);
setInterval(() => ticks++, 10);
net.createServer(c => c.end(n + ' ' + ticks)).listen('socket');
"""


def ask(s):
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(20)
        c.connect(s.path("socket"))
        return [int(x) for x in c.recv(100).split()]


def is_ring(path):
    try:
        return os.readlink(path) == "anon_inode:[io_uring]"
    except OSError:
        return False  # closed meanwhile


def rings(pid):
    fds = "/proc/%d/fd/" % pid
    return sum(is_ring(fds + n) for n in os.listdir(fds))


def answers(s):
    try:
        return bool(ask(s))
    except OSError:
        return False


@scenario
def node(s):
    with open(s.path("script.js"), "w") as f:
        f.write(SCRIPT)
    s.proc = subprocess.Popen(["node", "script.js"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=open(s.path("out"), "w"),
                              stderr=subprocess.STDOUT, start_new_session=True, env=dict(os.environ, UV_USE_IO_URING="1"))
    s.pid = s.proc.pid
    check(wait_for(lambda: answers(s)), "it does not start: %s" % text(s.path("out")))
    if not rings(s.pid):
        passed_over("io_uring", "this node has no rings")
    there = rings(s.pid)
    for i in range(rounds_wanted(3)):
        before = ask(s)
        s.dump()
        s.restore()
        check(rings(s.pid) == there, "%d rings instead of %d" % (rings(s.pid), there))
        check(wait_for(lambda: all(now > b + 3 for now, b in zip(ask(s), before))), "it does not go on after restore %d" % i)
    check(not text(s.path("out")), "it says: %s" % text(s.path("out")))
    s.kill()


run_all()
