#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A process that asks for its own dump: with leave_running it hears that it was dumped; a restored one, that it is restored.
# zdtm: driver
# zdtm: timeout 600
import os
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import rpc  # noqa: E402

ENDED = b""


def client(imgs, how, words):
    """What libcriu does in a process that dumps itself: criu is no child of it. Says what it receives, line by line."""
    if how.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(how)
    else:
        sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        middle = os.fork()
        if not middle:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.dup2(theirs.fileno(), 50, inheritable=True)
            os.execv(os.environ["CRIU"], ["criu", "swrk", "50"])
        os.waitpid(middle, 0)
        theirs.close()
    fd = os.open(imgs, os.O_RDONLY | os.O_DIRECTORY)
    opts = {"images_dir_fd": fd, "log_level": 4, "log_file": "dump.log", **{w: True for w in words}}
    sock.send(rpc.encode("criu_req", {"type": "DUMP", "opts": opts}))
    data = sock.recv(4096)
    print("response %r" % rpc.decode("criu_resp", data), flush=True)
    print("then %r" % sock.recv(4096), flush=True)
    signal.pause()


if len(sys.argv) > 1:
    client(sys.argv[1], sys.argv[2], sys.argv[3:])
    sys.exit(0)

from driver import check, reap, run_all, scenario, state_of, text, wait_for  # noqa: E402


def start(s, how="swrk", *words):
    s.said = s.path("said")
    with open(s.said, "a") as out:
        s.proc = subprocess.Popen([sys.executable, os.path.abspath(__file__), s.imgs, how, *words], cwd=s.dir, start_new_session=True,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    s.pid = s.proc.pid


def says(s, *lines):
    check(wait_for(lambda: len(text(s.said).splitlines()) >= len(lines)), "it says %r; %s" % (text(s.said), s.errors("dump.log")))
    check(text(s.said).splitlines() == list(lines), "it says %r instead of %r" % (text(s.said), lines))


DUMPED = "response {'type': 'DUMP', 'success': True, 'dump': {'restored': False}}"
RESTORED = "response {'type': 'DUMP', 'success': True, 'dump': {'restored': True}}"


def comes_back(s):
    """Twice: the answer is in the images."""
    lines = text(s.said).splitlines()
    for _ in range(2):
        os.truncate(s.said, 0)
        s.restore()
        says(s, RESTORED, "then b''")
        s.kill()
    return lines


@scenario
def killed(s):
    start(s)
    s.gone()
    check(not text(s.said), "the one that was dumped says %r" % text(s.said))
    comes_back(s)


@scenario
def leave_running(s):
    start(s, "swrk", "leave_running")
    says(s, DUMPED, "then b''")
    check(wait_for(lambda: state_of(s.pid) == "S"), "it does not go on")
    s.kill()
    comes_back(s)


def begin_service(s):
    p = subprocess.Popen([s.criu, "service", "-W", s.dir, "--address", "sock", "-o", "service.log", "-v4"])
    check(wait_for(lambda: os.path.exists(s.path("sock"))), "no socket")
    return p


@scenario
def by_the_service(s):
    p = begin_service(s)
    start(s, s.path("sock"), "leave_running")
    says(s, DUMPED, "then b''")
    s.kill()
    comes_back(s)
    s.clean_images()
    start(s, s.path("sock"))
    s.gone()
    comes_back(s)
    p.terminate()
    check(p.wait(60) == 0, "the service ends with %d" % p.returncode)


@scenario
def fails(s):
    """What cannot be dumped goes on, and hears why."""
    start(s, "swrk", "leave_running", "leave_stopped")
    check(wait_for(lambda: len(text(s.said).splitlines()) >= 1), "no answer")
    check("'success': False" in text(s.said) and "leave-stopped" in text(s.said), text(s.said))
    s.kill()
    os.truncate(s.said, 0)
    start(s, "swrk", "notify_scripts")
    check(wait_for(lambda: len(text(s.said).splitlines()) >= 1), "no answer")
    check("'success': False" in text(s.said) and "notify" in text(s.said), text(s.said))
    check(wait_for(lambda: state_of(s.pid) == "S") and not s.images(), "%s, %r" % (state_of(s.pid), s.images()))
    s.kill()
    reap()


run_all()
