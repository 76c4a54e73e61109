#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# scripts/criu-migrate: a server moves to another host (network, pids and directory of its own) with the connection of a client that goes
# on asking; whatever fails before it runs there, it runs on here.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 300
import os
import random
import signal
import subprocess
import sys
import time

from driver import check, need, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from three_networks import ThreeNetworks

SERVER = """import socket
l = socket.create_server(("10.77.0.2", 7000))
memory = bytearray(b"m" * (48 << 20))
open("ready", "w").close()
c = l.accept()[0]
while True:
    word = c.recv(64)
    if not word: break
    n = int(word)
    memory[n * 4096 % len(memory)] = 0
    c.sendall(b"%d %d\\n" % (n, sum(memory[::4096]) // 109))
"""
CLIENT = """import socket, sys, time
c = socket.create_connection(("10.77.0.2", 7000), 20)
c.settimeout(60)
n = 0
while True:
    n += 1
    c.sendall(b"%d" % n)
    got = b""
    while not got.endswith(b"\\n"):
        more = c.recv(64)
        if not more: sys.exit("the connection has ended")
        got += more
    if got.split()[0] != b"%d" % n or int(got.split()[1]) != 12288 - n: sys.exit("asked %d, heard %r" % (n, got))
    with open("asked.tmp", "w") as f: f.write(str(n))
    import os; os.rename("asked.tmp", "asked")
    time.sleep(0.01)
"""


@scenario
def server_moves(s):
    need("ip", "nft")
    net = ThreeNetworks(s, [sys.executable, "-c", SERVER], [sys.executable, "-c", CLIENT])
    net.begin()
    said = net.migrate("--pre-dumps", "0")
    check("runs on the target as pid %d" % s.pid in said, said)
    s.gone()
    net.goes_on("there")
    check(net.there.tasks() == [s.pid], "%r" % net.there.tasks())
    net.done()


@scenario
def in_parts(s):
    """Most of its memory goes while it runs: what the last dump stores is a part of that."""
    need("ip", "nft")
    net = ThreeNetworks(s, [sys.executable, "-c", SERVER], [sys.executable, "-c", CLIENT])
    net.begin()
    said = net.migrate()
    if "no pre-dumps" in said:
        check(subprocess.run([s.criu, "check", "--feature", "mem_dirty_track"]).returncode, said)
    else:
        sizes = [float(line.split(" MiB")[0].split()[-1]) for line in said.splitlines() if " MiB" in line]
        check(len(sizes) == 3 and sizes[0] > 48 and all(n < 16 for n in sizes[1:]), said)
        check("its memory comes from the images there" in said, said)
    check("runs on the target as pid %d" % s.pid in said, said)
    s.gone()
    net.goes_on("there")
    net.done()


@scenario
def lazy(s):
    need("ip", "nft")
    net = ThreeNetworks(s, [sys.executable, "-c", SERVER], [sys.executable, "-c", CLIENT])
    net.begin()
    # The address of the service goes first; this one stays.
    net.inside(net.here, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries").wait()
    net.ip(net.here, "addr add 10.77.0.4/24 dev eth0")
    said = net.migrate("--lazy", "--address", "10.77.0.4", "--port", "2700")
    check("runs on the target as pid %d" % s.pid in said, said)
    s.gone()
    net.goes_on("there")
    net.done()


@scenario
def fails(s):
    """Here it goes on, with its client, whatever the step that fails."""
    need("ip", "nft")
    net = ThreeNetworks(s, [sys.executable, "-c", SERVER], [sys.executable, "-c", CLIENT])
    net.begin()
    cases = ((["--target-criu", "/none"], "criu --version"), (["--before-restore", "false"], "--before-restore failed"),
             (["--before-restore", "kill -9 $PPID"], "post-dump"),  # what does the step while the tree stands still
             (["--restore-options=--no-such-option"], "no-such-option"), (["--dump-options=--cow-pages once"], "use copy or auto"),
             (["--target-address", "10.77.0.99", "--pages=--timeout 1"], "connect to the page server"),
             (["--restore-options=--action-script 'test $CRTOOLS_SCRIPT_ACTION != post-restore'"], "post-restore"))
    for opts, words in cases:
        subprocess.run(["sh", "-c", "rm -rf %s/* %s/.c*" % (net.there.imgs, net.there.imgs)])
        said = net.migrate("--pre-dumps", "0", *opts, ok=False)
        check(words in said, "%r: %s" % (opts, said))
        check(wait_for(lambda: state_of(s.pid) in "SR"), "%r: %s" % (opts, state_of(s.pid)))
        net.goes_on(words)
        check(not net.there.tasks(), "%r: %r" % (opts, net.there.tasks()))
    # A directory that is in use there is left alone.
    open(net.there.imgs + "/mine", "w").close()
    check("has to be empty" in net.migrate(ok=False), "a directory in use")
    subprocess.run(["sh", "-c", "rm -rf %s/* %s/.c*" % (net.there.imgs, net.there.imgs)])
    net.goes_on("in the end")
    net.migrate()
    net.goes_on("there")
    net.done()


@scenario
def interrupted(s):
    """At any instant, by the terminal or by the end of criu: the tree is at one end."""
    need("ip", "nft")
    net = ThreeNetworks(s, [sys.executable, "-c", SERVER], [sys.executable, "-c", CLIENT])
    net.begin()
    moved = 0
    for i in range(rounds_wanted(8)):
        subprocess.run(["sh", "-c", "rm -rf %s/* %s/.c*" % (net.there.imgs, net.there.imgs)])
        p = subprocess.Popen(net.command(), cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(random.random() * 1.0)
        if i % 2:
            for pid in tree(p.pid):
                if "dump" in text("/proc/%d/cmdline" % pid).split("\0")[1:2]:
                    os.kill(pid, signal.SIGKILL)
        else:
            os.kill(p.pid, signal.SIGINT)
        said = p.communicate(timeout=120)[0]
        there = s.pid in net.there.tasks()  # tar may be there as well, which is about to end
        check(wait_for(lambda: state_of(s.pid) in ("S", "R", "gone", "Z")), "round %d: it stands still: %s" % (i, said))
        here = state_of(s.pid) in "SR"
        check(here == (not there) and (p.returncode == 0) == there, "round %d: here %s, there %s, %d: %s" % (i, here, there, p.returncode,
                                                                                                              said))
        if there:
            moved += 1
            break
    print("interrupted: %d rounds, %d moved" % (i + 1, moved), flush=True)
    net.done()


run_all()
