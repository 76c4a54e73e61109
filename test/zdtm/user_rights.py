#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An ordinary user's criu, whose file has capabilities: what it can restore, it dumps; what it cannot restore afterwards, it refuses
# to dump, or warns of where the program lives on. The victim runs on after each refusal.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs setcap setpriv
import os
import re
import shutil
import subprocess
import sys

from case import Skipped
from driver import TOP, check, run_all, scenario, status_of, text, wait_for

USER = 1234
ALONE = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--inh-caps=-all", "env"]
PROGRAM = """
import ctypes, fcntl, mmap, os, resource, signal, socket, struct, sys, threading, time
U = %d
libc = ctypes.CDLL(None, use_errno=True)
HOME = os.getcwd()
def must(ret):
    if ret: raise OSError(ctypes.get_errno(), 'call')
def drop():
    os.setgroups([]); os.setresgid(%d, %d, %d); os.setresuid(%d, %d, %d)
    must(libc.prctl(4, 1, 0, 0, 0))
def status():
    return [l for l in open('/proc/thread-self/status') if l.split(':')[0] in
            ('Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs')] + [
            str(libc.prctl(27, 0, 0, 0, 0)), str(libc.prctl(3, 0, 0, 0, 0))]
def see(cond, words):
    if not cond: raise SystemExit(words)
def said(words):
    with open(HOME + '/result', 'a') as f: f.write(words + '\\n')
exec(sys.argv[1])
open(HOME + '/ready', 'w').close()
was = status()
while not os.path.exists(HOME + '/verify'):
    time.sleep(0.01)
try:
    see(status() == was, 'was %%r, is %%r' %% (was, status()))
    exec(sys.argv[2])
except BaseException as e:
    said('FAIL %%r' %% e)
    raise
said('PASS')
""" % ((USER,) * 7)


def with_caps(s, caps):
    """The tool as a file of a user, with capabilities of its own; made once for all scenarios."""
    copy = os.path.join(TOP, "criu-" + caps)
    if os.path.exists(copy):
        return copy
    shutil.copy(s.criu, copy)
    if caps and subprocess.run(["setcap", caps + "+ep", copy], stderr=subprocess.DEVNULL).returncode:
        os.unlink(copy)
        raise Skipped("setcap does not work here")
    return copy


def start(s, setup="drop()", looks="", program=(sys.executable,)):
    os.chmod(s.imgs, 0o777)
    for n in ("ready", "verify", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    open(s.path("err"), "a").close()
    os.chmod(s.path("err"), 0o666)
    s.proc = subprocess.Popen([*program, "-c", PROGRAM, setup, looks], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "not ready")
    check(s.proc.poll() is None, "the victim: " + text(s.path("err")))


def user(s, criu, *args):
    p = subprocess.run([*ALONE, criu, *map(str, args)], cwd=s.dir, env={"HOME": s.dir, "PATH": os.environ["PATH"]},
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    s.rc, s.out = p.returncode, p.stdout
    return s.rc


def dump(s, criu, *opts):
    user(s, criu, "dump", "-t", s.pid, "-D", s.imgs, "-v2", *opts)


def comes_back(s, criu, rounds=2):
    for _ in range(rounds):
        dump(s, criu)
        check(s.rc == 0, "dump: " + s.out)
        s.gone()
        user(s, criu, "restore", "-d", "-D", s.imgs, "-v2")
        check(s.rc == 0, "restore: " + s.out)
        s.proc = None
    s.verify()


def refused(s, criu, *words):
    """Named, with the program alive; with --leave-running a warning of the same words, and a restore that says it too."""
    dump(s, criu)
    check(s.rc != 0, "the dump goes well: " + s.out)
    for w in words:
        check(re.search("Error.*" + w, s.out), "the dump does not say %r: %s" % (w, s.out))
    check("nothing was changed" in s.out and s.proc.poll() is None, "what became of it: " + s.out)
    s.clean_images()
    os.chmod(s.imgs, 0o777)
    dump(s, criu, "--leave-running")
    check(s.rc == 0 and "Error" not in s.out, "--leave-running: " + s.out)
    for w in words:
        check(re.search("Warn.*" + w, s.out), "--leave-running does not warn of %r: %s" % (w, s.out))
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: s.proc.poll() is not None), "it does not run on")
    check(text(s.path("result")).endswith("PASS\n"), "it says: " + text(s.path("result")) + text(s.path("err")))
    user(s, criu, "restore", "-d", "-D", s.imgs, "-v2")
    check(s.rc != 0, "a restore goes well, so that the dump should have: " + s.out)


# What a program did, most often as root before it gave that up, and what an ordinary user's criu says of it. NONE: it comes back.
NONE = ()
CASES = {
    "plain": ("drop()", NONE),
    "threads": ("drop(); [threading.Thread(target=time.sleep, args=(100,), daemon=True).start() for i in range(3)]", NONE),
    "nice": ("drop(); os.setpriority(0, 0, 5)", NONE),
    "limit": ("drop(); resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))", NONE),
    "no_new_privs": ("must(libc.prctl(38, 1, 0, 0, 0)); drop()", NONE),
    "keepcaps": ("drop(); must(libc.prctl(8, 1, 0, 0, 0))", NONE),
    "o_path": ("open('op', 'w'); os.chmod('op', 0); a = os.open('op', os.O_PATH); drop()", NONE),
    "unix": ("drop(); a = socket.socket(socket.AF_UNIX); a.bind('own'); a.listen(); b = socket.socket(socket.AF_UNIX); "
             "b.connect(HOME + '/own'); c, _ = a.accept(); d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind(HOME + '/dg')",
             NONE),
    "ghost": ("os.mkdir('gd'); os.chmod('gd', 0o777); drop(); a = open('gd/x', 'w'); os.unlink('gd/x')", NONE),
    "secret": ("open('secret', 'w').write('x'); os.chmod('secret', 0o600); a = open('secret'); drop()", ("fd 3: .*/secret is open with rights",)),
    "written": ("open('ro', 'w').write('x'); os.chmod('ro', 0o644); a = open('ro', 'r+'); drop()", ("fd 3: .*/ro is open with",)),
    "noatime": ("open('na', 'w').write('x'); os.chmod('na', 0o644); a = os.open('na', os.O_NOATIME); drop()", ("fd 3: .*/na is open with",)),
    "mapped": ("open('mr', 'w').write('x' * 4096); f = os.open('mr', os.O_RDWR); m = mmap.mmap(f, 4096); os.close(f); drop()",
               ("mapping .*/mr is open with rights",)),
    "fifo": ("os.mkfifo('ff', 0o600); a = os.open('ff', os.O_RDWR); drop()", ("fd 3: .*/ff is open with rights",)),
    "cwd": ("os.mkdir('p', 0o700); os.chdir('p'); drop()", ("its working directory: .*/p is open with rights",)),
    "deleted": ("os.mkdir('d'); open('d/x', 'w').write('x'); os.chmod('d/x', 0o666); a = open('d/x'); os.unlink('d/x'); drop()",
                ("fd 3: .*/d/x was deleted, and criu may not make it again",)),
    "unix_folder": ("os.mkdir('q'); a = socket.socket(socket.AF_UNIX); a.bind('q/s'); a.listen(); drop()",
                    ("fd 3: the file of its name, .*/q/s",)),
    "port": ("a = socket.socket(); a.bind(('127.0.0.1', 81)); a.listen(); drop()", ("fd 3: its port .* cap_net_bind_service",)),
    "udp_port": ("a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(('127.0.0.1', 81)); drop()", ("fd 3: its port",)),
    "raw": ("a = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); drop()", ("fd 3: a raw socket takes cap_net_raw",)),
    "packet": ("a = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); drop()", (r"fd 3: socket\(AF_PACKET\) takes",)),
    "mark": ("a = socket.socket(); a.setsockopt(1, 36, 7); drop()", ("fd 3: SO_MARK takes",)),
    "priority": ("a = socket.socket(); a.setsockopt(1, 12, 7); drop()", ("fd 3: SO_PRIORITY",)),
    "transparent": ("a = socket.socket(); a.setsockopt(0, 19, 1); drop()", ("fd 3: IP_TRANSPARENT",)),
    "locked": ("must(libc.mlockall(1)); resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096)); drop()", ("bytes of memory locked",)),
    "groups": ("os.setgroups([5, 6]); os.setresgid(U, U, U); os.setresuid(U, U, U); must(libc.prctl(4, 1, 0, 0, 0))",
               ("is in 2 supplementary groups",)),
    "gid": ("os.setgroups([]); os.setresgid(7, 7, 7); os.setresuid(U, U, U); must(libc.prctl(4, 1, 0, 0, 0))", ("has the group ids 7/7/7/7",)),
    "securebits": ("must(libc.prctl(28, 1, 0, 0, 0)); drop()", ("its securebits are 0x1",)),
    "bounding": ("must(libc.prctl(24, 25, 0, 0, 0)); drop()", ("its bounding set is without cap_sys_time",)),
}


def make(name, setup, words):
    def fn(s):
        criu = with_caps(s, "cap_checkpoint_restore" + (",cap_sys_ptrace" if name in ("groups", "gid") else ""))
        start(s, setup)
        if words:
            refused(s, criu, *words)
        else:
            comes_back(s, criu, 1)
    fn.__name__ = name
    return fn


for case, (doing, said) in CASES.items():
    scenario(make(case, doing, said))


def with_file_caps(s, caps="cap_net_bind_service,cap_kill"):
    """A program whose file has capabilities: the interpreter, started by a user who has none."""
    program = os.path.join(TOP, "program")
    if not os.path.exists(program):
        shutil.copy(os.path.realpath(sys.executable), program)
        if subprocess.run(["setcap", caps + "+ep", program], stderr=subprocess.DEVNULL).returncode:
            os.unlink(program)
            raise Skipped("setcap does not work here")
    return [*ALONE, program]


CAPS = "see('CapPrm:\\t0000000000000420\\n' in status(), 'has not the capabilities: %r' % status()); must(libc.prctl(4, 1, 0, 0, 0))"
EITHER = ("had capabilities that criu cannot give it at restore: cap_kill,cap_net_bind_service; .*setcap cap_kill,cap_net_bind_service",)


@scenario
def file_caps_by_root(s):
    start(s, CAPS, program=with_file_caps(s))
    for _ in range(2):
        s.dump()
        s.restore()
    s.verify()


@scenario
def file_caps_by_user(s):
    """A user's criu that has them as well, and one that has not."""
    program = with_file_caps(s)
    start(s, CAPS, program=program)
    comes_back(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace,cap_net_bind_service,cap_kill"))
    start(s, CAPS, program=program)
    refused(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace"), *EITHER)


@scenario
def file_caps_not_dumpable(s):
    """Its files in /proc are root's: without the right to read them nothing is done, and the way out is named."""
    start(s, "see(libc.prctl(3, 0, 0, 0, 0) == 0, 'is dumpable: %r' % [libc.prctl(3, 0, 0, 0, 0), status()])", program=with_file_caps(s))
    dump(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace,cap_net_bind_service,cap_kill"))
    check(s.rc and "cap_dac_override" in s.out, s.out)
    comes_back(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace,cap_net_bind_service,cap_kill,cap_dac_override"), 1)


@scenario
def ambient(s):
    """Raised by the program itself, in one thread alone, with other securebits of its own: the five sets come back to a user."""
    setup = CAPS + """
def raise_one():
    d = struct.pack('IIIIII', 0x400, 0x420, 0x420, 0, 0, 0)
    must(libc.capset(struct.pack('Ii', 0x20080522, 0), d))
    must(libc.prctl(47, 2, 10, 0, 0))
    must(libc.prctl(8, 1, 0, 0, 0))
    mine.append(status()); time.sleep(1000)
def other():
    t = threading.Thread(target=raise_one, daemon=True); t.start()
    while not mine: time.sleep(0.01)
    return t
mine = []
t = other()
def of_thread():
    return [l for l in open('/proc/self/task/%d/status' % t.native_id) if l.startswith('Cap')]
"""
    looks = """
see(of_thread() == [l for l in mine[0] if l.startswith('Cap')], 'the thread has %r, had %r' % (of_thread(), mine[0]))
see('CapAmb:\\t0000000000000400\\n' in of_thread() and 'CapInh:\\t0000000000000420\\n' in of_thread(), of_thread())
"""
    start(s, setup, looks, program=with_file_caps(s))
    comes_back(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace,cap_net_bind_service,cap_kill"))


@scenario
def without_any(s):
    """A user's criu without capabilities: refused at once, with what it takes."""
    start(s, "drop()")
    dump(s, with_caps(s, ""))
    check(s.rc and re.search("Error.*cap_checkpoint_restore", s.out) and s.proc.poll() is None, s.out)
    dump(s, with_caps(s, ""), "--leave-running")
    check(s.rc and re.search("Error.*cap_checkpoint_restore", s.out) and s.proc.poll() is None, s.out)


@scenario
def dropped_root(s):
    """A set-user-id program that can take root again: for root alone."""
    start(s, "os.setgroups([]); os.setresgid(U, U, U); os.setresuid(U, U, 0); must(libc.prctl(4, 1, 0, 0, 0))")
    refused(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace"), "has the user ids 1234/1234/0/1234 .* cap_setuid")
    start(s, "os.setgroups([]); os.setresgid(U, U, U); os.setresuid(U, U, 0); must(libc.prctl(4, 1, 0, 0, 0))",
          "os.setresuid(0, 0, 0)")
    s.dump()
    s.restore()
    s.verify()


@scenario
def root_of_few_rights(s):
    """Root without some capabilities: what it can still restore, and what it refuses."""
    weak = ["setpriv", "--bounding-set=-setpcap", s.criu]
    start(s, CAPS, program=with_file_caps(s))
    for verb in ("dump", "restore"):
        p = subprocess.run([*weak, verb, *(["-t", str(s.pid)] if verb == "dump" else ["-d"]), "-D", s.imgs, "-v2"],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)
        check(p.returncode == 0, verb + ": " + p.stderr)
        if verb == "dump":
            s.gone()
        s.proc = None
    now = status_of("/proc/%d/status" % s.pid)
    check(now["CapPrm"] == now["CapEff"] == "0000000000000420", "other capabilities: %r" % now)
    s.kill()
    start(s, "must(libc.prctl(28, 4, 0, 0, 0))")
    p = subprocess.run([*weak, "dump", "-t", str(s.pid), "-D", s.imgs, "-v2"], capture_output=True, text=True)
    check(p.returncode and "its securebits are 0x4" in p.stderr and s.proc.poll() is None, p.stderr)


def looked(s, criu, *before):
    p = subprocess.run([*before, criu, "check"], cwd=s.dir, env={"HOME": s.dir, "PATH": os.environ["PATH"]},
                       capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


@scenario
def check_says(s):
    """criu check, as the user that runs it."""
    rc, out, err = looked(s, s.criu)
    check(rc == 0 and out == "Looks good.\n", "root: " + out + err)
    rc, out, err = looked(s, with_caps(s, ""), *ALONE)
    check(rc and out == "Does not look good.\n" and re.search("user 1234 without cap_checkpoint_restore.*setcap", err), "a user: " + out + err)
    rc, out, err = looked(s, with_caps(s, "cap_checkpoint_restore"), *ALONE)
    check(rc == 0 and out == "Looks good.\n" and "cap_sys_ptrace (tasks" in err, "with one: " + out + err)
    # What criu has, but cannot hand to what it starts: restores would fail.
    rc, out, err = looked(s, with_caps(s, "cap_checkpoint_restore,cap_sys_ptrace"), sys.executable, "-c",
                          "import ctypes, os, sys; ctypes.CDLL(None).prctl(28, 64, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])", *ALONE)
    check(rc and out == "Does not look good.\n" and "securebits 0x40" in err, "no ambient ones: " + out + err)
    rc, out, err = looked(s, s.criu, "setpriv", "--bounding-set=-all")
    check(rc and out == "Does not look good.\n" and "cap_checkpoint_restore" in err, "root without: " + out + err)


run_all()
