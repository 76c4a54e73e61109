#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --inherit-fd: descriptors of the tool's in the place of pipes and files of the checkpoint, and every way of getting it wrong.
# zdtm: driver
# zdtm: needs-root
import os
import resource
import signal
import socket
import subprocess
import sys

from driver import check, reap, run_all, scenario, state_of, text, wait_for
from tcp_peers import own_network, tables

COUNT = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done"


def start(s, script, **kw):
    s.proc = subprocess.Popen(["/bin/bash", "-c", script], cwd=s.dir, stdin=subprocess.DEVNULL, start_new_session=True, **kw)
    s.pid = s.proc.pid


def group_is_gone(pgid):
    reap()
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return True
    return False


def end(s):
    """The script and the sleep that it may have begun just now."""
    try:
        os.killpg(s.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    s.gone()
    check(wait_for(lambda: group_is_gone(s.pid)), "some of the group are left")


def read_lines(fd, n):
    data = b""
    while data.count(b"\n") < n:
        more = os.read(fd, 4096)
        check(more, "the pipe ended: %r" % data)
        data += more
    return data.decode()


def numbers(lines):
    return [int(x.split()[1]) for x in lines.splitlines() if x.startswith("line ")]


@scenario
def a_new_pipe_to_the_parent(s):
    r, w = os.pipe()
    start(s, COUNT, stdout=w, stderr=subprocess.DEVNULL)
    os.close(w)
    before = read_lines(r, 5)
    inode = os.readlink("/proc/%d/fd/1" % s.pid)
    s.dump()
    while True:  # what was in flight is ours to read
        more = os.read(r, 4096)
        if not more:
            break
        before += more.decode()
    for number in (3, 1, 0, 700):  # whatever the number, also those that the task has itself
        r2, w2 = os.pipe()
        os.dup2(w2, 800)
        s.restore("--inherit-fd", "fd[%d]:%s" % (number, inode),
                  preexec_fn=lambda number=number: os.dup2(800, number), close_fds=False)
        os.close(w2)
        os.close(800)
        after = read_lines(r2, 5)
        seen = numbers(before) + numbers(after)
        check(seen == list(range(len(seen))), "lines were lost or doubled: %r" % seen)
        end(s)
        os.close(r2)


@scenario
def stdout_to_another_file(s):
    out = open(s.path("old"), "w")
    start(s, COUNT, stdout=out, stderr=subprocess.DEVNULL)
    out.close()
    check(wait_for(lambda: text(s.path("old")).count("\n") > 4), "no lines")
    s.dump()
    size = os.path.getsize(s.path("old"))
    for name in (s.path("old"), s.path("old")[1:]):
        with open(s.path("new"), "w") as new:
            s.restore("--inherit-fd", "fd[%d]:%s" % (new.fileno(), name), pass_fds=[new.fileno()])
        check(wait_for(lambda: text(s.path("new")).count("\n") > 4), "no lines in the new file")
        check(os.path.getsize(s.path("old")) == size, "the old file was written to")
        end(s)


@scenario
def three_stdio_pipes(s):
    pipes = [os.pipe() for _ in range(3)]
    s.proc = subprocess.Popen(["/bin/bash", "-c", "while read x; do echo out $x; echo err $x >&2; done"], cwd=s.dir,
                              stdin=pipes[0][0], stdout=pipes[1][1], stderr=pipes[2][1], start_new_session=True)
    s.pid = s.proc.pid
    names = [os.readlink("/proc/%d/fd/%d" % (s.pid, i)) for i in range(3)]
    told = [x for n in names for x in ("--inherit-fd", n)]
    s.dump(*told)
    s.restore(ok=False)
    check(s.rc != 0 and names[0] in s.errors("restore.log") + text(os.path.join(s.imgs, "restore.log")),
          "what the dump was told would come is not missed")
    new = [os.pipe() for _ in range(3)]
    ours = [new[0][0], new[1][1], new[2][1]]
    s.restore(*[x for i in range(3) for x in ("--inherit-fd", "fd[%d]:%s" % (ours[i], names[i]))], pass_fds=ours)
    os.write(new[0][1], b"one\n")
    check(os.read(new[1][0], 100) == b"out one\n" and os.read(new[2][0], 100) == b"err one\n", "stdio does not work")
    end(s)


@scenario
def wrong_ones(s):
    r, w = os.pipe()
    start(s, COUNT, stdout=w, stderr=subprocess.DEVNULL)
    os.close(w)
    read_lines(r, 2)
    name = os.readlink("/proc/%d/fd/1" % s.pid)
    s.dump()
    r2, w2 = os.pipe()
    file = os.open(s.path("file"), os.O_RDWR | os.O_CREAT)
    for given, words in (("fd[999]:" + name, "not open"), ("fd[%d]:%s" % (file, name), "another kind"),
                         ("fd[%d]:%s" % (r2, name), "another direction"), ("fd[x]:" + name, "is expected"),
                         (name, "is expected")):
        s.restore("--inherit-fd", given, ok=False, pass_fds=[r2, file])
        said = s.out + text(os.path.join(s.imgs, "restore.log"))
        check(s.rc != 0 and words in said and name in said, "%s: %s" % (given, said))
        check(state_of(s.pid) == "gone", "something was started")
    s.restore("--inherit-fd", "fd[%d]:pipe:[1]" % w2, "--inherit-fd", "fd[%d]:%s" % (w2, name), pass_fds=[w2])
    check("pipe:[1]: nothing" in text(os.path.join(s.imgs, "restore.log")), "a name that is nobody's draws no warning")
    read_lines(r2, 2)
    end(s)


@scenario
def both_ends_in_the_tree(s):
    start(s, "(%s) | while read x; do echo $x >> lines; done" % COUNT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check(wait_for(lambda: text(s.path("lines")).count("\n") > 4 if os.path.exists(s.path("lines")) else False), "no lines")
    writer = [int(p) for p in text("/proc/%d/task/%d/children" % (s.pid, s.pid)).split()][0]
    name = os.readlink("/proc/%d/fd/1" % writer)
    s.dump()
    r, w = os.pipe()
    size = os.path.getsize(s.path("lines"))
    s.restore("--inherit-fd", "fd[%d]:%s" % (w, name), pass_fds=[w])
    os.close(w)
    check(wait_for(lambda: os.path.getsize(s.path("lines")) > size), "nothing goes through a pipe of which one end was given")
    os.close(r)
    end(s)


@scenario
def one_for_two(s):
    pipes = [os.pipe(), os.pipe()]
    s.proc = subprocess.Popen(["/bin/bash", "-c", "(%s) >&%d & (%s) & wait" % (COUNT.replace("line", "other"), pipes[1][1], COUNT)],
                              cwd=s.dir, stdin=subprocess.DEVNULL, stdout=pipes[0][1], stderr=subprocess.DEVNULL,
                              pass_fds=[pipes[1][1]], start_new_session=True)
    s.pid = s.proc.pid
    for r, w in pipes:
        os.close(w)
        os.read(r, 10)
    names = ["pipe:[%d]" % os.fstat(r).st_ino for r, _ in pipes]
    s.dump()
    r, w = os.pipe()
    s.restore("--inherit-fd", "fd[%d]:%s" % (w, names[0]), "--inherit-fd", "fd[%d]:%s" % (w, names[1]), pass_fds=[w])
    os.close(w)
    got = b""
    while b"line" not in got or b"other" not in got:
        more = os.read(r, 1000)
        check(more, "the pipe ended")
        got += more
    end(s)
    check(wait_for(lambda: not os.read(r, 1 << 16)), "somebody has the pipe still")


@scenario
def a_file_by_mount_and_inode(s):
    old = open(s.path("old"), "w")
    start(s, COUNT, stdout=old, stderr=subprocess.DEVNULL)
    mount = [line.split()[1] for line in text("/proc/%d/fdinfo/1" % s.pid).splitlines() if line.startswith("mnt_id")][0]
    key = "file[%x:%x]" % (int(mount), os.fstat(old.fileno()).st_ino)
    old.close()
    os.unlink(s.path("old"))  # what is external is not looked for
    s.dump("--external", key)
    s.restore(ok=False)
    check(s.rc != 0 and key in text(os.path.join(s.imgs, "restore.log")), "it is not missed")
    with open(s.path("new"), "w") as new:
        s.restore("--inherit-fd", "fd[%d]:%s" % (new.fileno(), key), pass_fds=[new.fileno()])
    check(wait_for(lambda: text(s.path("new")).count("\n") > 4), "no lines in the new file")
    end(s)


LOOP = """
import os, socket, sys, time
exec(sys.argv[1])
open('ready', 'w').close()
while True:
    time.sleep(0.01)
    try: loop()
    except (BlockingIOError, TimeoutError): pass
"""


def program(s, setup, **kw):
    if os.path.exists(s.path("ready")):
        os.unlink(s.path("ready"))
    s.proc = subprocess.Popen([sys.executable, "-c", LOOP, setup], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "w"), start_new_session=True, **kw)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), "not ready: " + text(s.path("err")))


def given(fd, name):
    return ("--inherit-fd", "fd[%d]:%s" % (fd, name))


def said(s):
    return s.out + text(os.path.join(s.imgs, "restore.log"))


def no_words(s):
    words = [x for x in said(s).splitlines() if "inherit-fd" in x and ("Warn" in x or "Error" in x)]
    check(not words, "words: %r" % words)


@scenario
def a_fifo_by_its_path(s):
    os.mkfifo(s.path("fifo"))
    program(s, "f = os.open('fifo', os.O_RDWR); w = os.open('fifo', os.O_WRONLY | os.O_NONBLOCK); os.close(f)\n"
               "f = os.open('fifo', os.O_RDONLY | os.O_NONBLOCK)\ndef loop():\n os.write(w, b'x')\n"
               " if os.read(f, 100): open('through', 'w').close()")
    for told in ((), ("--inherit-fd", s.path("fifo")[1:])):
        s.dump("-R", *told)
        if told:
            s.kill()
            s.restore(ok=False)
            check(s.rc and "fd 4: %s: the dump was told" % s.path("fifo") in said(s), "it is not missed: " + said(s))
            os.unlink(s.path("fifo"))
            os.unlink(s.path("through"))
            r, w = os.pipe()
            s.restore(*given(w, s.path("fifo")), pass_fds=[w])
            no_words(s)
            links = [os.readlink("/proc/%d/fd/%d" % (s.pid, i)) for i in (3, 4)]
            check(links == [os.readlink("/proc/self/fd/%d" % w)] * 2, "they are %r" % links)
            check(wait_for(lambda: os.path.exists(s.path("through")), 10), "nothing goes through the pipe")
            end(s)


@scenario
def a_path_in_another_root(s):
    os.makedirs(s.path("jail/tmp"))
    for told in (None, "tmp/old", "/tmp/old"):
        program(s, "import io; f = open('jail/tmp/old', 'w'); open('ready', 'w').close()\nos.chroot('jail'); os.chdir('/'); open('tmp/jailed', 'w').close()\n"
                   "def loop(): f.write('line'); f.flush()\nopen = lambda n, how: io.StringIO()")
        check(wait_for(lambda: os.path.exists(s.path("jail/tmp/jailed")), 10), "no other root")
        os.unlink(s.path("jail/tmp/jailed"))
        s.dump(*(("--external", told) if told else ()))
        if told:
            s.restore(ok=False)
            check(s.rc and "the dump was told" in said(s), "it is not missed: " + said(s))
        for name in ("tmp/old", "/tmp/old", s.path("jail/tmp/old")):
            with open(s.path("new"), "w") as new:
                s.restore(*given(new.fileno(), name), pass_fds=[new.fileno()])
            no_words(s)
            check(wait_for(lambda: os.path.getsize(s.path("new")) > 0, 10), "%s: nothing in the new file" % name)
            end(s)


@scenario
def a_deleted_one(s):
    for told in (None, s.path("old"), s.path("old")[1:] + " (deleted)"):
        program(s, "f = os.open('old', os.O_WRONLY | os.O_CREAT); os.unlink('old')\ndef loop(): os.write(f, b'x')")
        s.dump(*(("--inherit-fd", told) if told else ()))
        for name in (s.path("old"), s.path("old") + " (deleted)"):
            with open(s.path("new"), "w") as new:
                s.restore(*given(new.fileno(), name), pass_fds=[new.fileno()])
            no_words(s)
            check(wait_for(lambda: os.path.getsize(s.path("new")) > 0, 10), "%s: nothing in the new file" % name)
            end(s)


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        b = server.accept()[0]
    a.settimeout(10)
    return a, b


@scenario
def sockets_of_the_internet(s):
    """A listener, a connection and a UDP socket of a supervisor's, who has new ones by the time of the restore."""
    listener, udp, (far, near) = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM), tcp_pair()
    udp.bind(("127.0.0.1", 0))
    fds = [x.fileno() for x in (listener, udp, near)]
    names = ["socket:[%d]" % os.fstat(x).st_ino for x in fds]
    program(s, "l, u, c = (socket.socket(fileno=i) for i in %r)\nl.settimeout(0.01); u.setblocking(False)\n"
               "def loop():\n c.send(b'tick')\n try: u.sendto(b'got', u.recvfrom(100)[1])\n except BlockingIOError: pass\n"
               " l.accept()[0].send(b'served')" % fds, pass_fds=fds)
    far.recv(100)
    for fd in (listener, udp, near):
        fd.close()
    s.dump(*[x for n in names for x in ("--external", n)])
    s.restore(ok=False)
    check(s.rc and all("fd %d: %s: the dump was told" % x in said(s) for x in zip(fds, names)), "not missed: " + said(s))
    listener, udp, (far, near) = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM), tcp_pair()
    udp.bind(("127.0.0.1", 0))
    new = [x.fileno() for x in (listener, udp, near)]
    for i, wrong in ((0, new[2]), (2, new[0]), (1, new[0]), (0, os.open("/dev/null", os.O_RDWR)), (1, socket.socketpair()[0].detach())):
        use = new[:i] + [wrong] + new[i + 1:]
        s.restore(*[x for g in zip(use, names) for x in given(*g)], pass_fds=use, ok=False)
        check(s.rc and "fd %d: --inherit-fd fd[%d]:%s: that descriptor is of another kind" % (fds[i], wrong, names[i]) in said(s),
              "anything is taken: " + said(s))
        check(state_of(s.pid) == "gone", "something was started")
    s.restore(*[x for g in zip(new, names) for x in given(*g)], pass_fds=new)
    no_words(s)
    client = socket.create_connection(listener.getsockname())
    asker = socket.socket(type=socket.SOCK_DGRAM)
    asker.sendto(b"x", udp.getsockname())
    for fd in (client, asker):
        fd.settimeout(10)
    check((far.recv(4), client.recv(100), asker.recv(100)) == (b"tick", b"served", b"got"), "they do not work")
    end(s)


@scenario
def a_connection_that_was_dumped(s):
    """Not marked at dump: the lock that it left goes when another takes its place."""
    far, near = tcp_pair()
    program(s, "c = socket.socket(fileno=%d)\ndef loop(): c.send(b'tick')" % near.fileno(), pass_fds=[near.fileno()])
    name = "socket:[%d]" % os.fstat(near.fileno()).st_ino
    near.close()
    s.dump("--tcp-established")
    check(tables(), "the dump left no lock")
    new, ours = tcp_pair()
    s.restore(*given(ours.fileno(), name), pass_fds=[ours.fileno()])
    no_words(s)
    check(new.recv(4) == b"tick", "it does not work")
    check(not tables(), "left: %r" % tables())
    end(s)


def nonblock(path):
    flags = [x for x in text(path).splitlines() if x.startswith("flags")][0]
    return bool(int(flags.split()[1], 8) & os.O_NONBLOCK)


@scenario
def who_must_not_wait(s):
    """Descriptors of an event loop are replaced by ones that block, and the other way round: it goes on as it was."""
    r, w = os.pipe()
    (a, b), (far, near) = socket.socketpair(), tcp_pair()
    fds = [r, b.fileno(), near.fileno(), w]
    names = [os.readlink("/proc/self/fd/%d" % fd) for fd in fds]
    program(s, "n = 0\n[os.set_blocking(i, False) for i in %r]\ndef loop():\n for i in %r:\n"
               "  try:\n   while os.read(i, 100): pass\n  except BlockingIOError: pass\n"
               " os.write(%d, b'x')" % (fds[:3], fds[:3], w), pass_fds=fds)
    told = [x for n in names for x in ("--external", n)]
    s.dump(*told)
    r2, w2 = os.pipe()
    (a2, b2), (far2, near2) = socket.socketpair(), tcp_pair()
    ours = [r2, b2.fileno(), near2.fileno(), w2]
    os.set_blocking(w2, False)
    args = [x for g in zip(ours, names) for x in given(*g)]
    veto = s.script("veto", 'test "$CRTOOLS_SCRIPT_ACTION" != post-restore\n')
    s.restore(*args, "--action-script", veto, pass_fds=ours, ok=False)
    check(s.rc and "post-restore" in said(s), "no veto: " + said(s))
    kept = [nonblock("/proc/self/fdinfo/%d" % fd) for fd in ours]
    check(kept == [False, False, False, True], "a restore that failed leaves them %r" % kept)
    s.restore(*args, pass_fds=ours)
    no_words(s)
    now = [nonblock("/proc/%d/fdinfo/%d" % (s.pid, fd)) for fd in fds]
    check(now == [True, True, True, False], "they are %r" % now)
    check(wait_for(lambda: len(os.read(r2, 1)) == 1, 10), "it waits")
    check(nonblock("/proc/self/fdinfo/%d" % w2) and not nonblock("/proc/self/fdinfo/%d" % r2), "our own pipe has changed")
    end(s)


@scenario
def a_signal_for_its_owner(s):
    r, w = os.pipe()
    program(s, "import fcntl, signal\nsignal.signal(signal.SIGIO, lambda *a: open('told', 'w').close())\nr = %d\n"
               "fcntl.fcntl(r, fcntl.F_SETOWN, os.getpid())\nfcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\ndef loop(): pass" % r, pass_fds=[r])
    s.dump("--external", os.readlink("/proc/self/fd/%d" % r))
    r2, w2 = os.pipe()
    s.restore(*given(r2, os.readlink("/proc/self/fd/%d" % r)), pass_fds=[r2])
    os.write(w2, b"x")
    check(wait_for(lambda: os.path.exists(s.path("told")), 10), "no SIGIO")
    end(s)


@scenario
def no_false_words(s):
    """Who took what was handed in is not told that nobody did; who came too late is."""
    a, b = socket.socketpair()
    r, w = os.pipe()
    program(s, "k = socket.socket(fileno=%d)\ndef loop(): k.send(b'x'); os.write(%d, b'x')" % (b.fileno(), w), pass_fds=[b.fileno(), w])
    names = ["socket:[%d]" % os.fstat(b.fileno()).st_ino, "pipe:[%d]" % os.fstat(w).st_ino]
    s.dump("--external-lost", "close")
    ours = [b.fileno(), w]
    both = [x for g in zip(ours, names) for x in given(*g)]
    s.restore(*both, *both, pass_fds=ours)
    no_words(s)
    end(s)
    r2, w2 = os.pipe()
    s.restore(*both, *given(w2, names[1]), *given(r2, "tty[1:2]"), *given(r2, "socket:[1]"), pass_fds=ours + [w2, r2])
    s.kill()
    s.restore(*given(r2, "pipe:[1]"), pass_fds=[r2])
    check("pipe:[1]: nothing in the checkpoint has this name; there are %s\n" % ", ".join(names) in said(s), "no hint: " + said(s))
    s.kill()
    s.restore(*both, *given(w2, names[1]), *given(r2, "tty[1:2]"), *given(r2, "socket:[1]"), pass_fds=ours + [w2, r2])
    check("there are" not in said(s), "what is taken is offered: " + said(s))
    for words in ("fd[%d]:%s: fd[%d] has taken that place" % (w2, names[1], w), "tty[1:2]: nothing", "socket:[1]: nothing"):
        check(words in said(s), "no warning says %r: %s" % (words, said(s)))
    end(s)


@scenario
def no_file_at_all(s):
    open(s.path("old"), "w").close()
    program(s, "f = os.open('old', os.O_RDONLY)\ndef loop(): pass")
    s.dump()
    for wrong in (os.open(s.path("old"), os.O_PATH), os.open(s.dir, os.O_RDONLY), socket.socketpair()[0].detach(),
                  os.eventfd(0)):
        s.restore(*given(wrong, s.path("old")), pass_fds=[wrong], ok=False)
        check(s.rc and said(s).count("fd 3: --inherit-fd fd[%d]:%s: that descriptor is of another kind" % (wrong, s.path("old"))),
              "%s: %s" % (os.readlink("/proc/self/fd/%d" % wrong), said(s)))


@scenario
def numbers_at_the_limit(s):
    r, w = os.pipe()
    numbers = [0, 1, 3, 4, 5, 6, 7, 8, 62, 63]
    program(s, "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n[os.dup2(%d, i) for i in %r]\n"
               "def loop(): [os.write(i, b'%%d ' %% i) for i in %r]" % (w, numbers, numbers), pass_fds=[w])
    os.close(w)
    s.dump()
    for number in (0, 1, 2, 3, 63, 255, 1023):  # the last one under the limit, and every other one below it taken
        r2, w2 = os.pipe()
        os.dup2(w2, 1030)

        def limit(n=number):
            os.dup2(1030, n)
            for i in range(3, n, 2):
                os.dup2(0, i)
            os.closerange(1030, 1031)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(n + 1, 64), max(n + 1, 64)))
        s.restore(*given(number, "pipe:[%d]" % os.fstat(r).st_ino), preexec_fn=limit, close_fds=False)
        os.close(w2)
        os.close(1030)
        got = b""
        while b" 0 1 3 4 5 6 7 8 62 63 " not in got:  # it may have been dumped in the middle of them
            got += os.read(r2, 4096)
            check(len(got) < 10000, "%d: some have it not: %r" % (number, got[:100]))
        end(s)
        os.close(r2)


@scenario
def by_mount_and_inode_at_restore_alone(s):
    os.mkfifo(s.path("fifo"))
    start(s, COUNT, stdout=open(s.path("old"), "w"), stderr=os.open(s.path("fifo"), os.O_RDWR))
    keys = []
    for number, name in (1, "old"), (2, "fifo"):
        mount = [x.split()[1] for x in text("/proc/%d/fdinfo/%d" % (s.pid, number)).splitlines() if x.startswith("mnt_id")][0]
        keys.append("file[%x:%x]" % (int(mount), os.stat(s.path(name)).st_ino))
    s.dump()
    r, w = os.pipe2(0)
    both = os.open("/proc/self/fd/%d" % w, os.O_RDWR)
    with open(s.path("new"), "w") as new:
        s.restore(*given(new.fileno(), keys[0]), *given(both, keys[1]), pass_fds=[new.fileno(), both])
    no_words(s)
    check(wait_for(lambda: text(s.path("new")).count("\n") > 4, 10), "no lines in the new file")
    check(os.readlink("/proc/%d/fd/2" % s.pid) == os.readlink("/proc/self/fd/%d" % w), "another stderr")
    end(s)


MEMORY = """
import mmap, os
fd = os.memfd_create("a name")
os.write(fd, b"old" + bytes(4093))
map = mmap.mmap(fd, 4096)
said = None
def loop():
    global said
    seen = map[:3] + b" " + os.pread(fd, 3, 0)
    if seen == said and os.path.exists("seen"): return  # no file is open while nothing changes: the checkpoint is restored several times
    with open("seen.new", "wb") as f: f.write(seen)
    os.rename("seen.new", "seen")
    said = seen
"""


@scenario
def a_memfd(s):
    program(s, MEMORY)
    check(wait_for(lambda: text(s.path("seen")) == "old old"), "it sees %r" % text(s.path("seen")))
    s.dump()
    os.unlink(s.path("seen"))
    for name in ("/memfd:a name", "memfd:a name", "/memfd:a name (deleted)"):
        new = os.memfd_create("another")
        os.write(new, b"new" + bytes(4093))
        s.restore(*given(new, name), pass_fds=[new])
        no_words(s)
        check(wait_for(lambda: text(s.path("seen")) == "new new"), "%s: it sees %r" % (name, text(s.path("seen"))))
        os.pwrite(new, b"now", 0)
        check(wait_for(lambda: text(s.path("seen")) == "now now"), "%s: now it sees %r" % (name, text(s.path("seen"))))
        os.close(new)
        end(s)
        os.unlink(s.path("seen"))
    s.restore()
    check(wait_for(lambda: text(s.path("seen")) == "old old"), "without: it sees %r" % text(s.path("seen")))
    end(s)
    with open("/dev/null") as null:
        s.restore(*given(null.fileno(), "/memfd:a name"), pass_fds=[null.fileno()], ok=False)
    check(s.rc and "of another kind" in s.out + s.errors("restore.log"), s.errors("restore.log"))


@scenario
def a_marker(s):
    out = open(s.path("out"), "a")
    start(s, COUNT, stdout=out, stderr=subprocess.DEVNULL)
    check(wait_for(lambda: text(s.path("out")).count("\n") > 4), "no lines")
    s.dump()
    s.restore("--inherit-fd", "debug[%d]:here it was restored\n" % out.fileno(), pass_fds=[out.fileno()])
    check("here it was restored\n" in text(s.path("out")), "no marker")
    end(s)


own_network()
run_all()
