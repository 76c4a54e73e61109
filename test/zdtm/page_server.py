#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Pages that go to a page server: what CRIU's dump has sent, a server as CRIU's, ours with a real tree, by every way to start it and to
# reach it; and what a restore believes of the files that come together.
# zdtm: driver
# zdtm: timeout 300
import os
import shutil
import signal
import socket

import held
import rpc
from case import Skipped
from driver import HERE, check, run_all, scenario, state_of, text, wait_for
from page_wire import (CLOSE, FORCE_CLOSE, HOLE, IN_PARENT, LAZY, OPEN, OPEN2, PARENT, PRESENT, Checker, Server, entries, nothing_hidden,
                       pages, request, take, task, together, write_pagemap)

DATA = os.path.join(HERE, "data/page-server")


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def replay(s, **kw):
    """What CRIU 4.2 has sent, and what its server has answered."""
    server = Server(s, **kw)
    c = server.connect()
    c.sendall(read(DATA, "to-server.bin"))
    check(take(c, 5) == read(DATA, "from-server.bin"), "another answer")
    check(c.recv(1) == b"", "the connection stays")
    server.ends(0)
    return server


@scenario
def recorded(s):
    server = replay(s)
    check(server.images() == ["page-server.sums", "page-sums.img", "pagemap-20448.img", "pages-65537.img"], "%r" % server.images())
    ours, theirs = (entries(os.path.join(d, "pagemap-20448.img")) for d in (server.dir, DATA))
    check(ours == theirs and ours[1] == 65537, "%r instead of %r" % (ours, theirs))
    sent, stored, at = read(DATA, "to-server.bin"), b"", 32
    for _, n, _ in theirs[0]:
        stored += sent[at + 32:at + 32 + n * 4096]
        at += 32 + n * 4096
    check(stored == read(server.dir, "pages-65537.img"), "other pages")


@scenario
def recorded_restored(s):
    """CRIU's images of the dump, and ours of the pages."""
    try:
        held.build()
        if not held.is_the_one() or not held.has_avx512():
            raise Skipped("this compiler makes another program than was dumped, or the processor lacks what that needs")
        held.place("sched")
        server = replay(s)
        for n in os.listdir(DATA + "/img"):
            shutil.copy(os.path.join(DATA, "img", n), server.dir)
        s.pid, s.imgs = 20448, server.dir
        s.restore()
        check(held.ask(s.pid, "sched") == "fine", "the program says something else")
        s.kill()
        path = os.path.join(s.imgs, "pagemap-20448.img")
        raw = read(path)
        with open(path, "wb") as f:
            f.write(raw[:-1] + b"\1")
        s.restore(ok=False)
        check(s.rc == 1 and "pagemap-20448.img is damaged" in s.errors("restore.log"), s.errors("restore.log"))
    finally:
        held.done()


@scenario
def like_criu(s):
    """A server that checks each request and writes what CRIU's would, which has no integrity file."""
    for program in ("page_tree", "memfd"):
        s.victim(program)
        os.mkdir(s.path("srv"))
        server = Checker(s.path("srv"))
        s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port)
        server.done()
        check(server.commands[0] == OPEN2 and server.commands[-1] == CLOSE, "%r" % server.commands)
        check(not [n for n in s.images() if n.startswith("pag")], "%r" % s.images())
        together(s, s.path("srv"))
        for _ in range(2):
            s.restore()
            s.kill()
        s.restore()
        s.verify()
        shutil.rmtree(s.imgs + ".dump")
        s.clean_images()


def through(s, server, *opts, **kw):
    """A dump whose pages go there; then all is in s.imgs."""
    s.dump("--page-server", "--address", server.address, "--port", server.port, *opts, **kw)
    server.ends(0)
    check(not [n for n in s.images() if n.startswith("pag")], "%r" % s.images())
    nothing_hidden(server.dir)
    together(s, server.dir)


@scenario
def real_tree(s):
    s.victim("page_tree")
    through(s, Server(s))
    size = sum(os.stat(os.path.join(s.imgs, n)).st_size for n in s.images() if n.startswith("pages-")) / 1048576
    check(100 < size < 150, "%d MiB are stored" % size)
    s.restore()
    # The tree came from what was sent: it goes again, running on, and into a directory that has a checkpoint.
    shutil.rmtree(s.imgs + ".dump")
    os.rename(s.imgs, s.path("srv"))
    os.mkdir(s.imgs)
    server = Server(s)
    s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port, "--leave-running")
    server.ends(0)
    check([n for n in server.images() if n[:3] != "pag"] == [], "of the older checkpoint: %r" % server.images())
    together(s, server.dir)
    s.kill()
    s.restore()
    s.verify()


@scenario
def kinds(s):
    """Memory of every sort, what is shared by forks among it."""
    for program in ("anon_memory", "cow_children", "cow_once", "sharing", "memfd", "huge_pages", "guard_pages", "sysv_shm", "memfd_secret",
                    "shmem_parts", "dev_zero", "uffd", "aio"):
        s.victim(program)
        through(s, Server(s))
        s.restore()
        s.verify()
        shutil.rmtree(s.imgs)
        os.rename(s.imgs + ".dump", s.imgs)
        s.clean_images()


@scenario
def same_directory(s):
    """As CRIU's own tests have it; the second time over an older checkpoint."""
    s.victim("page_tree")
    for _ in range(3):
        server = Server(s, name="imgs")
        s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port)
        server.ends(0)
        nothing_hidden(s.imgs)
        check("page-server.sums" in server.images(), "%r" % server.images())
        s.restore()
    # CRIU's server writes into the directory itself. That is all right where there is nothing else.
    s.dump("--page-server", "--port", Checker(s.imgs).port, ok=False)
    said = s.errors("dump.log")
    check(s.rc == 1 and "has an older checkpoint in it" in said, "%d: %s" % (s.rc, said))
    s.clean_images()
    server = Checker(s.imgs)
    s.dump("--page-server", "--port", server.port)
    server.done()
    s.restore()
    s.dump()
    check("page-server.sums" not in os.listdir(s.imgs), "of the older checkpoint there is page-server.sums")
    s.restore()
    s.verify()


@scenario
def addresses(s):
    for listen, connect in (("127.0.0.1", None), ("::1", "::1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1"), (None, None),
                            ("localhost", "localhost")):
        s.victim()
        server = Server(s, address=listen)
        s.dump("--page-server", "--port", server.port, *(["--address", connect] if connect else []))
        server.ends(0, "%s, %s" % (listen, connect))
        together(s, server.dir)
        s.restore()
        s.verify()
        shutil.rmtree(s.imgs)
        os.rename(s.imgs + ".dump", s.imgs)
        s.clean_images()


@scenario
def background(s):
    os.mkdir(s.path("srv"))
    r, w = os.pipe()
    s.tool("page-server", "-D", s.path("srv"), "--address", "127.0.0.1", "--daemon", "--pidfile", "ps.pid", "--status-fd", w, "-o", "ps.log",
           "-v4", pass_fds=(w,))
    os.close(w)
    check(s.rc == 0 and s.out.startswith("port "), "%d: %s" % (s.rc, s.out))
    check(os.read(r, 10) == b"\0" and os.read(r, 10) == b"", "--status-fd")
    os.close(r)
    pid = int(text(s.path("srv/ps.pid")))
    check("criu" in text("/proc/%d/comm" % pid) and os.getsid(pid) == pid, "pid %d" % pid)
    s.victim()
    s.dump("--page-server", "--port", s.out.split()[1])
    check(wait_for(lambda: state_of(pid) in ("gone", "Z")), "the server lives on")
    together(s, s.path("srv"))
    s.restore()
    s.verify()


@scenario
def inherited(s):
    """--ps-socket: a pair of unix sockets, which this test holds open too, so that no end of the stream is seen."""
    s.victim()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Server(s, "--ps-socket", theirs.fileno(), address=None, pass_fds=(theirs.fileno(),))
        s.dump("--page-server", "--ps-socket", ours.fileno(), pass_fds=(ours.fileno(),))
        server.ends(0)
    together(s, server.dir)
    s.restore()
    shutil.rmtree(s.imgs + ".dump")
    s.clean_images()
    os.mkdir(s.path("srv"))
    ours, theirs = socket.socketpair()
    with ours:
        checker = Checker(s.path("srv"), sock=theirs)
        s.dump("--page-server", "--ps-socket", ours.fileno(), pass_fds=(ours.fileno(),), ok=False)
        ours.close()
        checker.done()
    check(s.rc == 0 and checker.commands[-1] == FORCE_CLOSE, "%d, %r" % (s.rc, checker.commands))
    s.gone()
    together(s, s.path("srv"))
    s.restore()
    s.verify()


@scenario
def parents(s):
    """As after a pre-dump of CRIU's: pages of the server's parent directory, answers that say so, and lazy ones."""
    os.makedirs(s.path("first"))
    os.mkdir(s.path("srv"))
    for old in (0, 1):  # the older one is in the parent's parent
        d = s.path("first" + "er" * old)
        os.makedirs(d, exist_ok=True)
        write_pagemap(os.path.join(d, "pagemap-20448.img"), 7, [(0x1000, 2, PRESENT if old else IN_PARENT), (0x6000, 9, PRESENT)])
        with open(os.path.join(d, "pages-7.img"), "wb") as f:
            f.write(bytes(4096 * (11 if old else 9)))
    os.symlink("../firster", s.path("first/parent"))
    os.symlink("../first", s.path("srv/parent"))
    server = Server(s)
    with server.connect() as c:
        for who, answer in ((task(20448), 1), (task(5), 0), (20448 << 8 | 2, 0)):
            c.sendall(request(PARENT, who=who))
            check(take(c, 4) == bytes([answer, 0, 0, 0]), "PARENT %x" % who)
        c.sendall(request(OPEN2, who=task(5)))
        check(take(c, 1) == b"\0", "OPEN2 of 5")
        c.sendall(pages(task(5), 0x10000, 3) + pages(task(5), 0x13000, 1))
        c.sendall(request(OPEN2, who=task(20448)))
        check(take(c, 1) == b"\1", "OPEN2 of 20448")
        c.sendall(pages(task(20448), 0x1000, 2, IN_PARENT) + pages(task(20448), 0x3000, 2))
        c.sendall(request(PARENT, who=task(5)))
        check(take(c, 4) == bytes(4), "PARENT in the middle")
        c.sendall(pages(task(20448), 0x5000, 1, LAZY) + request(HOLE, 7, 0x6000, task(20448)) + pages(task(20448), 0x80000, 1, LAZY | PRESENT))
        c.sendall(request(OPEN, who=9 << 8 | 2) + request(1, 2, 0x5000, 9 << 8 | 2) + bytes(8192) + request(CLOSE))
        check(take(c, 4) == bytes(4), "CLOSE")
    server.ends(0)
    listed = [(name, entries(os.path.join(server.dir, name))) for name in ("pagemap-5.img", "pagemap-20448.img", "pagemap-shmem-9.img")]
    check(listed == [("pagemap-5.img", ([(0x10000, 4, PRESENT)], 65537)),
                     ("pagemap-20448.img", ([(0x1000, 2, 1), (0x3000, 2, 4), (0x5000, 1, 2), (0x6000, 7, 1), (0x80000, 1, 6)], 65538)),
                     ("pagemap-shmem-9.img", ([(0x5000, 2, 4)], 65539))], "%r" % listed)
    check([os.stat(os.path.join(server.dir, "pages-%d.img" % n)).st_size for n in range(65537, 65540)] == [4 * 4096, 3 * 4096, 2 * 4096],
          "sizes")
    # Pages that are in none of them, and a chain that is not whole any more, of which nothing is taken for there.
    for at, n in ((0x3000, 1), (0x2000, 2), (0xf000, 1), (0x5000, 2)):
        os.mkdir(s.path("more"))
        os.symlink("../first", s.path("more/parent"))
        server = Server(s, name="more")
        with server.connect() as c:
            c.sendall(request(OPEN2, who=task(20448)) + pages(task(20448), at, n, IN_PARENT))
            check(take(c, 1) == b"\1" and c.recv(1) == b"", "an answer")
        server.ends(1)
        check("has none of it" in server.said() and server.images() == [], "%x: %s" % (at, server.said()))
        shutil.rmtree(s.path("more"))
    os.truncate(s.path("firster/pages-7.img"), 4096)
    os.mkdir(s.path("more"))
    server = Server(s, "--prev-images-dir", "../first", name="more")
    with server.connect() as c:
        c.sendall(request(PARENT, who=task(20448)) + request(OPEN2, who=task(20448)))
        check(take(c, 5) == bytes(5), "taken for whole")
        c.sendall(pages(task(20448), 0x1000, 1) + request(CLOSE))
        check(take(c, 4) == bytes(4), "CLOSE")
    server.ends(0)
    check(os.readlink(s.path("more/parent")) == "../first", "no link")


@scenario
def options(s):
    s.victim()
    for opts, why in ((["--page-server"], "needs --port"), (["--page-server", "--port", 1, "--cow-pages", "once"], "use copy or auto"),
                      (["--page-server", "--port", 1, "--stream"], "exclude each other"), (["--page-server", "--port", 65536], "port"),
                      (["--page-server", "--port", 1], "Connection refused"),
                      (["--page-server", "--port", 1, "--address", "no such host"], "getaddrinfo"),
                      (["--page-server", "--ps-socket", 999], "Bad file descriptor"), (["--page-server", "--ps-socket", 0], "Socket operation")):
        s.dump(*opts, ok=False)
        said = s.errors("dump.log") + s.out
        check(s.rc == 1 and why in said, "%r: %d: %s" % (opts, s.rc, said))
        check(not s.images(), "%r: %r" % (opts, s.images()))
    for opts, why in ((["--address", "192.0.2.1"], "Cannot assign"), (["--ps-socket", 0], "Socket operation"), (["--port", 70000], "port")):
        s.tool("page-server", "-D", s.imgs, *opts)
        check(s.rc == 1 and why in s.out, "%r: %d: %s" % (opts, s.rc, s.out))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        s.tool("page-server", "-D", s.imgs, "--address", "127.0.0.1", "--port", taken.getsockname()[1])
        check(s.rc == 1 and "already in use" in s.out, "%d: %s" % (s.rc, s.out))
    nothing_hidden(s.imgs)
    first = Server(s)
    s.tool("page-server", "-D", first.dir)
    check(s.rc == 1 and "another page server" in s.out, "%d: %s" % (s.rc, s.out))
    first.connect().close()
    first.ends(1)
    s.verify()


@scenario
def believed(s):
    """What a restore checks of files that come from two hosts."""
    s.victim("page_tree")
    root, whole = s.pid, {}
    through(s, Server(s), "--leave-running")
    shutil.rmtree(s.imgs + ".dump")
    os.rename(s.imgs, s.path("older"))
    os.mkdir(s.imgs)
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: not os.path.exists(s.path("ask"))), "no answer")
    through(s, Server(s))
    name = "pagemap-%d.img" % root
    for n in s.images():
        if n[:5] != "pages":
            whole[n] = read(s.imgs, n)

    def refused(why, *words, opts=()):
        s.restore(*opts, ok=False)
        said = s.errors("restore.log") + s.out
        check(s.rc == 1 and all(w in said for w in words), "%s: %d: %s" % (why, s.rc, said))
        check(not os.path.exists("/proc/%d" % root), "%s: something was started" % why)

    def put_back():
        for n, data in whole.items():
            with open(os.path.join(s.imgs, n), "wb") as f:
                f.write(data)

    os.unlink(os.path.join(s.imgs, name))
    refused("no pagemap", name, "page server")
    put_back()
    shutil.copy(s.path("older/" + name), s.imgs)
    if read(s.imgs, name) != whole[name]:
        refused("an older pagemap", name)
    put_back()
    # Not even with no integrity file of the server's: a pagemap of fewer pages, whose pages file fits.
    listed, number = entries(os.path.join(s.imgs, name))
    sums = os.path.join(s.imgs, "page-server.sums")
    os.unlink(sums)
    write_pagemap(os.path.join(s.imgs, name), number, listed[:-1])
    file = os.path.join(s.imgs, "pages-%d.img" % number)
    data = read(file)
    os.truncate(file, len(data) - 4096 * listed[-1][1])
    refused("a page less", name, "is not what the dump has sent")
    with open(file, "wb") as f:
        f.write(data)
    write_pagemap(os.path.join(s.imgs, name), number, [(at, 1, f) for run, n, f in listed for at in range(run, run + n * 4096, 4096)])
    s.restore()  # the same pages in other entries
    s.kill()
    put_back()
    with open(sums, "ab") as f:
        f.write(b"x")
    refused("a line too many", "page-server.sums")
    s.restore("--allow-edited-images")
    s.verify()


# ---- the service protocol ----

def asked(p, kind, status=True, **more):
    p.send({"type": kind, **more})
    r = p.receive()
    check(r and r["success"] == status, "%s: %r" % (kind, r))
    return r


@scenario
def service_daemon(s):
    """As p.haul: PAGE_SERVER and RESTORE over one connection at the target, DUMP with ps at the source."""
    s.victim("page_tree")
    os.mkdir(s.path("srv"))
    with rpc.Directory(s.path("srv")) as there, rpc.Directory(s.imgs) as here:
        p = rpc.Swrk()
        r = asked(p, "PAGE_SERVER", keep_open=True, opts={"images_dir_fd": there, "log_file": "ps.log", "log_level": 4, "ps": {"address": "127.0.0.1"}})
        check(r["type"] == "PAGE_SERVER" and r["ps"]["port"] > 0 and state_of(r["ps"]["pid"]) in "SRD", "%r" % r)
        d, rc = rpc.ask({"type": "DUMP", "opts": {"images_dir_fd": here, "pid": s.pid, "log_file": "dump.log", "log_level": 4,
                                                   "ps": {"address": "127.0.0.1", "port": r["ps"]["port"]}}})
        check(d["success"] and rc == 0, "%r, %d" % (d, rc))
        s.gone()
        check(wait_for(lambda: state_of(r["ps"]["pid"]) in ("gone", "Z")), "the server lives on")
        for n in s.images():
            shutil.copy(os.path.join(s.imgs, n), s.path("srv"))
        r = asked(p, "RESTORE", opts={"images_dir_fd": there, "log_file": "restore.log", "log_level": 4})
        check(r["restore"]["pid"] == s.pid and p.ends() == 0, "%r" % r)
    s.proc = None
    s.verify()


@scenario
def service_child(s):
    """PAGE_SERVER_CHLD and WAIT_PID over one connection, as go-criu and p.haul."""
    for ends_well in (True, False):
        s.victim()
        shutil.rmtree(s.path("srv"), ignore_errors=True)
        os.mkdir(s.path("srv"))
        with rpc.Directory(s.path("srv")) as there, rpc.Directory(s.imgs) as here:
            p = rpc.Swrk()
            r = asked(p, "PAGE_SERVER_CHLD", keep_open=True, opts={"images_dir_fd": there, "ps": {"address": "::1", "port": 0}})
            check(r["type"] == "PAGE_SERVER" and r["ps"]["pid"] > 0 and r["ps"]["port"] > 0, "%r" % r)
            if ends_well:
                d, rc = rpc.ask({"type": "DUMP", "opts": {"images_dir_fd": here, "pid": s.pid, "ps": {"address": "::1", "port": r["ps"]["port"]}}})
                check(d["success"] and rc == 0, "%r, %d" % (d, rc))
                s.gone()
            else:
                socket.create_connection(("::1", r["ps"]["port"])).close()
            w = asked(p, "WAIT_PID", pid=r["ps"]["pid"])
            check(os.waitstatus_to_exitcode(w["status"]) == (0 if ends_well else 1) and p.ends() == 0, "%r" % w)
        if ends_well:
            together(s, s.path("srv"))
            s.restore()
            s.verify()
            shutil.rmtree(s.imgs)
            os.rename(s.imgs + ".dump", s.imgs)
            s.clean_images()
    s.kill()


@scenario
def service_socket(s):
    """ps.fd at both ends, by numbers of criu's own."""
    s.victim("page_tree")
    os.mkdir(s.path("srv"))
    ours, theirs = socket.socketpair()
    with rpc.Directory(s.path("srv")) as there, rpc.Directory(s.imgs) as here:
        p = rpc.Swrk(pass_fds=(theirs.fileno(),))
        r = asked(p, "PAGE_SERVER_CHLD", keep_open=True, opts={"images_dir_fd": there, "ps": {"fd": theirs.fileno()}})
        d, rc = rpc.ask({"type": "DUMP", "opts": {"images_dir_fd": here, "pid": s.pid, "ps": {"fd": ours.fileno()}}}, pass_fds=(ours.fileno(),))
        check(d["success"] and rc == 0, "%r, %d" % (d, rc))
        check(asked(p, "WAIT_PID", pid=r["ps"]["pid"])["status"] == 0 and p.ends() == 0, "the server has failed")
        s.gone()
    ours.close(), theirs.close()
    together(s, s.path("srv"))
    s.restore()
    s.verify()


@scenario
def service(s):
    """criu service: a client's descriptors are not criu's there."""
    s.victim()
    os.mkdir(s.path("srv"))
    s.tool("service", "--address", s.path("sock"), "-W", s.dir, "-o", "service.log", "--daemon", "--pidfile", "service.pid")
    check(s.rc == 0, s.out)
    daemon = int(text(s.path("service.pid")))

    def ask(kind, **opts):
        c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        c.connect(s.path("sock"))
        p = rpc.Peer(c)
        p.send({"type": kind, "opts": opts})
        r = p.receive()
        p.close()
        return r

    with rpc.Directory(s.path("srv")) as there, rpc.Directory(s.imgs) as here:
        r = ask("PAGE_SERVER", images_dir_fd=there, ps={"fd": 0})
        check(not r["success"] and "use criu swrk" in r["cr_errmsg"], "%r" % r)
        server = ask("PAGE_SERVER", images_dir_fd=there, ps={"address": "127.0.0.1"})
        check(server["success"] and server["ps"]["port"], "%r" % server)
        r = ask("PAGE_SERVER", images_dir_fd=there, ps={"address": "127.0.0.1"})
        check(not r["success"] and "another page server" in r["cr_errmsg"], "%r" % r)
        r = ask("DUMP", images_dir_fd=here, pid=s.pid, ps={"address": "127.0.0.1", "port": server["ps"]["port"]})
        check(r["success"], "%r" % r)
    s.gone()
    check(wait_for(lambda: state_of(server["ps"]["pid"]) in ("gone", "Z")), "the page server lives on")
    os.kill(daemon, signal.SIGTERM)
    together(s, s.path("srv"))
    s.restore()
    s.verify()


@scenario
def service_refuses(s):
    s.victim()
    with rpc.Directory(s.imgs) as fd:
        for kind in ("PAGE_SERVER", "PAGE_SERVER_CHLD"):
            for o, why in (({}, "no image directory"), ({"images_dir_fd": fd, "ps": {"fd": 999}}, "not open in criu swrk"),
                           ({"images_dir_fd": fd, "ps": {"port": -5}}, "port"), ({"images_dir_fd": fd, "ps": {"address": "192.0.2.1"}}, "bind")):
                r, rc = rpc.ask({"type": kind, "opts": o})
                check(not r["success"] and r["type"] == "PAGE_SERVER" and why in r["cr_errmsg"] and rc == 1, "%r: %r, %d" % (o, r, rc))
        for ps, why in (({"port": 1}, "connect"), ({}, "needs --port"), ({"fd": 999}, "not open")):
            r, rc = rpc.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, "ps": ps}})
            check(not r["success"] and why in r["cr_errmsg"] and rc == 1, "%r: %r, %d" % (ps, r, rc))
    check(not s.images(), "%r" % s.images())
    nothing_hidden(s.imgs)
    s.verify()


run_all()
