#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# IPC and network namespaces of an ordinary user's trees, with what is in them, by that user's criu.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs setcap setpriv unshare ip
import ast
import os
import subprocess

from driver import check, children, need, run_all, scenario, state_of, status_of, text, tree, wait_for
from rootless import ALONE, look, subordinates, user, users_processes, with_capability

PROGRAM = r"""
import ctypes, os, signal, socket, struct, subprocess, sys, time
kinds = sys.argv[1].split(",")
libc = ctypes.CDLL(None, use_errno=True)
def ok(n):
    if n == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return n
def put(path, value):
    with open("/proc/sys/" + path, "w") as f:
        f.write(value)
def get(path):
    with open("/proc/sys/" + path) as f:
        return f.read().split()
libc.shmat.restype = ctypes.c_void_p
if "ipc" in kinds:
    put("kernel/shm_next_id", "77"); put("kernel/sem_next_id", "78"); put("kernel/msg_next_id", "79")
    shm = ok(libc.shmget(0x1234, 8192, 0o1600)); loose = ok(libc.shmget(0x1235, 4096, 0o1640))
    sem = ok(libc.semget(0x1234, 3, 0o1600)); msg = ok(libc.msgget(0x1234, 0o1600))
    at = ctypes.c_void_p(libc.shmat(shm, None, 0)); ctypes.memmove(at, b"segment", 7)
    other = ctypes.c_void_p(libc.shmat(loose, None, 0)); ctypes.memmove(other, b"loose", 5); libc.shmdt(other)
    ok(libc.semctl(sem, 1, 16, ctypes.c_int(5)))
    ok(libc.msgsnd(msg, struct.pack("@l", 3) + b"message", 7, 0))
    put("kernel/msgmax", "4097"); put("kernel/shmall", "12345"); put("fs/mqueue/msg_max", "13")
    rt = ctypes.CDLL("librt.so.1", use_errno=True)
    held = ok(rt.mq_open(b"/held", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600, None)); ok(rt.mq_send(held, b"held", 4, 2))
    gone = ok(rt.mq_open(b"/left", os.O_RDWR | os.O_CREAT, 0o640, None)); ok(rt.mq_send(gone, b"left", 4, 1)); os.close(gone)
if "net" in kinds:
    subprocess.check_call(["ip", "link", "set", "lo", "up"]); subprocess.check_call(["ip", "addr", "add", "10.1.2.3/32", "dev", "lo"])
    put("net/ipv4/ip_forward", "1"); put("net/core/somaxconn", "99"); put("net/ipv4/conf/lo/rp_filter", "2")
    tcp = socket.socket(); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7); tcp.bind(("127.0.0.1", 81)); tcp.listen(3)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("10.1.2.3", 82)); udp.connect(("10.1.2.3", 82)); udp.send(b"queued")
    six = socket.socket(socket.AF_INET6); six.bind(("::1", 83)); six.listen()
    abstract = socket.socket(socket.AF_UNIX); abstract.bind("\0rootless"); abstract.listen()
    if os.path.exists("sock"):
        os.unlink("sock")
    named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); named.bind("sock")
    pair = socket.socketpair(); pair[0].send(b"pair")
if "tcp" in kinds:
    near = socket.create_connection(("127.0.0.1", 81)); far = tcp.accept()[0]; near.send(b"on its way")
if "sub" in kinds:
    os.setegid(7); os.seteuid(8)
    ok(libc.shmget(0x77, 4096, 0o1644)); ok(libc.semget(0x77, 1, 0o1644)); ok(libc.msgget(0x77, 0o1644))
    os.close(ok(rt.mq_open(b"/sub", os.O_RDWR | os.O_CREAT, 0o644, None)))
    sub = socket.socket(); sub.bind(("127.0.0.1", 8077)); sub.listen(); subs = socket.socketpair()
    subnamed = socket.socket(socket.AF_UNIX); subnamed.bind("subsock" if "subsock" in kinds else "\0sub"); subnamed.listen()
    os.seteuid(0); os.setegid(0)
if "mnt" in kinds:
    def mount(source, at, kind, flags, data):
        os.path.isdir(at) or os.path.isfile(at) or os.mkdir(at)
        ok(libc.mount(source, at.encode(), kind, ctypes.c_ulong(flags), data))
    mount(b"mine", "tmp", b"tmpfs", 2 | 4, b"mode=750,size=1m")
    os.mkdir("tmp/d", 0o2711); os.symlink("to", "tmp/link"); os.chmod("tmp/d", 0o2711)
    with open("tmp/d/f", "w") as f:
        f.truncate(70000); f.write("contents")
    os.link("tmp/d/f", "tmp/hard"); os.utime("tmp/hard", (1000, 2000)); os.chmod("tmp/hard", 0o640)
    inside = open("tmp/d/open", "w+"); inside.write("open"); inside.flush()
    deleted = open("tmp/deleted", "w+"); deleted.write("deleted"); deleted.flush(); os.unlink("tmp/deleted")
    there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); there.bind("tmp/sock")
    open("file", "w").close(); open("other", "w").close()
    mount(b"/dev/null", "file", None, 4096, None); mount(b"other", "other", None, 4096, None)
    ok(libc.mount(None, b"other", None, ctypes.c_ulong(4096 | 32 | 1), None))
    mount(b"tmp/d", "bound", None, 4096, None)
    mount(b"pts", "pts", b"devpts", 0, b"newinstance,ptmxmode=0666,mode=620"); mount(b"q", "q", b"mqueue", 0, None) if "ipc" in kinds else None
    # On a place that is covered then, with something on the cover.
    mount(b"one", "cover", b"tmpfs", 0, None); open("cover/under", "w").close(); mount(b"two", "cover", b"tmpfs", 0, None)
    os.mkdir("cover/deep"); mount(b"three", "cover/deep", b"tmpfs", 1, None)
child = os.fork()
if not child:
    while True: time.sleep(100)
def list_of(path, *columns):
    with open(path) as f:
        return sorted(" ".join(line.split()[n] for n in columns) for line in f)
def look():
    said = [os.getpid(), os.getuid(), child]
    if "ipc" in kinds:
        out = ctypes.create_string_buffer(8192); prio = ctypes.c_uint()
        said += [ctypes.string_at(at, 7), shm, loose, sem, msg, ok(libc.semctl(sem, 1, 12)), list_of("/proc/sysvipc/shm", 0, 1, 2, 3, 6, 7, 8, 9, 10),
                 list_of("/proc/sysvipc/sem", *range(8)), list_of("/proc/sysvipc/msg", 0, 1, 2, 3, 4, 7, 8, 9, 10), get("kernel/msgmax"), get("kernel/shmall"), get("fs/mqueue/msg_max")]
        other = ctypes.c_void_p(ok(libc.shmat(loose, None, 0))); said += [ctypes.string_at(other, 5)]; libc.shmdt(other)
        for name, mode in (b"/held", os.O_RDWR), (b"/left", os.O_RDWR):
            q = ok(rt.mq_open(name, mode)); n = ok(rt.mq_receive(q, out, 8192, ctypes.byref(prio)))
            st = os.fstat(q); said += [out.raw[:n], prio.value, st.st_uid, st.st_gid, st.st_mode]
            ok(rt.mq_send(q, out, n, prio)); os.close(q)
    if "net" in kinds:
        one = socket.create_connection(("127.0.0.1", 81)); two = tcp.accept()[0]; one.send(b"tcp"); said += [two.recv(9)]; one.close(); two.close()
        one = socket.create_connection(("::1", 83)); one.close(); six.accept()[0].close()
        one = socket.socket(socket.AF_UNIX); one.connect("\0rootless"); one.close(); abstract.accept()[0].close()
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); one.sendto(b"named", "sock"); said += [named.recv(9)]; one.close()
        said += [udp.recv(9), pair[1].recv(9), tcp.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)]
        said += [struct.unpack("@iII", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)) for s in (pair[0], pair[1])]
        said += [os.stat("sock").st_uid, os.stat("sock").st_gid, os.fstat(tcp.fileno()).st_uid, os.fstat(named.fileno()).st_uid]
        udp.send(b"queued"); pair[0].send(b"pair")
        said += [get("net/ipv4/ip_forward"), get("net/core/somaxconn"), get("net/ipv4/conf/lo/rp_filter"),
                 subprocess.check_output(["ip", "-j", "addr"]), subprocess.check_output(["ip", "-j", "route", "show", "table", "all"])]
    if "sub" in kinds:
        q = ok(rt.mq_open(b"/sub", os.O_RDWR)); st = [os.fstat(q), os.fstat(sub.fileno())]; os.close(q)
        said += [(a.st_uid, a.st_gid) for a in st] + [struct.unpack("@iII", a.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)) for a in (*subs, subnamed)]
    if "mnt" in kinds:
        with open("/proc/self/mountinfo") as f:
            said += [sorted(" ".join(line.split()[3:]) for line in f)]
        st = os.stat("tmp/hard"); inside.seek(0); deleted.seek(0)
        said += [sorted(os.listdir("tmp")), os.listdir("cover"), sorted(os.listdir("bound")), os.readlink("tmp/link"), st.st_mode, st.st_nlink, st.st_mtime, st.st_uid,
                 st.st_gid, oct(os.stat("tmp/d").st_mode), open("tmp/hard").read().strip("\0"), st.st_blocks < 40, inside.read(), deleted.read(),
                 os.listdir("/proc/%d/fd" % os.getpid()) != [], os.stat("file").st_rdev, os.listdir("pts")]
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); one.sendto(b"there", "tmp/sock"); said += [there.recv(9)]; one.close()
    if "tcp" in kinds:
        said += [far.recv(99)]; far.send(b"back"); said += [near.recv(99)]; near.send(b"on its way")
    return said
n = 0
while True:
    try:
        os.stat("ask")
        try:
            said = repr(look())
        except Exception as e:
            said = "failed: %r" % e
        with open("said.new", "w") as f:
            f.write(said)
        os.unlink("ask"); os.rename("said.new", "said")
    except FileNotFoundError:
        pass
    time.sleep(0.02)
"""


def says(s):
    if os.path.exists(s.path("said")):
        os.unlink(s.path("said"))
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("said"))), "it says nothing (%s): %s" % (
        {p: (state_of(p), text("/proc/%d/wchan" % p)) for p in tree(s.pid or s.proc.pid)}, text(s.path("victim.out"))))
    said = text(s.path("said"))
    check("failed" not in said, "it says %s" % said)
    return said


def compare(s, said, when):
    now = says(s)
    pairs = list(zip(ast.literal_eval(now), ast.literal_eval(said)))
    check(now == said, "%s: it says %s" % (when, "; ".join("%r, not %r" % p for p in pairs if p[0] != p[1])))


def start(s, how, kinds):
    s.tool_path = with_capability(s)
    for d in s.dir, s.imgs:
        os.chmod(d, 0o777)
    with open(s.path("program.py"), "w") as f:
        f.write(PROGRAM)
    with open(s.path("victim.out"), "a") as out:
        os.chmod(s.path("victim.out"), 0o666)
        s.proc = subprocess.Popen([*ALONE, "unshare", *how, "setsid", "python3", "program.py", kinds], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, start_new_session=True)
    said = says(s)
    s.pid = children(s.proc.pid)[0]
    return said


def rounds(s, said, *opts):
    before = look(s)
    for n in range(3):
        pids = tree(s.pid)
        check(user(s, "dump", "-t", s.pid, *opts), "dump: " + s.errors("dump.log"))
        check("Error" not in text(s.path("imgs/dump.log")), s.errors("dump.log"))
        for p in pids:
            s.gone(p)
        s.proc = None
        for again in range(2):
            pidfile = s.path("pid%d%d" % (n, again))
            check(user(s, "restore", "-d", "--pidfile", pidfile, *opts), "restore: " + s.errors("restore.log"))
            s.pid = int(text(pidfile))
            compare(s, said, "round %d" % n)
            check(look(s) == before, "it is %r, was %r" % (look(s), before))
            if not again:
                s.kill()
    s.kill()


@scenario
def ipc(s):
    rounds(s, start(s, ["-Urpfi"], "ipc"))


@scenario
def net(s):
    rounds(s, start(s, ["-Urpfn"], "net"))


@scenario
def both(s):
    rounds(s, start(s, ["-UrpfniuC"], "ipc,net"))


@scenario
def connections(s):
    rounds(s, start(s, ["-Urpfn"], "net,tcp"), "--tcp-established")


@scenario
def subordinate_ids(s):
    """What belongs to others than the user."""
    with subordinates(s) as maps:
        said = start(s, ["-Upfni", *maps], "ipc,net,sub,subsock")
        check(not user(s, "dump", "-t", s.pid) and "subsock, or its folder, is one to which criu may not write" in s.errors("dump.log"), s.errors("dump.log"))
        compare(s, said, "refused")
        s.kill()
        said = start(s, ["-Upfni", *maps], "ipc,net,sub")
        check("(8, 7), (8, 7)" in said and "(1, 8, 7)" in said, said)
        rounds(s, said)


@scenario
def refused_files(s):
    """A tmpfs with what takes root."""
    said = start(s, ["-Urpfm", "--mount-proc"], "mnt")
    subprocess.run(["nsenter", "-t", str(s.pid), "-U", "-m", "-S", "0", "setcap", "cap_net_raw+ep", s.path("tmp/d/f")], check=True)
    check(not user(s, "dump", "-t", s.pid) and "f (inode" in s.errors("dump.log") and "security.*" in s.errors("dump.log"), s.errors("dump.log"))
    compare(s, said, "refused")
    s.kill()


@scenario
def mounts(s):
    rounds(s, start(s, ["-Urpfm", "--mount-proc"], "mnt"))


@scenario
def everything(s):
    rounds(s, start(s, ["-UrpfmniuC", "--mount-proc"], "ipc,net,tcp,mnt"), "--tcp-established")


@scenario
def killed(s):
    """At each fault point: restores leave nothing, dumps leave the tree."""
    said = start(s, ["-UrpfmniuC", "--mount-proc"], "ipc,net,tcp,mnt")
    mounts, points = text("/proc/self/mountinfo"), {"dump": 0, "restore": 0}
    while not user(s, "dump", "-t", s.pid, "--tcp-established", "--test-kill-at", points["dump"] + 1):
        points["dump"] += 1
        check(s.rc == -9, "dump, point %d: %d, %s" % (points["dump"], s.rc, s.errors("dump.log")))
        if state_of(s.pid) in ("gone", "Z"):  # after the commit
            break
        compare(s, said, "dump killed at %d" % points["dump"])
    s.gone()
    s.proc.wait()
    s.proc = None
    while not user(s, "restore", "-d", "--tcp-established", "--test-kill-at", points["restore"] + 1):
        points["restore"] += 1
        check(s.rc == -9, "restore, point %d: %d, %s" % (points["restore"], s.rc, s.errors("restore.log")))
        if not wait_for(lambda: not users_processes(), 5):  # after the commit: then it lives
            break
    check(min(points.values()) > 5 and text("/proc/self/mountinfo") == mounts, "%s, or mounts are left" % points)
    s.pid = [int(p) for p in users_processes() if status_of("/proc/%s/status" % p)["NSpid"].split()[-1] == "1"][0]
    compare(s, said, "after all")
    s.kill()


def answer(s):
    got = []
    command = ["nsenter", "-t", str(s.pid), "-n", "python3", "-c", "from urllib.request import urlopen as u; print(u('http://127.0.0.1:8000/page').read())"]

    def ask():
        got[:] = [subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout]
        return "served" in got[0]
    check(wait_for(ask), "no answer: %s" % got)
    return got[0]


def look_inside(s):
    """Mounts, and what is in the root and in the sandbox's own file systems."""
    root = "/proc/%d/root" % s.pid
    places = [d for d in ("/", "/dev/", "/tmp/", "/tmp/bound/") if os.path.isdir(root + d) and (d != "/dev/" or os.path.ismount(root + d + "null"))]
    return [sorted(" ".join(line.split()[3:]) for line in text("/proc/%d/mountinfo" % s.pid).splitlines()),
            [(d, n, os.lstat(root + d + n).st_mode, os.lstat(root + d + n).st_uid) for d in places for n in sorted(os.listdir(root + d))]]


def sandbox(s, *options, own=("--dev", "/dev", "--tmpfs", "/tmp"), rounds_of_it=3):
    """Of bubblewrap's, with a server."""
    need("bwrap")
    s.tool_path = with_capability(s)
    for d in s.dir, s.imgs:
        os.chmod(d, 0o777)
    with open(s.path("bwrap.out"), "w") as out:
        os.chmod(s.path("bwrap.out"), 0o666)
        s.proc = subprocess.Popen([*ALONE, "bwrap", *options, "--proc", "/proc", *own, "--unshare-all", "sh", "-c",
                                   "mkdir /tmp/www; cd /tmp/www; echo served > page; exec python3 -m http.server --bind 127.0.0.1"],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        check(wait_for(lambda: children(s.proc.pid) and children(children(s.proc.pid)[0])), text(s.path("bwrap.out")))
    s.pid = children(s.proc.pid)[0]
    said, before = answer(s), look_inside(s)
    for n in range(rounds_of_it):
        check(user(s, "dump", "-t", s.pid, "-j"), "dump: " + s.errors("dump.log"))
        if s.proc:
            s.proc.wait()
        s.proc = None
        for again in range(2):
            pidfile = s.path("pid%d%d" % (n, again))
            check(user(s, "restore", "-d", "-j", "--pidfile", pidfile), "restore: " + s.errors("restore.log"))
            s.pid = int(text(pidfile))
            check(answer(s) == said and look_inside(s) == before, "%s, %s; it was %s" % (answer(s), look_inside(s), before))
            if not again:
                s.kill()
    s.kill()


@scenario
def sandbox_of_all(s):
    sandbox(s, "--ro-bind", "/", "/")


@scenario
def sandbox_with_a_bind(s):
    """Of a directory that another mount of the sandbox hides. Nobody is root there, and so nobody sets limits of IPC."""
    os.mkdir(s.path("bound"))
    open(s.path("bound/file"), "w").close()
    check(s.dir.startswith("/tmp/"), s.dir)
    sandbox(s, "--dev-bind", "/", "/", own=("--tmpfs", "/tmp", "--bind", s.path("bound"), "/tmp/bound"), rounds_of_it=1)


@scenario
def sandbox_with_a_root(s):
    """Nothing in it is locked."""
    links = [a for n in ("lib", "lib64", "bin") if os.path.islink("/" + n) for a in ("--symlink", "usr/" + n, "/" + n)]
    sandbox(s, "--ro-bind", "/usr", "/usr", *links, "--ro-bind", "/etc/passwd", "/etc/passwd")


run_all()
