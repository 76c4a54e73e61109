#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu service: the socket, --daemon, --pidfile, --status-fd; clients that hang, die, lie, flood; who may have what dumped.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 900
import ctypes
import os
import signal
import socket
import stat
import subprocess
import threading

import rpc
from case import Failed
from driver import check, children, run_all, scenario, state_of, text, wait_for

NOBODY = 65534


class Service:
    def __init__(self, s, *opts, **kw):
        self.s, self.path = s, s.path("sock")
        self.proc = subprocess.Popen([s.criu, "service", "-W", s.dir, "--address", "sock", "-o", "service.log", "-v4", *opts],
                                     stdin=subprocess.DEVNULL, **kw)

    def __enter__(self):
        check(wait_for(lambda: tried(self) or self.proc.poll() is not None), "it does not listen")
        check(self.proc.poll() is None, "the service has ended: %s" % text(self.s.path("service.log")))
        return self

    def connect(self):
        k = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for _ in range(1000):
            try:
                k.connect(self.path)
                break
            except (ConnectionRefusedError, BlockingIOError):
                wait_for(lambda: False, 0.01)
        return rpc.Peer(k)

    def ask(self, request):
        p = self.connect()
        p.send(request)
        r = p.receive()
        p.close()
        return r

    def lives(self, why):
        r = self.ask({"type": "VERSION"})
        check(r and r["success"] and self.proc.poll() is None, "%s: %r" % (why, r))

    def no_children(self, why):
        check(wait_for(lambda: not children(self.proc.pid)), "%s: processes are left: %r" % (why, children(self.proc.pid)))

    def __exit__(self, *_):
        self.proc.terminate()
        check(self.proc.wait(60) == 0 and not os.path.exists(self.path), "the service ends with %d" % self.proc.returncode)


def dump_request(s, fd, **more):
    return {"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, "log_level": 4, "log_file": "dump.log", **more}}


@scenario
def one_round(s):
    s.victim()
    with Service(s) as service, rpc.Directory(s.imgs) as fd:
        check(stat.S_IMODE(os.stat(service.path).st_mode) == 0o666, "the mode of the socket")
        r = service.ask(dump_request(s, fd))
        check(r["success"], "%r" % r)
        s.gone()
        for more in ({"rst_sibling": True}, {"inherit_fd": [{"key": "x", "fd": 0}]}):
            r = service.ask({"type": "RESTORE", "opts": {"images_dir_fd": fd, **more}})
            check(not r["success"] and r["cr_errno"] == 56, "%r: %r" % (more, r))
        r = service.ask({"type": "RESTORE", "opts": {"images_dir_fd": fd, "log_level": 4}})
        check(r["success"] and r["restore"]["pid"] == s.pid, "%r" % r)
        check(wait_for(lambda: not children(service.proc.pid)), "the process that answers stays")
        check("criu.log" in os.listdir(s.imgs), "no log of the default name: %r" % os.listdir(s.imgs))
        s.proc = None
        s.verify()


@scenario
def daemon(s):
    r, w = os.pipe()
    out = subprocess.run([s.criu, "service", "-W", s.dir, "--address", s.path("sock"), "--pidfile", "pid", "--daemon", "-o",
                          "service.log", "--status-fd", str(w), "--action-script", 'echo "$CRTOOLS_SCRIPT_ACTION" >> stages'],
                         pass_fds=[w], cwd="/", timeout=100)
    os.close(w)
    check(out.returncode == 0 and os.read(r, 10) == b"\0", "status %d" % out.returncode)
    pid = int(text(s.path("pid")))
    check(wait_for(lambda: state_of(pid) == "S") and text("/proc/%d/stat" % pid).split()[5] == str(pid), "no session of its own")
    check(text(s.path("stages")).split() == ["status-ready"], text(s.path("stages")))
    for fd in range(3):
        check(os.readlink("/proc/%d/fd/%d" % (pid, fd)) == "/dev/null", "descriptor %d" % fd)
    check(rpc.decode("criu_resp", ask_raw(s.path("sock"), {"type": "VERSION"}))["success"], "VERSION")
    os.kill(pid, signal.SIGTERM)
    check(wait_for(lambda: state_of(pid) in ("gone", "Z")) and not os.path.exists(s.path("sock")), "it does not end")
    out = subprocess.run([s.criu, "service", "-W", s.path("nowhere"), "-d"], stderr=subprocess.PIPE, timeout=100)
    check(out.returncode == 1, "without a work directory: %d" % out.returncode)


def ask_raw(path, request):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as k:
        k.connect(path)
        k.send(rpc.encode("criu_req", request))
        return k.recv(4096)


@scenario
def name_taken(s):
    with Service(s):
        s.tool("service", "-W", s.dir, "--address", "sock")
        check(s.rc == 1 and "sock" in s.out, "a second service: %d, %s" % (s.rc, s.out))
    p = Service(s)
    with p:
        p.proc.kill()
        p.proc.wait()
        check(os.path.exists(p.path), "a service that was killed")
        p.proc = Service(s).proc  # in the place of the one that is left
        check(wait_for(lambda: "answer" in text(s.path("service.log")) or tried(p)), "it does not listen")
        p.lives("in the place of a socket that was left")
    open(s.path("sock"), "w").close()
    s.tool("service", "-W", s.dir, "--address", "sock")
    check(s.rc == 1 and os.path.isfile(s.path("sock")), "a file of that name: %d" % s.rc)
    s.tool("service", "-W", s.dir, "--address", "/" + "x" * 200)
    check(s.rc == 1 and "--address" in s.out, "a long name: %s" % s.out)


def tried(service):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as k:
        try:
            k.connect(service.path)
        except OSError:
            return False
    return True


@scenario
def bad_clients(s):
    with Service(s) as service:
        quiet = [service.connect() for _ in range(20)]  # they hang
        service.lives("clients that say nothing")
        for data in (b"\xff" * 1000, b"", rpc.encode("criu_req", {"type": "DUMP"})[:1], b"\x08\x01\x12\xff\xff\xff\xff\x0f"):
            p = service.connect()
            p.send(data)
            check(p.receive() is None, "an answer to garbage")
            p.close()
        for _ in range(50):  # they go at once
            service.connect().close()
        for kind in ("VERSION", "DUMP", "RESTORE", "CHECK"):  # they do not wait for the answer
            p = service.connect()
            p.send({"type": kind})
            p.close()
        p = service.connect()  # more requests than are read
        p.sock.setblocking(False)
        try:
            for _ in range(100000):
                p.send({"type": "VERSION", "keep_open": True})
        except OSError:
            pass
        service.lives("a client that floods")
        p.close()
        for q in quiet:
            q.close()
        service.no_children("bad clients")
        service.lives("after bad clients")


@scenario
def many_at_once(s):
    """Fifty clients, and five dumps among them."""
    victims = []
    for i in range(5):
        os.makedirs(s.path("v%d" % i))
        victims.append(subprocess.Popen(["setsid", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL))
    check(wait_for(lambda: all(text("/proc/%d/comm" % v.pid) == "sleep\n" and state_of(v.pid) == "S" for v in victims)),
          "the victims do not sleep")
    failed = []

    def version():
        r = service.ask({"type": "VERSION"})
        if not r or not r["success"]:
            failed.append(r)

    def dump(i):
        with rpc.Directory(s.path("v%d" % i)) as fd:
            r = service.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": victims[i].pid}})
            if not r or not r["success"]:
                failed.append(r)
    with Service(s) as service:
        threads = [threading.Thread(target=version) for _ in range(50)]
        threads += [threading.Thread(target=dump, args=(i,)) for i in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        service.no_children("many")
    for v in victims:
        v.wait(60)
    check(not failed, "%r" % failed[:3])


def as_user(uid, fn, groups=()):
    """fn in a process of that user; what it raises is our failure."""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as after an execve
            fn()
        except BaseException as e:
            os.write(w, repr(e).encode()[:4000])
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        said = f.read()
    os.waitpid(pid, 0)
    if said:
        raise Failed("as user %d: %s" % (uid, said))


def directory_of(s, uid, name):
    os.mkdir(s.path(name))
    os.chown(s.path(name), uid, uid)
    return s.path(name)


@scenario
def own_process(s):
    """An ordinary user has its own process dumped and restored; its files belong to it."""
    imgs = directory_of(s, NOBODY, "of_nobody")
    os.chmod(s.dir, 0o777)

    def fn():
        v = subprocess.Popen(["setsid", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, cwd="/")
        check(wait_for(lambda: text("/proc/%d/comm" % v.pid) == "sleep\n"), "no sleep")
        with rpc.Directory(imgs) as fd:
            r = service.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": v.pid, "log_level": 4, "log_file": "dump.log"}})
            check(r["success"], "%r" % r)
            v.wait(60)
            r = service.ask({"type": "RESTORE", "opts": {"images_dir_fd": fd, "log_level": 4, "log_file": "r.log"}})
            check(r["success"] and r["restore"]["pid"] == v.pid, "%r" % r)
        check(os.stat("/proc/%d" % v.pid).st_uid == NOBODY, "whose it is now")
        os.kill(v.pid, signal.SIGKILL)
    with Service(s) as service:
        as_user(NOBODY, fn)
    check({os.stat(os.path.join(imgs, n)).st_uid for n in os.listdir(imgs)} == {NOBODY}, "whose the images are")


def sleeper_of(*wrap):
    v = subprocess.Popen([*wrap, "setsid", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, cwd="/")
    check(wait_for(lambda: text("/proc/%d/comm" % v.pid) == "sleep\n"), "no sleep")
    return v


@scenario
def nothing_of_the_service(s):
    """A script of an ordinary user's, from the file that it names: what it sees of who has started the service."""
    imgs = directory_of(s, NOBODY, "of_nobody")
    os.chmod(s.dir, 0o777)

    def fn():
        with open(os.path.join(imgs, "conf"), "w") as f:
            f.write("action-script \"env > %s/env; readlink /proc/self/fd/[02] > %s/fds\"\n" % (imgs, imgs))
        v = sleeper_of()
        with rpc.Directory(imgs) as fd:
            r = service.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": v.pid, "config_file": imgs + "/conf"}})
        check(r["success"], "%r" % r)
        v.wait(60)
    with open(s.path("of_root"), "w") as secret:
        with Service(s, stdout=secret, stderr=secret, env={**os.environ, "SECRET": "of root"}) as service:
            as_user(NOBODY, fn)
    check("SECRET" not in text(imgs + "/env") and "PATH=" in text(imgs + "/env"), text(imgs + "/env"))
    check("of_root" not in text(imgs + "/fds") and "/dev/null" in text(imgs + "/fds"), text(imgs + "/fds"))


@scenario
def confined_client(s):
    """A client in a sandbox would have processes outside of it; and by no image does a user come to a capability."""
    imgs = directory_of(s, NOBODY, "of_nobody")
    os.chmod(s.dir, 0o777)
    held = sleeper_of("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps", "+checkpoint_restore",
                      "--ambient-caps", "+checkpoint_restore")
    s.pid = held.pid
    s.dump("-D", imgs, "-o", "dump.log")
    held.wait(60)
    subprocess.run(["chown", "-R", str(NOBODY), imgs], check=True)

    def fn():
        with rpc.Directory(imgs) as fd:
            restore = {"type": "RESTORE", "opts": {"images_dir_fd": fd, "log_level": 4}}
            r = service.ask(restore)
            check(not r["success"] and "capabilit" in r["cr_errmsg"], "a capability: %r" % r)
            libc = ctypes.CDLL(None, use_errno=True)
            check(libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS")
            r = service.ask(restore)
            check(not r["success"] and "no_new_privs" in r["cr_errmsg"], "no_new_privs: %r" % r)
            check(libc.unshare(0x10000000) == 0, "unshare")  # CLONE_NEWUSER
            r = service.ask(restore)
            check(not r["success"] and "user namespace" in r["cr_errmsg"], "a user namespace: %r" % r)
    with Service(s) as service:
        as_user(NOBODY, fn)
    check(state_of(held.pid) == "gone", "a process was restored")


@scenario
def plugins_of_a_client(s):
    """Code that a client names does not run in the service's processes, which can do more than the client."""
    imgs = directory_of(s, NOBODY, "of_nobody")
    os.chmod(s.dir, 0o777)

    def fn():
        with open(os.path.join(imgs, "conf"), "w") as f:
            f.write("libdir %s\n" % imgs)
        v = subprocess.Popen(["setsid", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, cwd="/")
        check(wait_for(lambda: text("/proc/%d/comm" % v.pid) == "sleep\n"), "no sleep")
        with rpc.Directory(imgs) as fd:
            r = service.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": v.pid, "config_file": imgs + "/conf"}})
        check(not r["success"] and "libdir" in r["cr_errmsg"], "%r" % r)
        check(v.poll() is None, "the process has ended")
        v.kill()
        v.wait()
    with Service(s) as service:
        as_user(NOBODY, fn)


@scenario
def process_of_others(s):
    """Neither a process of root, nor one of another user, nor files where it may not write."""
    s.victim()
    other = subprocess.Popen(["setsid", "sleep", "1000"], preexec_fn=lambda: os.setuid(12345), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    imgs = directory_of(s, NOBODY, "of_nobody")

    def fn():
        with rpc.Directory(imgs) as fd:
            for pid in (s.pid, other.pid, service.proc.pid, 1):
                for kind in ("DUMP", "PRE_DUMP"):
                    r = service.ask({"type": kind, "opts": {"images_dir_fd": fd, "pid": pid}})
                    check(not r["success"], "pid %d: %r" % (pid, r))
        mine = subprocess.Popen(["setsid", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd="/")
        check(wait_for(lambda: text("/proc/%d/comm" % mine.pid) == "sleep\n"), "no sleep")
        with rpc.Directory("/etc") as fd:
            r = service.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": mine.pid}})
            check(not r["success"] and mine.poll() is None, "images in /etc: %r" % r)
        r = service.ask({"type": "DUMP", "opts": {"images_dir_fd": -1, "images_dir": "/etc", "pid": mine.pid}})
        check(not r["success"] and mine.poll() is None, "images in /etc: %r" % r)
        with rpc.Directory(imgs) as fd:  # a log through a link of the user's
            if os.path.exists(os.path.join(imgs, "criu.log")):
                os.unlink(os.path.join(imgs, "criu.log"))
            os.symlink(s.path("of_root"), os.path.join(imgs, "criu.log"))
            service.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": mine.pid}})
        mine.kill()
        mine.wait()
    with open(s.path("of_root"), "w") as f:
        f.write("untouched")
    with Service(s) as service:
        before = sorted(os.listdir("/etc"))
        as_user(NOBODY, fn)
        check(sorted(os.listdir("/etc")) == before, "files in /etc")
    check(text(s.path("of_root")) == "untouched", "a file of root's was written")
    check(wait_for(lambda: state_of(s.pid) == "S") and other.poll() is None, "a process of others was harmed")
    other.kill()
    other.wait()
    s.verify()


@scenario
def images_of_root(s):
    """An ordinary user cannot have a process of root's made from images."""
    s.victim()
    s.dump()
    os.chmod(s.dir, 0o777)
    subprocess.run(["chown", "-R", str(NOBODY), s.imgs], check=True)

    def fn():
        with rpc.Directory(s.imgs) as fd:
            r = service.ask({"type": "RESTORE", "opts": {"images_dir_fd": fd, "log_file": "r.log", "log_level": 4}})
            check(not r["success"], "%r" % r)
    with Service(s) as service:
        as_user(NOBODY, fn)
    check(state_of(s.pid) == "gone", "a process of root's was restored")
    subprocess.run(["chown", "-R", "0", s.imgs], check=True)
    s.restore()
    s.verify()


@scenario
def many_of_one_user(s):
    """One user cannot have all processes of the machine; root is served nevertheless."""
    def fn():
        held = [service.connect() for _ in range(100)]
        closed = 0
        for p in held[-20:]:
            p.sock.settimeout(60)
            closed += p.receive() is None
        check(closed == 20, "of 100 connections the last 20 are served")
        check(len(children(service.proc.pid)) <= 64, "%d processes" % len(children(service.proc.pid)))
    with Service(s) as service:
        as_user(NOBODY, fn)
        service.lives("after a user with many connections")
        service.no_children("a user with many connections")


run_all()
