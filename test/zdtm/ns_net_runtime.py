#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The network namespace of a container, as its runtime has it restored: saved without what is in it (--empty-ns net), and an
# action script does what runc's hooks and network plugins do: makes the veth, moves it in, gives it its address and route. TCP
# of the tree to itself, from the host and to another tree, three rounds, each byte counted; the stages of both commands,
# what is locked at each, and their vetoes.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter nft
# zdtm: timeout 300
import os
import socket
import subprocess
import sys
import threading

from net_host import ECHO, check, ip, start, text, wait_for

from driver import reap, run_all, scenario

# What comes back is told from what was lost: each line has its number.
TALK = """
import os, socket, sys, time
name, port = sys.argv[1], int(sys.argv[2])
c = socket.create_connection((name, port))
n = 0
while True:
    line = b"%9d\\n" % n
    c.sendall(line)
    got = c.recv(10, socket.MSG_WAITALL)
    assert got == line, (got, line)
    n += 1
    open("%s.new" % sys.argv[3], "w").write(str(n)); os.rename("%s.new" % sys.argv[3], sys.argv[3])
    time.sleep(0.002)
"""
SERVE = """
import socket, threading
def one(c):
    while True:
        data = c.recv(1000)
        if not data:
            return
        c.sendall(data)
s = socket.create_server(("", 8080))
open("ready", "w").close()
while True:
    threading.Thread(target=one, args=(s.accept()[0],)).start()
"""
PLUG = """n=0
until ip link add %(host)s type veth peer name eth0 netns $pid 2>/dev/null; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done
ip link set %(host)s master br9 up
nsenter -t $pid -n sh -ec 'ip link set lo up; ip addr add %(address)s/24 dev eth0; ip link set eth0 up; ip route add default via 10.77.0.1'
"""
EMPTY = ("--empty-ns", "net", "--tcp-established")


def bridge():
    if "br9" not in ip("link"):
        ip("link add br9 type bridge")
        ip("addr add 10.77.0.1/24 dev br9")
        ip("link set br9 up")


def plug_script(s, host, address, stage):
    """What a runtime does: with $pid when the tree is born, and with CRTOOLS_INIT_PID when it comes back."""
    return s.script("plug-" + host, 'echo "$CRTOOLS_SCRIPT_ACTION ${CRTOOLS_INIT_PID:-none}" >>%s\n' % s.path("stages") +
                    '[ -n "$pid" ] || [ "$CRTOOLS_SCRIPT_ACTION" = %s ] || exit 0\n' % stage +
                    ': ${pid:=$CRTOOLS_INIT_PID}\n' + PLUG % {"host": host, "address": address})


def container(s, plug, command):
    """A tree whose namespace the runtime sets up before its programs start."""
    start(s, "unshare", "-n", "sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; rm go; " + command)
    check(wait_for(lambda: os.readlink("/proc/%d/ns/net" % s.pid) != os.readlink("/proc/self/ns/net")), "no namespace")
    p = subprocess.run([plug], env=dict(os.environ, pid=str(s.pid)), capture_output=True, text=True)
    check(not p.returncode, p.stderr)
    open(s.path("go"), "w").close()


def number(path):
    seen = text(path)
    return int(seen) if seen.isdigit() else 0


def goes_on(s, names, when):
    was = {n: number(s.path(n)) for n in names}
    for n in names:
        check(wait_for(lambda: number(s.path(n)) > was[n] + 20), "%s: %s stands at %d: %s" % (when, n, was[n], text(s.path("victim.out"))))


class HostClient(threading.Thread):
    """Talks from here, without a pause, through dump and restore: its bytes wait while there is no tree."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.sock = socket.create_connection((address, 8080), 20)
        self.sock.settimeout(60)
        self.count, self.error, self.stop = 0, None, False

    def run(self):
        try:
            while not self.stop:
                line = b"%9d\n" % self.count
                self.sock.sendall(line)
                got = b""
                while len(got) < 10:
                    more = self.sock.recv(10 - len(got))
                    assert more, "the end of the stream"
                    got += more
                assert got == line, (got, line)
                self.count += 1
        except Exception as e:
            self.error = repr(e)

    def goes_on(self, when):
        was = self.count
        check(wait_for(lambda: self.error or self.count > was + 100), "%s: the host's client stands at %d" % (when, was))
        check(not self.error, "%s: the host's client: %s" % (when, self.error))


def clear(s, *names):
    for n in names:
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))


def in_stage(s, names):
    """A second script: what is locked at which stage."""
    return s.script("look", 'for p in $CRTOOLS_INIT_PID; do echo "$CRTOOLS_SCRIPT_ACTION" $(nsenter -t $p -n nft list tables | grep -c CRIU) >>%s; done\n'
                    % s.path(names))


@scenario
def as_runc_does(s):
    bridge()
    py = sys.executable
    for name, body in (("serve.py", SERVE), ("talk.py", TALK)):
        with open(s.path(name), "w") as f:
            f.write(body)
    # The other tree, which nobody dumps: its server is the tree's to talk to.
    plug = plug_script(s, "ho1", "10.77.0.3", "never")
    container(s, plug, "exec %s -c '%s' 10.77.0.3" % (py, ECHO))
    other = s.proc
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))
    clear(s, "ready")
    plug = plug_script(s, "hv0", "10.77.0.2", "setup-namespaces")
    container(s, plug, "%s serve.py & while [ ! -e ready ]; do sleep 0.01; done; %s talk.py 127.0.0.1 8080 own & "
              "exec %s talk.py 10.77.0.3 8080 other" % (py, py, py))
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))
    host = HostClient("10.77.0.2")
    host.start()
    counts = ("own", "other")
    goes_on(s, counts, "before")
    for n in range(3):
        when = "round %d" % n
        clear(s, "stages", "locks")
        s.dump(*EMPTY, "--action-script", plug)
        told = [x.split()[0] for x in text(s.path("stages")).splitlines()]
        check(told == ["pre-dump", "network-lock", "post-dump"], "%s: stages of the dump: %s" % (when, told))
        clear(s, "stages")
        was = host.count
        s.restore(*EMPTY, "--action-script", plug, "--action-script", in_stage(s, "locks"))
        told = [x.split()[0] for x in text(s.path("stages")).splitlines()]
        check(told == ["pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore", "network-unlock", "pre-resume",
                       "post-resume"], "%s: stages of the restore: %s" % (when, told))
        check("none" not in text(s.path("stages")).splitlines()[1], text(s.path("stages")))
        locked = dict(x.split() for x in text(s.path("locks")).splitlines())
        check(locked["setup-namespaces"] == locked["post-setup-namespaces"] == locked["network-unlock"] == "1" and
              locked["post-resume"] == "0", "%s: locks: %s" % (when, locked))
        host.goes_on(when)
        check(host.count > was, when)
        goes_on(s, counts, when)
        s.clean_images()
    host.stop = True
    host.join()
    other.kill()
    other.wait()
    s.kill()


@scenario
def vetoes(s):
    """A script that fails at network-lock: the tree runs on, and network-unlock is told; it is told after --leave-running."""
    bridge()
    with open(s.path("serve.py"), "w") as f:
        f.write(SERVE)
    plug = plug_script(s, "hv2", "10.77.0.4", "setup-namespaces")
    container(s, plug, "exec %s serve.py" % sys.executable)
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))
    host = HostClient("10.77.0.4")
    host.start()
    host.goes_on("before")
    fails = s.script("fails", '[ "$CRTOOLS_SCRIPT_ACTION" != network-lock ]\n')
    clear(s, "stages")
    s.dump(*EMPTY, "--action-script", plug, "--action-script", fails, ok=False)
    told = [x.split()[0] for x in text(s.path("stages")).splitlines()]
    check(s.rc and told == ["pre-dump", "network-lock", "network-unlock"], "%d, %s" % (s.rc, told))
    host.goes_on("after a veto")
    clear(s, "stages")
    s.dump(*EMPTY, "-R", "--action-script", plug)
    told = [x.split()[0] for x in text(s.path("stages")).splitlines()]
    check(told == ["pre-dump", "network-lock", "post-dump", "network-unlock"], told)
    host.goes_on("after --leave-running")
    s.clean_images()
    s.dump(*EMPTY)
    fails = s.script("fails", '[ "$CRTOOLS_SCRIPT_ACTION" != post-setup-namespaces ]\n')
    s.restore(*EMPTY, "--action-script", plug, "--action-script", fails, ok=False)
    check(s.rc and wait_for(lambda: "hv2" not in ip("link")), "%d: %s" % (s.rc, ip("link")))
    fails = s.script("fails", '[ "$CRTOOLS_SCRIPT_ACTION" != network-unlock ]\n')
    s.restore(*EMPTY, "--action-script", plug, "--action-script", fails)
    host.goes_on("after all")
    host.stop = True
    host.join()
    s.kill()


@scenario
def without_a_network(s):
    """A tree in criu's own network namespace: the stages of the network are not told."""
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["sleep", "1000"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: text("/proc/%d/comm" % s.pid) == "sleep\n"), "no victim")
    hook = s.script("hook", 'echo "$CRTOOLS_SCRIPT_ACTION" >>%s\n' % s.path("stages"))
    s.dump("-R", "--action-script", hook)
    s.clean_images()
    s.dump("--action-script", hook)
    s.restore("--action-script", hook)
    check("network" not in text(s.path("stages")), text(s.path("stages")))
    reap()
    s.kill()


run_all()
