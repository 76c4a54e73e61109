#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --inherit-fd: descriptors of the tool's in the place of pipes and files of the checkpoint, and every way of getting it wrong.
# zdtm: driver
import os
import signal
import subprocess

from driver import check, reap, run_all, scenario, state_of, text, wait_for

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


@scenario
def a_marker(s):
    out = open(s.path("out"), "a")
    start(s, COUNT, stdout=out, stderr=subprocess.DEVNULL)
    check(wait_for(lambda: text(s.path("out")).count("\n") > 4), "no lines")
    s.dump()
    s.restore("--inherit-fd", "debug[%d]:here it was restored" % out.fileno(), pass_fds=[out.fileno()])
    check("here it was restored\n" in text(s.path("out")), "no marker")
    end(s)


run_all()
