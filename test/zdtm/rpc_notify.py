#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu swrk: notifications in their order, what the tree does meanwhile, refusals, and clients that die at each of them.
# zdtm: driver
# zdtm: timeout 900
import ctypes
import os
import signal
import socket

import rpc
from driver import Snapshot, check, children, reap, run_all, scenario, state_of, text, wait_for

DUMP = ["pre-dump", "query-ext-files", "post-dump"]
DUMP_NET = ["pre-dump", "network-lock", "query-ext-files", "post-dump"]
RESTORE = ["pre-restore", "post-restore", "pre-resume", "post-resume"]
RESTORE_NET = ["pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore", "network-unlock", "pre-resume",
               "post-resume"]
NEWNET, NEWUTS, NEWIPC = 0x40000000, 0x04000000, 0x08000000


def unshare(flags):
    def fn():
        if ctypes.CDLL(None, use_errno=True).unshare(flags):
            os._exit(9)
    return fn


def opts(s, fd, **more):
    return dict({"images_dir_fd": fd, "log_level": 4, "notify_scripts": True}, **more)


def dump(s, answers=None, **more):
    """(stages, response, exit status)"""
    p = rpc.Swrk()
    with rpc.Directory(s.imgs) as fd:
        seen, r = rpc.run(p, {"type": "DUMP", "opts": opts(s, fd, pid=s.pid, log_file="dump.log", **more)}, answers)
        return seen, r, p.ends()


def restore(s, answers=None, **more):
    p = rpc.Swrk()
    with rpc.Directory(s.imgs) as fd:
        seen, r = rpc.run(p, {"type": "RESTORE", "opts": opts(s, fd, log_file="restore.log", rst_sibling=True, **more)}, answers)
        return seen, r, p.ends()


def names(seen):
    return [n["script"] for n in seen]


def good_dump(s, want, answers=None, **more):
    seen, r, rc = dump(s, answers, **more)
    check(r and r["success"] and rc == 0 and r["dump"] == {"restored": False}, "%r, %d: %s" % (r, rc, s.errors("dump.log")))
    check(names(seen) == want and all("pid" not in n for n in seen), "stages of a dump: %r" % seen)
    if not more.get("leave_running"):
        s.gone()
        s.proc = None


def good_restore(s, want, answers=None, **more):
    seen, r, rc = restore(s, answers, **more)
    check(r and r["success"] and rc == 0, "%r, %d: %s" % (r, rc, s.errors("restore.log")))
    check(names(seen) == want, "stages of a restore: %r" % seen)
    pids = {n["script"]: n["pid"] for n in seen if "pid" in n}
    told = {k for k in ("setup-namespaces", "post-restore") if k in want}
    check(set(pids) == told and set(pids.values()) == {r["restore"]["pid"]}, "pids: %r, %r" % (seen, r))
    s.proc = None
    s.pid = r["restore"]["pid"]
    check(s.pid in children(os.getpid()), "it is no sibling of criu's: %r" % children(os.getpid()))


def looks(s, what, seen):
    """An answer that notes what the victim does."""
    def look(n):
        seen[n["script"]] = what(n)
        return True
    return {k: look for k in set(DUMP_NET + RESTORE_NET + ["network-unlock"])}


@scenario
def order(s):
    s.victim()
    good_dump(s, DUMP)
    good_restore(s, RESTORE)
    s.verify()


@scenario
def order_net(s):
    s.victim(preexec_fn=unshare(NEWNET))
    good_dump(s, DUMP_NET + ["network-unlock"], leave_running=True)
    good_dump(s, DUMP_NET)
    good_restore(s, RESTORE_NET)
    s.verify()


@scenario
def order_other_namespaces(s):
    """Any namespace of its own is told of; the network is held off only where it is the tree's own."""
    s.victim(preexec_fn=unshare(NEWUTS))
    good_dump(s, DUMP)
    good_restore(s, [x for x in RESTORE_NET if x != "network-unlock"])
    s.verify()


@scenario
def not_asked(s):
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        for kind, more in (("DUMP", {"pid": s.pid}), ("RESTORE", {"rst_sibling": True})):
            p = rpc.Swrk()
            seen, r = rpc.run(p, {"type": kind, "opts": {"images_dir_fd": fd, **more}})
            check(not seen and r["success"] and p.ends() == 0, "%r, %r" % (seen, r))
            if kind == "DUMP":
                s.gone()
    s.proc = None
    s.verify()


@scenario
def states(s):
    """Dump: it runs during pre-dump and stands afterwards. Restore: it stands up to pre-resume, and runs at post-resume."""
    s.victim(preexec_fn=unshare(NEWNET))
    seen = {}
    good_dump(s, DUMP_NET + ["network-unlock"], looks(s, lambda n: state_of(s.pid), seen), leave_running=True)
    check(seen.pop("pre-dump") in "SRD" and set(seen.values()) == {"t"}, "states at a dump: %r" % seen)
    check(wait_for(lambda: state_of(s.pid) == "S"), "it does not run on")
    good_dump(s, DUMP_NET)
    seen = {}
    good_restore(s, RESTORE_NET, looks(s, lambda n: state_of(s.pid), seen))
    check(seen["pre-restore"] == "gone", "at pre-restore: %r" % seen)
    check(seen["post-resume"] in "SRD", "at post-resume: %r" % seen)
    check(seen["pre-resume"] == "t" and seen["post-restore"] == "t", "states at a restore: %r" % seen)
    s.verify()


@scenario
def namespaces_are_there(s):
    """At setup-namespaces the root task is in its network namespace, so that a client can put devices into it."""
    s.victim(preexec_fn=unshare(NEWNET))
    good_dump(s, DUMP_NET)
    found = {}

    def look(n):
        found["net"] = os.readlink("/proc/%d/ns/net" % n["pid"])
        return True
    good_restore(s, RESTORE_NET, {"setup-namespaces": look})
    check(found["net"] != os.readlink("/proc/self/ns/net") and found["net"] == os.readlink("/proc/%d/ns/net" % s.pid),
          "%r" % found)
    s.verify()


def is_gone(pid):
    """What was made as our child is ours to wait for when it has been killed."""
    return wait_for(lambda: (reap(), state_of(pid))[1] == "gone")


def refusals(s, stages):
    """Each way in which a client does not agree."""
    for stage in stages:
        yield stage, "false", lambda n: False
        yield stage, "another type", lambda n: {"type": "VERSION"}
        yield stage, "no success", lambda n: {"type": "NOTIFY"}
        yield stage, "garbage", lambda n: b"\xff\xff\xff"


@scenario
def refused_dump(s):
    s.victim(preexec_fn=unshare(NEWNET))
    before = Snapshot(s.pid)
    for stage, how, answer in refusals(s, DUMP_NET):
        wanted = DUMP_NET[:DUMP_NET.index(stage) + 1] + (["network-unlock"] if stage != "pre-dump" else [])
        p = rpc.Swrk()
        with rpc.Directory(s.imgs) as fd:
            seen, r = rpc.run(p, {"type": "DUMP", "opts": opts(s, fd, pid=s.pid)}, {stage: answer})
        rc = p.ends()
        check(r and not r["success"] and rc == 1, "%s, %s: %r, %d" % (stage, how, r, rc))
        check(names(seen) == wanted, "%s, %s: %r" % (stage, how, seen))
        check(not s.images() and wait_for(lambda: state_of(s.pid) == "S"), "%s, %s: %r" % (stage, how, s.images()))
    s.same(before, "refused dumps")
    s.verify()


@scenario
def refused_restore(s):
    s.victim(preexec_fn=unshare(NEWNET))
    good_dump(s, DUMP_NET)
    images = s.images()
    for stage, how, answer in refusals(s, ["pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore"]):
        p = rpc.Swrk()
        with rpc.Directory(s.imgs) as fd:
            seen, r = rpc.run(p, {"type": "RESTORE", "opts": opts(s, fd, rst_sibling=True)}, {stage: answer})
        rc = p.ends()
        check(r and not r["success"] and rc == 1 and r["restore"] == {"pid": -1}, "%s, %s: %r, %d" % (stage, how, r, rc))
        check(names(seen) == RESTORE_NET[:RESTORE_NET.index(stage) + 1], "%s, %s: %r" % (stage, how, seen))
        check(is_gone(s.pid) and s.images() == images, "%s, %s: a task is left, or images are not" % (stage, how))
    good_restore(s, RESTORE_NET)
    s.verify()


@scenario
def refused_too_late(s):
    """pre-resume and post-resume are told, and cannot be refused."""
    s.victim()
    good_dump(s, DUMP)
    for stage in ("pre-resume", "post-resume"):
        good_restore(s, RESTORE, {stage: lambda n: False})
        check("refused" in text(os.path.join(s.imgs, "restore.log")), "nothing in the log")
        good_dump(s, DUMP)
    good_restore(s, RESTORE)
    s.verify()


def dies_at(s, stage, request):
    """A client, a process of its own, that kills itself when it is told of a stage; waits for the end of its criu."""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        p = rpc.Swrk()
        os.write(w, b"%d" % p.proc.pid)
        p.send(request)
        while True:
            n = p.receive()
            if n is None or n["type"] != "NOTIFY":
                os._exit(1)
            if n["notify"]["script"] == stage:
                os.kill(os.getpid(), signal.SIGKILL)
            p.answer()
    os.close(w)
    criu = int(os.read(r, 20))
    os.close(r)
    status = os.waitpid(pid, 0)[1]
    check(os.WTERMSIG(status) == signal.SIGKILL, "%s was never told" % stage)
    check(wait_for(lambda: state_of(criu) in ("gone", "Z")), "criu lives on without its client (%s)" % stage)
    return criu


@scenario
def client_dies_at_dump(s):
    s.victim(preexec_fn=unshare(NEWNET))
    before = Snapshot(s.pid)
    with rpc.Directory(s.imgs) as fd:
        for stage in DUMP_NET:
            dies_at(s, stage, {"type": "DUMP", "opts": opts(s, fd, pid=s.pid)})
            check(wait_for(lambda: state_of(s.pid) == "S"), "%s: the victim is %s" % (stage, state_of(s.pid)))
            check(wait_for(lambda: not s.images()), "%s: %r" % (stage, s.images()))
    s.same(before, "clients that die")
    s.verify()


@scenario
def client_dies_at_restore(s):
    s.victim(preexec_fn=unshare(NEWNET))
    good_dump(s, DUMP_NET)
    with rpc.Directory(s.imgs) as fd:
        for stage in RESTORE_NET[:5]:
            dies_at(s, stage, {"type": "RESTORE", "opts": opts(s, fd)})
            check(is_gone(s.pid), "%s: the victim is %s" % (stage, state_of(s.pid)))
    good_restore(s, RESTORE_NET)
    s.verify()


@scenario
def criu_dies_at_each(s):
    """kill -9 of criu while it waits for an answer."""
    s.victim(preexec_fn=unshare(NEWNET))
    before = Snapshot(s.pid)
    for stage in DUMP_NET:
        p = rpc.Swrk()
        with rpc.Directory(s.imgs) as fd:
            seen, r = rpc.run(p, {"type": "DUMP", "opts": opts(s, fd, pid=s.pid)}, {stage: lambda n: kill(p)})
        check(r is None and p.ends() == -9 and names(seen)[-1] == stage, "%s: %r" % (stage, r))
        check(wait_for(lambda: state_of(s.pid) == "S" and not s.images()), "%s: %s, %r" % (stage, state_of(s.pid), s.images()))
    s.same(before, "criu that dies")
    good_dump(s, DUMP_NET)
    for stage in RESTORE_NET[:5]:
        p = rpc.Swrk()
        with rpc.Directory(s.imgs) as fd:
            seen, r = rpc.run(p, {"type": "RESTORE", "opts": opts(s, fd)}, {stage: lambda n: kill(p)})
        check(r is None and p.ends() == -9 and names(seen)[-1] == stage, "%s: %r" % (stage, r))
        check(is_gone(s.pid), "%s: the victim is %s" % (stage, state_of(s.pid)))
    good_restore(s, RESTORE_NET)
    s.verify()


def kill(p):
    p.proc.kill()
    p.proc.wait()
    p.send = lambda *_: None
    return {}


@scenario
def query_ext_files(s):
    """What the client names in its answer stays outside, as by --external."""
    a, b = socket.socketpair()
    s.victim(stdin=a)
    ino = os.fstat(a.fileno()).st_ino
    a.close()
    seen, r, rc = dump(s)
    check(not r["success"] and rc == 1 and "socket:[%d]" % ino in s.errors("dump.log"), "%r: %s" % (r, s.errors("dump.log")))
    good_dump(s, DUMP, {"query-ext-files": lambda n: {"type": "NOTIFY", "notify_success": True, "opts": {
        "images_dir_fd": -1, "external": ["socket:[%d]" % ino]}}})
    b.close()


@scenario
def scripts_too(s):
    """Action scripts of the request's configuration file run after the client has answered."""
    s.victim()
    hook = s.script("hook", 'echo "$CRTOOLS_SCRIPT_ACTION" >> %s\n' % s.path("order"))
    with open(s.path("conf"), "w") as f:
        f.write("action-script %s\n" % hook)

    def note(n):
        with open(s.path("order"), "a") as f:
            f.write("client %s\n" % n["script"])
        return True
    all_of = {k: note for k in DUMP + RESTORE}
    good_dump(s, DUMP, all_of, config_file=s.path("conf"))
    good_restore(s, RESTORE, all_of, config_file=s.path("conf"))
    want = []
    for k in DUMP + RESTORE:
        want += ["client " + k] + ([k] if k != "query-ext-files" else [])
    got = text(s.path("order")).splitlines()
    check(got == want, "%r" % got)
    s.verify()


run_all()
