#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu swrk: every type of request and its response; what is no request; connections that stay; numbers and exit statuses.
# zdtm: driver
# zdtm: timeout 600
import os
import signal
import socket
import subprocess

import rpc
from driver import check, run_all, scenario, state_of, text, wait_for

BADRQC = 56


def is_answer(got, kind, ok, status, **more):
    r, rc = got
    check(r is not None, "no response, where %s is expected" % kind)
    check(r["type"] == kind and r["success"] == ok and rc == status, "%r, status %d instead of %s, %s, %d" %
          (r, rc, kind, ok, status))
    for k, v in more.items():
        check(r.get(k) == v, "%s: %r instead of %r in %r" % (k, r.get(k), v, r))
    check(ok or r.get("cr_errmsg"), "a failure without a text: %r" % r)


def is_closed(got):
    check(got == (None, 255), "a response, or another status than 255: %r" % (got,))


def opts(s, fd, **more):
    return dict({"images_dir_fd": fd, "log_level": 4}, **more)


@scenario
def version(s):
    for o in ({}, {"opts": {"images_dir_fd": -1}}, {"keep_open": False}):
        is_answer(rpc.ask({"type": "VERSION", **o}), "VERSION", True, 0, version={"major_number": 4, "minor_number": 2})


@scenario
def feature_check(s):
    track = subprocess.run([s.criu, "check", "--feature", "mem_dirty_track"], capture_output=True).returncode == 0
    have = {"mem_track": track, "lazy_pages": True, "pidfd_store": False}
    for asked in ({}, {"mem_track": True}, {"mem_track": True, "lazy_pages": True, "pidfd_store": True}):
        is_answer(rpc.ask({"type": "FEATURE_CHECK", "features": asked}), "FEATURE_CHECK", True, 0, features=have)
    # runc sends the options of the dump with it, none of which is looked at
    is_answer(rpc.ask({"type": "FEATURE_CHECK", "features": {}, "opts": {"images_dir_fd": 999, "pid": 1}}), "FEATURE_CHECK",
              True, 0)
    is_answer(rpc.ask({"type": "FEATURE_CHECK"}), "FEATURE_CHECK", False, 255)


@scenario
def check_request(s):
    before = sorted(os.listdir(s.dir))
    r, rc = rpc.ask({"type": "CHECK"}, cwd=s.dir)
    check(r["type"] == "CHECK" and r["success"] and rc == 0, "%r, %d" % (r, rc))
    check(sorted(os.listdir(s.dir)) == before, "files: %r" % os.listdir(s.dir))
    with rpc.Directory(s.imgs) as fd:
        is_answer(rpc.ask({"type": "CHECK", "opts": opts(s, fd, log_file="check.log")}), "CHECK", True, 0)
    check("available" in text(os.path.join(s.imgs, "check.log")), "nothing in its log")


@scenario
def cpuinfo(s):
    with rpc.Directory(s.imgs) as fd:
        is_answer(rpc.ask({"type": "CPUINFO_CHECK", "opts": opts(s, fd)}), "CPUINFO_CHECK", False, 1)
        is_answer(rpc.ask({"type": "CPUINFO_DUMP", "opts": opts(s, fd)}), "CPUINFO_DUMP", True, 0)
        is_answer(rpc.ask({"type": "CPUINFO_CHECK", "opts": opts(s, fd)}), "CPUINFO_CHECK", True, 0)
    check("cpuinfo.img" in os.listdir(s.imgs), "no cpuinfo.img")
    is_answer(rpc.ask({"type": "CPUINFO_DUMP"}), "CPUINFO_DUMP", False, 1, cr_errno=BADRQC)


@scenario
def no_such_port(s):
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        o = opts(s, fd, pid=s.pid)
        is_answer(rpc.ask({"type": "DUMP", "opts": dict(o, lazy_pages=True, ps={"port": 99999})}), "DUMP", False, 1)
    check(not s.images() and wait_for(lambda: state_of(s.pid) == "S"), "%r, %s" % (s.images(), state_of(s.pid)))
    s.verify()


@scenario
def wait_pid(s):
    is_answer(rpc.ask({"type": "WAIT_PID", "pid": os.getpid()}), "WAIT_PID", False, 255)
    is_answer(rpc.ask({"type": "WAIT_PID"}), "WAIT_PID", False, 255)
    p = rpc.Swrk()
    p.send({"type": "VERSION", "keep_open": True})
    check(p.receive()["success"], "VERSION")
    p.send({"type": "WAIT_PID", "pid": 1})
    check(p.receive()["success"] is False and p.ends() == 255, "WAIT_PID of another's child")


@scenario
def unknown(s):
    for kind in ("EMPTY", "NOTIFY", 14, 77, 1 << 30):
        is_answer(rpc.ask({"type": kind}), "EMPTY", False, 255)
        is_answer(rpc.ask({"type": kind, "opts": {"images_dir_fd": -1}, "notify_success": True}), "EMPTY", False, 255)


@scenario
def undecodable(s):
    dump = rpc.encode("criu_req", {"type": "DUMP", "opts": {"images_dir_fd": 3, "pid": 5, "log_file": "x" * 50}})
    version = rpc.encode("criu_req", {"type": "VERSION"})
    is_closed(rpc.ask(b"\xff" * 40))
    is_closed(rpc.ask(b"\0"))
    is_closed(rpc.ask(rpc.encode("criu_req", {"pid": 5})))  # no type
    for n in range(3, len(dump)):
        is_closed(rpc.ask(dump[:n])) if n % 7 == 0 else None
    is_closed(rpc.ask(version + b"\x12\xff\xff\xff\xff\x0f"))  # a length beyond the packet
    is_closed(rpc.ask(version + b"\x12\x05\x08"))


@scenario
def unknown_fields(s):
    extra = rpc.varint(2000 << 3) + rpc.varint(7) + rpc.varint(2001 << 3 | 2) + b"\x03abc"
    is_answer(rpc.ask(rpc.encode("criu_req", {"type": "VERSION"}) + extra), "VERSION", True, 0)
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        o = rpc.encode("criu_opts", opts(s, fd, pid=s.pid, leave_running=True)) + extra
        is_answer(rpc.ask({"type": "DUMP", "opts": o}), "DUMP", True, 0, dump={"restored": False})
    s.verify()


@scenario
def no_packet(s):
    """The client ends, or closes its socket, without a word; or sends an empty packet."""
    p = rpc.Swrk()
    p.close()
    check(p.proc.wait(60) == 255, "status %r" % p.proc.returncode)
    p = rpc.Swrk()
    p.send(b"")
    check(p.receive() is None and p.ends() == 255, "an empty packet")


@scenario
def large(s):
    """150 kB of request, and one far larger, which the kernel's limit of buffers may refuse."""
    for n in (150000, 1 << 20):
        p = rpc.Swrk()
        p.sock.setsockopt(socket.SOL_SOCKET, 32, 4 * n)  # SO_SNDBUFFORCE
        try:
            p.send({"type": "VERSION", "opts": {"images_dir_fd": -1, "external": ["e" * 1000] * (n // 1000)}})
        except OSError:
            p.close()
            p.proc.wait()
            continue
        r = p.receive()
        check(r and r["success"] and p.ends() == 0, "%d bytes: %r" % (n, r))


@scenario
def long_response(s):
    """A refusal that is long, with bytes that are no UTF-8, has to fit: clients have 1024 bytes."""
    name = b"\xff\xc3\xa9" * 400
    with rpc.Directory(s.imgs) as fd:
        o = rpc.encode("criu_opts", opts(s, fd)) + rpc.varint(38 << 3 | 0) + rpc.varint(0) + rpc.varint(53 << 3 | 2) + \
            rpc.varint(len(name)) + name
        r, rc = rpc.ask({"type": "RESTORE", "opts": o})
    check(rc == 1 and not r["success"], "%r" % r)


@scenario
def keep_open(s):
    p = rpc.Swrk()
    for i in range(3):
        for req in ({"type": "VERSION"}, {"type": "FEATURE_CHECK", "features": {}}):
            p.send(dict(req, keep_open=True))
            check(p.receive()["success"], "request %d" % i)
    with rpc.Directory(s.imgs) as fd:
        p.send({"type": "CPUINFO_DUMP", "keep_open": True, "opts": opts(s, fd)})
        check(p.receive()["success"], "CPUINFO_DUMP in a connection that stays")
    p.close()
    check(p.proc.wait(60) == 255, "the end of a connection that stays: %d" % p.proc.returncode)

    p = rpc.Swrk()  # the last one without keep_open: criu ends by itself
    p.send({"type": "VERSION", "keep_open": True})
    p.receive()
    p.send({"type": "VERSION"})
    check(p.receive()["success"] and p.ends() == 0, "the last of two")

    p = rpc.Swrk()  # two at once, of which only one is answered
    p.send({"type": "VERSION"})
    try:
        p.send({"type": "VERSION"})
    except OSError:
        pass
    check(p.receive()["success"], "the first of two")
    check(p.receive() is None and p.ends() == 0, "the second is answered")


@scenario
def keep_open_of_others(s):
    """With any other type criu closes without a response, and does nothing."""
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        for kind in ("DUMP", "RESTORE", "CHECK", "PRE_DUMP", "SINGLE_PRE_DUMP", "WAIT_PID"):
            is_closed(rpc.ask({"type": kind, "keep_open": True, "opts": opts(s, fd, pid=s.pid)}))
    check(os.listdir(s.imgs) == [] and wait_for(lambda: state_of(s.pid) == "S"), "%r" % os.listdir(s.imgs))
    s.verify()


@scenario
def bad_options(s):
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        good = opts(s, fd, pid=s.pid)
        for why, o in {
                "no directory": dict(good, images_dir_fd=-1),
                "not open": dict(good, images_dir_fd=987),
                "a file": dict(good, images_dir_fd=os.open("/dev/null", os.O_RDONLY)),
                "a work directory that is not open": dict(good, work_dir_fd=987),
                "a log elsewhere": dict(good, log_file="../x"),
                "namespaces that are not made empty": dict(good, empty_ns=0x20000000),
                "a mode that nobody knows": dict(good, manage_cgroups_mode=99),
                "a method that nobody knows": dict(good, network_lock=9),
                "a pid": dict(good, pid=-5)}.items():
            r, rc = rpc.ask({"type": "DUMP", "opts": o})
            check(r["type"] == "DUMP" and not r["success"] and rc == 1 and r["cr_errno"] == BADRQC and
                  r["dump"] == {"restored": False}, "%s: %r, %d" % (why, r, rc))
        for why, o in {"an inherited descriptor": dict(good, inherit_fd=[{"key": "x", "fd": 987}])}.items():
            r, rc = rpc.ask({"type": "RESTORE", "opts": o})
            check(not r["success"] and rc == 1 and r["cr_errno"] == BADRQC and r["restore"] == {"pid": -1},
                  "%s: %r, %d" % (why, r, rc))
        before = sorted(os.listdir(s.dir))
        for kind in ("DUMP", "RESTORE"):
            for o in ({}, {"opts": {"images_dir_fd": -1, "log_file": "stray.log"}}):
                r, rc = rpc.ask({"type": kind, **o}, cwd=s.dir)
                check(not r["success"] and rc == 1, "%s without options: %r" % (kind, r))
        check(sorted(os.listdir(s.dir)) == before, "files where criu was started: %r" % os.listdir(s.dir))
        gone = subprocess.Popen(["true"])
        gone.wait()
        r, rc = rpc.ask({"type": "DUMP", "opts": dict(good, pid=gone.pid)})
        check(not r["success"] and rc == 1 and r["cr_errno"] == 3, "a pid that is gone: %r" % r)
    check(not s.images() and wait_for(lambda: state_of(s.pid) == "S"), "%r, %s" % (s.images(), state_of(s.pid)))
    s.verify()


@scenario
def pid_taken(s):
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        is_answer(rpc.ask({"type": "DUMP", "opts": opts(s, fd, pid=s.pid, leave_running=True)}), "DUMP", True, 0)
        is_answer(rpc.ask({"type": "RESTORE", "opts": opts(s, fd)}), "RESTORE", False, 1, cr_errno=17, restore={"pid": -1})
    s.verify()


@scenario
def usage(s):
    for words in ([], ["x"], ["-1"], ["3", "4"], ["99999999999"]):
        s.tool("swrk", *words)
        check(s.rc == 1 and "swrk" in s.out or words == ["-1"], "criu swrk %r: %d, %s" % (words, s.rc, s.out))
    s.tool("swrk", "77")
    check(s.rc == 1, "criu swrk of a descriptor that is not open: %d, %s" % (s.rc, s.out))
    s.tool("swrk", "0")  # /dev/null
    check(s.rc == 1, "criu swrk of what is no socket: %d" % s.rc)


@scenario
def numbers(s):
    """The socket under any number, standard ones too; and with standard input, output and error closed."""
    def without(*fds):
        return lambda: [os.close(fd) for fd in fds]
    for fd in (3, 10, 200, 1000):
        is_answer(rpc.ask({"type": "VERSION"}, fd=fd), "VERSION", True, 0)
    for closed in ([0], [1], [2], [0, 1, 2]):
        s.victim()
        with rpc.Directory(s.imgs) as fd:
            p = rpc.Swrk(fd=50, preexec_fn=without(*closed))
            p.send({"type": "DUMP", "opts": opts(s, fd, pid=s.pid, log_file="d.log")})
            r = p.receive()
            check(r and r["success"] and p.ends() == 0, "without %r: %r" % (closed, r))
            s.gone()
            p = rpc.Swrk(fd=50, preexec_fn=without(*closed))
            p.send({"type": "RESTORE", "opts": opts(s, fd, log_file="r.log")})
            r = p.receive()
            check(r and r["success"] and p.ends() == 0, "without %r: %r" % (closed, r))
            s.proc = None
        s.verify()
        s.clean_images()


@scenario
def low_limit(s):
    """A client with a low limit of open files, and the socket above it."""
    p = rpc.Swrk(fd=300, wrap=["prlimit", "--nofile=100:4096"])
    p.send({"type": "VERSION"})
    check(p.receive()["success"] and p.ends() == 0, "a socket above the limit")


@scenario
def non_blocking(s):
    """The client's own end and criu's are one object where the client has made that non-blocking before."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    proc = subprocess.Popen([s.criu, "swrk", str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()
    check(wait_for(lambda: state_of(proc.pid) == "S"), "it does not wait")
    p = rpc.Peer(ours)
    p.send({"type": "VERSION"})
    check(p.receive()["success"] and proc.wait(60) == 0, "a non-blocking socket")


@scenario
def without_null(s):
    """As criu starts, its standard descriptors are all there and /dev/null is not: runc sets the devices of criu's cgroup
    meanwhile, and reads /proc/PID/fd/0 then."""
    p = rpc.Swrk(wrap=["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"])
    p.send({"type": "VERSION"})
    check(p.receive()["success"] and p.ends() == 0, "without a /dev/null")


@scenario
def killed(s):
    """SIGTERM while it waits for a request: it ends."""
    p = rpc.Swrk()
    check(wait_for(lambda: state_of(p.proc.pid) == "S"), "it does not wait")
    p.proc.send_signal(signal.SIGTERM)
    check(p.ends() == -signal.SIGTERM, "status %d" % p.proc.returncode)


run_all()
