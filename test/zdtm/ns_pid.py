#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Pid namespaces of a tree's own, dumped from outside: numbers, programs as init, nested ones, and who else is in there.
# zdtm: driver
# zdtm: needs-root
import os
import random
import signal
import socket
import subprocess
import sys
import time

from case import first_of_new_pids
from driver import Failed, check, children, need, run_all, scenario, state_of, status_of, text, tree, wait_for


def start(s, *command, new=True, **kw):
    """The command is the init of a pid namespace, and leads a session in there."""
    s.new_ns = new
    with open(s.path("victim.out"), "a") as out, first_of_new_pids(new):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("start_new_session", True)
        s.proc = subprocess.Popen(command, stdout=kw.pop("stdout", out), stderr=kw.pop("stderr", out), cwd=s.dir, **kw)
    s.pid = s.proc.pid


def ns(pid):
    return os.readlink("/proc/%d/ns/pid" % pid)


def inner(pid):
    """All that the task's namespace says of a process: numbers of it, of its threads, its parent, group and session."""
    st = status_of("/proc/%d/status" % pid)
    tids = sorted(int(status_of("/proc/%d/task/%s/status" % (pid, t))["NSpid"].split()[-1])
                  for t in os.listdir("/proc/%d/task" % pid))
    up = status_of("/proc/%s/status" % st["PPid"]).get("NSpid", "0").split()[-1]
    return (st["Name"], tids, st["NStgid"].split()[-1], up, st["NSpgid"].split()[-1], st["NSsid"].split()[-1],
            "Z" if state_of(pid) == "Z" else "lives")


def numbers(s):
    """The tree as it is seen in its namespace; the parent of the root is outside."""
    rows = [list(inner(p)) for p in tree(s.pid)]
    rows[0][3] = "outside"
    return sorted(rows, key=lambda r: r[1])


def back(s, *opts):
    """Restores; the root has another number here, which the pidfile says."""
    pidfile = s.path("pid")
    if os.path.exists(pidfile):
        os.unlink(pidfile)
    s.restore("--pidfile", pidfile, *opts)
    s.pid = int(text(pidfile))


def rounds(s, *opts, again=lambda: None, n=3):
    """again(): what is asked of the program after each."""
    before = numbers(s)
    for i in range(n):
        s.dump(*opts)
        back(s, *opts)
        check(ns(s.pid) != ns(os.getpid()) and len({ns(p) for p in tree(s.pid)}) == 1, "round %d: namespaces" % i)
        wait_for(lambda: numbers(s) == before)
        now = numbers(s)
        check(now == before, "round %d: %r was %r" % (i, now, before))
        again()
        s.clean_images()


def names(s, *comms):
    """Until the tree consists of these."""
    check(wait_for(lambda: sorted(text("/proc/%d/comm" % p).strip() for p in tree(s.pid)) == sorted(comms)),
          "the tree is not there: %r, %s" % ([text("/proc/%d/comm" % p) for p in tree(s.pid)], text(s.path("victim.out"))))


def end(s):
    """The end of the init is the end of all."""
    pids = tree(s.pid)
    os.kill(s.pid, signal.SIGKILL)
    for p in pids:
        s.gone(p)


@scenario
def shell(s):
    """Jobs, a pipeline, sessions, a zombie, an orphan that came to the init, and numbers that have been used."""
    need("bash", "setsid")
    start(s, "bash", "-c", "sleep 0; sleep 1000 & set -m; sleep 1001 | sleep 1002 & set +m; setsid sleep 1003 & "
          "sh -c 'sleep 0 & exec sleep 1004' & (setsid sh -c 'sleep 1005 & exec sleep 1006' &); echo $BASHPID > ready; wait")
    names(s, "bash", *["sleep"] * 8)
    wait_for(lambda: any(r[-1] == "Z" for r in numbers(s)))
    rounds(s)
    end(s)


@scenario
def multiprocessing(s):
    """Its workers answer, and it starts others."""
    with open(s.path("pool.py"), "w") as f:
        f.write("import multiprocessing as m, os, sys\n"
                "def f(x): return x * x, os.getpid(), os.getppid()\n"
                "if __name__ == '__main__':\n"
                "    with m.Pool(3) as p:\n"
                "        for line in sys.stdin:\n"
                "            q = p.map(f, range(9))\n"
                "            e = m.Process(target=int)\n"
                "            e.start(); e.join()\n"
                "            print(os.getpid(), [x[0] for x in q], {x[2] for x in q}, e.exitcode, flush=True)\n")
    os.mkfifo(s.path("ask"))
    ask = os.open(s.path("ask"), os.O_RDWR)
    inp, out = os.open(s.path("ask"), os.O_RDONLY), open(s.path("out"), "a")
    start(s, sys.executable, s.path("pool.py"), stdin=inp, stdout=out)
    os.close(inp)
    answers = []

    def again():
        os.write(ask, b"\n")
        answers.append(0)
        check(wait_for(lambda: text(s.path("out")).count("\n") == len(answers)), "no answer: " + text(s.path("victim.out")))
        said = text(s.path("out")).splitlines()[-1]
        check(said == "1 %s {1} 0" % [x * x for x in range(9)], "it says: " + said)
    again()
    wait_for(lambda: len(tree(s.pid)) == 4 and all(state_of(p) == "S" for p in tree(s.pid)))
    rounds(s, again=again)
    os.close(ask)
    end(s)


@scenario
def redis(s):
    need("redis-server", "redis-cli")
    sock = s.path("r.sock")
    start(s, "redis-server", "--port", "0", "--unixsocket", sock, "--save", "", "--dir", s.dir)

    def cli(*words):
        return subprocess.run(["redis-cli", "-s", sock, *words], capture_output=True, text=True).stdout.strip()
    check(wait_for(lambda: cli("ping") == "PONG"), text(s.path("victim.out")))
    cli("set", "a", "0")
    count = []

    def again():
        count.append(0)
        check(cli("incr", "a") == str(len(count)), "it has %s" % cli("get", "a"))
        check("process_id:1\r" in cli("info", "server") + "\r" or "process_id:1\n" in cli("info", "server"), "its pid")
    rounds(s, again=again)
    end(s)


@scenario
def nginx(s):
    """A master with its workers; it starts another when one is killed, as before."""
    need("nginx")
    with open(s.path("conf"), "w") as f:
        f.write("daemon off; pid %s; error_log stderr; worker_processes 2; events {}\nhttp { access_log off; client_body_temp_path %s; "
                "proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s; "
                "server { listen unix:%s; return 200 \"here $pid\\n\"; } }\n" %
                (s.path("nginx.pid"), *[s.path("t%d" % i) for i in range(5)], s.path("n.sock")))
    start(s, "nginx", "-c", s.path("conf"), "-p", s.dir)

    def ask():
        with socket.socket(socket.AF_UNIX) as c:
            try:
                c.connect(s.path("n.sock"))
                c.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return c.makefile("rb").read().decode().rpartition("here ")[2].strip()
            except OSError:
                return ""
    check(wait_for(ask), text(s.path("victim.out")))
    wait_for(lambda: len(children(s.pid)) == 2)

    def again():
        check(wait_for(lambda: ask() in ("2", "3")), "it answers %r" % ask())
        check(text(s.path("nginx.pid")) == "1\n", "its pid file: " + text(s.path("nginx.pid")))
    again()
    rounds(s, again=again)
    os.kill(children(s.pid)[0], signal.SIGKILL)
    check(wait_for(lambda: len(children(s.pid)) == 2 and all(state_of(p) == "S" for p in children(s.pid))), "no new worker")
    end(s)


@scenario
def scripts(s):
    """The number of outside is what action scripts and the pidfile get."""
    start(s, "sleep", "1000")
    names(s, "sleep")
    hook = s.script("hook", 'echo "$CRTOOLS_SCRIPT_ACTION $CRTOOLS_INIT_PID" >> %s\n' % s.path("stages"))
    s.dump("--action-script", hook)
    back(s, "--action-script", hook)
    said = [line.split() for line in text(s.path("stages")).splitlines()]
    check([w[1] for w in said if w[0] == "post-restore"] == [str(s.pid)], "scripts were told %r, root %d" % (said, s.pid))
    end(s)


@scenario
def strangers(s):
    """Who has entered from outside would die with the init: refused by name, a warning where the tree lives on."""
    need("nsenter")
    start(s, "sleep", "1000")
    names(s, "sleep")
    for inside in (["sleep", "1001"], ["unshare", "-p", "--fork", "sleep", "1001"]):
        other = subprocess.Popen(["nsenter", "-t", str(s.pid), "-p", *inside], start_new_session=True)
        check(wait_for(lambda: any(text("/proc/%d/comm" % p) == "sleep\n" for p in tree(other.pid))), "nobody entered")
        check(s.dump(ok=False) and "and would be killed with the namespace" in s.errors("dump.log"), s.errors("dump.log"))
        check("(sleep): is in the tree's pid namespace" in s.errors("dump.log"), s.errors("dump.log"))
        s.dump("--leave-running")
        check("it is not in the checkpoint" in text(os.path.join(s.imgs, "dump.log")), "no warning")
        os.kill(tree(other.pid)[-1], signal.SIGKILL)  # those that wait for it end, too
        other.wait()
        s.clean_images()
    rounds(s, n=1)
    end(s)


@scenario
def not_the_init(s):
    """A process in the middle of a namespace."""
    start(s, "bash", "-c", "sleep 1000 & wait")
    names(s, "bash", "sleep")
    init, s.pid = s.pid, children(s.pid)[0]
    check(s.dump(ok=False) and "is number 2 in a pid namespace that is not criu's" in s.errors("dump.log"), s.errors("dump.log"))
    s.pid = init
    rounds(s, n=1)
    end(s)


@scenario
def from_inside(s):
    """criu in the namespace cannot end its init, and says so; it can dump it."""
    need("nsenter", "unshare", "setsid")
    start(s, "unshare", "-fp", "--mount-proc", "setsid", "sleep", "1000", new=False)
    names(s, "unshare", "sleep")
    init = str(children(s.pid)[0])
    for opts in ([], ["--leave-running"]):
        p = subprocess.run(["nsenter", "-t", init, "-p", "-m", s.criu, "dump", "-t", "1", "-D", s.imgs, "-o", "dump.log", *opts],
                           capture_output=True, text=True)
        check((p.returncode == 0) == bool(opts), "dump %s ended with %d: %s" % (opts, p.returncode, p.stderr))
        check(opts or "and only a process outside of that can end it" in s.errors("dump.log"), s.errors("dump.log"))
    s.kill()


@scenario
def entered_and_left(s):
    """It entered with a session from outside, and its parent is gone: it is the init's now."""
    need("nsenter")
    start(s, "sleep", "1000")
    names(s, "sleep")
    subprocess.run(["nsenter", "-t", str(s.pid), "-p", "sh", "-c", "sleep 1001 >/dev/null 2>&1 & true"])
    names(s, "sleep", "sleep")
    check(s.dump(ok=False) and "it has entered the namespace from outside" in s.errors("dump.log"), s.errors("dump.log"))
    subprocess.run(["nsenter", "-t", str(s.pid), "-p", "setsid", "sh", "-c", "sleep 1002 >/dev/null 2>&1 & true"])
    names(s, "sleep", "sleep", "sleep")
    for p in children(s.pid):
        if inner(p)[5] == "0":
            os.kill(p, signal.SIGKILL)
    wait_for(lambda: any(state_of(p) == "Z" for p in children(s.pid)))
    rounds(s)
    end(s)


@scenario
def failing(s):
    """A restore that fails late leaves nothing, and the next one is as good."""
    start(s, "bash", "-c", "sleep 1000 & sleep 1001 & wait")
    names(s, "bash", "sleep", "sleep")
    s.dump()
    s.proc = None
    s.script("hook", '[ "$CRTOOLS_SCRIPT_ACTION" != pre-resume ] || { echo $CRTOOLS_INIT_PID > %s; exit 1; }\n' % s.path("was"))
    began = time.monotonic()
    check(s.restore("--action-script", s.path("hook"), ok=False), "it did not fail")
    check(time.monotonic() - began < 8, "it took %d s to end" % (time.monotonic() - began))
    s.gone(int(text(s.path("was"))))
    back(s)
    names(s, "bash", "sleep", "sleep")
    end(s)


def levels(s):
    """Each process by all its numbers from the root's namespace on, and where its children are born."""
    spaces = []

    def space(path):
        try:
            return spaces.index(os.readlink(path))
        except ValueError:
            spaces.append(os.readlink(path))
            return len(spaces) - 1
        except FileNotFoundError:
            return "none yet" if os.path.exists(os.path.dirname(path) + "/pid") else "-"

    def row(p):
        st = status_of("/proc/%d/status" % p)
        return [st["Name"], "Z" if state_of(p) == "Z" else "lives", [st[k].split() for k in ("NSpid", "NSpgid", "NSsid")],
                space("/proc/%d/ns/pid" % p), space("/proc/%d/ns/pid_for_children" % p)]
    return [row(p) for p in tree(s.pid)]


def nested_rounds(s, *comms):
    names(s, *comms)
    wait_for(lambda: all(state_of(p) in "SZ" for p in tree(s.pid)))
    before = levels(s)
    for i in range(3):
        s.dump()
        s.restore()
        wait_for(lambda: levels(s) == before)
        check(levels(s) == before, "round %d: %r was %r" % (i, levels(s), before))
        s.clean_images()
    return before


@scenario
def init_killed(s):
    """The init is killed at any instant of a dump: criu ends soon, though the init waits for tasks that criu traces."""
    rng, statuses = random.Random(12), set()
    for n in range(12):
        start(s, "sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000 & wait")
        check(wait_for(lambda: len(tree(s.pid)) == 4), "no tree")
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "-R"], stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.03)
        s.proc.kill()
        try:
            statuses.add(p.wait(60))
        except subprocess.TimeoutExpired:
            p.kill()
            raise Failed("round %d: criu does not end: %s" % (n, s.errors("dump.log")))
        check(s.proc.wait(60) == -signal.SIGKILL, "round %d: the init" % n)
    check(statuses <= {0, 1}, "criu ended with %r" % statuses)
    s.proc = None


@scenario
def proc_files(s):
    """Files in a /proc of the namespace, and in criu's, seen by a task that has other numbers there."""
    need("unshare", "mount", "bash")
    start(s, "bash", "-c", "exec 7</proc/self/status; cd /proc/self; sleep 1000 & wait")
    names(s, "bash", "sleep")

    def same(what):
        for fd in ("fd/7", "cwd"):
            link = os.readlink("/proc/%d/%s" % (s.pid, fd))
            check(link.split("/")[2] == what(s.pid), "%s is %s, the root is %d" % (fd, link, s.pid))
        said = text("/proc/%d/fd/7" % s.pid)
        check("\nPid:\t%s\n" % what(s.pid) in said, "fd 7 says %s" % said[:200])
    same(str)
    rounds(s, again=lambda: same(str))
    end(s)
    start(s, "unshare", "-m", "bash", "-c", "mount -t proc proc /proc; exec 7</proc/self/status; cd /proc/1; sleep 1000 & wait")
    names(s, "bash", "sleep")
    same(lambda pid: "1")
    rounds(s, again=lambda: same(lambda pid: "1"))
    end(s)


@scenario
def nested(s):
    """Three levels, with sessions, jobs, a zombie, and a second namespace beside; the root is where criu is."""
    need("unshare", "setsid", "bash")
    inner = "sleep 1001 & setsid sleep 1002 & sh -c \"sleep 0 & exec sleep 1003\" & wait"
    middle = "set -m; sleep 1004 & unshare -fp bash -c '%s' & set +m; wait" % inner.replace("'", "")
    start(s, "bash", "-c", "unshare -fp bash -c \"$0\" & set -m; unshare -fp sleep 1005 & set +m; wait; wait", middle, new=False)
    rows = nested_rounds(s, *["bash"] * 3, *["unshare"] * 3, *["sleep"] * 6)
    check(sorted({r[3] for r in rows}) == [0, 1, 2, 3] or len({r[3] for r in rows}) == 4, "namespaces: %r" % rows)
    s.kill()


@scenario
def nested_below_an_init(s):
    """The root itself is an init, and has another number here each time."""
    need("unshare")
    start(s, "sh", "-c", "unshare -fp sh -c 'sleep 1000 & sleep 1001; :' ; :")
    names(s, "sh", "unshare", "sh", "sleep", "sleep")
    before = [[r[0], [n[1:] for n in r[2]]] for r in levels(s)]
    for i in range(3):
        s.dump()
        back(s)
        now = [[r[0], [n[1:] for n in r[2]]] for r in levels(s)]
        check(now == before, "round %d: %r was %r" % (i, now, before))
        s.clean_images()
    end(s)


@scenario
def first_child(s):
    """unshare(2) without a child yet: the next is the first of a namespace."""
    need("unshare")
    os.mkfifo(s.path("go"))
    start(s, "unshare", "-p", "bash", "-c", "exec 9<>go; read -u 9; sh -c 'echo $$ > first'; read -u 9", new=False)
    nested_rounds(s, "bash")
    with open(s.path("go"), "w") as f:
        f.write("go\n")
    check(wait_for(lambda: text(s.path("first")).strip().isdigit()) and text(s.path("first")) == "1\n",
          "its first child is number " + text(s.path("first")))
    s.kill()


@scenario
def later_child(s):
    """After a restore its next child is born where the others are: number 2 there."""
    need("unshare", "bash")
    os.mkfifo(s.path("go"))
    start(s, "unshare", "-p", "bash", "-c", "exec 9<>go; sleep 1000 & read -u 9; sh -c 'echo $$ > next'; read -u 9", new=False)
    nested_rounds(s, "bash", "sleep")
    with open(s.path("go"), "w") as f:
        f.write("go\n")
    check(wait_for(lambda: text(s.path("next")).strip().isdigit()) and int(text(s.path("next"))) >= 2,
          "its next child is number " + text(s.path("next")))
    s.kill()


@scenario
def entered_inside(s):
    """A namespace of the tree that another process of the tree has entered: refused by name."""
    need("unshare", "nsenter", "bash")
    start(s, "bash", "-c", "unshare -fp sleep 1000 & while ! i=$(cat /proc/$!/task/$!/children) || [ -z \"$i\" ]; do :; done; "
          "nsenter -t ${i% } -p sleep 1001 & wait; wait", new=False)
    names(s, "bash", "unshare", "sleep", "nsenter", "sleep")
    check(s.dump(ok=False) and "and was not born in it as its init or below that one (nsenter)" in s.errors("dump.log"),
          s.errors("dump.log"))
    s.kill()


@scenario
def gone_namespace(s):
    """The init of the namespace for its children has ended: nothing can be born there, and nothing makes it again."""
    need("unshare")
    start(s, "unshare", "-p", "bash", "-c", "sleep 0; exec 9<>/dev/null; exec sleep 1000", new=False)
    names(s, "sleep")
    check(s.dump(ok=False) and "in a pid namespace that no task of the tree lives in" in s.errors("dump.log"),
          s.errors("dump.log"))
    s.kill()


if __name__ == "__main__":
    try:
        run_all()
    except Failed as e:
        print(e)
        sys.exit(1)
