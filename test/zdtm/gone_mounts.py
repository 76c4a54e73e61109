#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Files on overlays (lower, upper, copied up after they were opened, deleted), behind bind mounts, and under mounts that
# were made over them: each is the one that it was, or the dump says what is in the way.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import subprocess
import sys

from driver import Failed, Skipped, check, run_all, scenario, text, wait_for

PROGRAM = """
import mmap, os, sys, time
def see(cond, words):
    if not cond: raise SystemExit(words)
def name(fd): return os.readlink('/proc/self/fd/%d' % fd)
def ino(x): return (os.stat(x).st_dev, os.stat(x).st_ino)
def said(text):
    with open(HOME + '/result', 'a') as f: f.write(text + '\\n')
HOME = os.getcwd()
exec(sys.argv[1])
open(HOME + '/ready', 'w').close()
while not os.path.exists(HOME + '/verify'):
    time.sleep(0.01)
try:
    exec(sys.argv[2])
except BaseException as e:
    said('FAIL %r' % e)
    raise
said('PASS')
"""


def victim(s, setup, looks):
    for n in ("ready", "verify", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, setup, looks], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "not ready")
    check(s.proc.poll() is None, "the victim: " + text(s.path("err")))


def mount(*args):
    p = subprocess.run(["mount", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise Skipped("mount %s: %s" % (" ".join(args), p.stdout.strip()))


def put(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(content)


def round_trip(s, *opts, times=2):
    s.dump(*opts)
    for i in range(times):
        s.restore()
        if i < times - 1:
            s.kill()
    s.verify()


def overlay(s, same_fs, extra=""):
    base = s.path("o")
    os.makedirs(base)
    if not same_fs:
        for n in ("l", "u"):
            os.makedirs(base + "/" + n)
            mount("-t", "tmpfs", n, base + "/" + n)
    low, up, work, all_ = base + "/l/low", base + "/u/up", base + "/u/work", base + "/all"
    for d in (low, up, work, all_):
        os.makedirs(d, exist_ok=True)
    for n in ("low", "copied", "gone", "gonemap", "linked", "dir/inside", "twice"):
        put(low + "/" + n, "lower " + n)
    os.link(low + "/twice", low + "/twice2")
    put(up + "/up", "upper up")
    put(up + "/upgone", "upper upgone")
    mount("-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s%s" % (low, up, work, extra), all_)


OVERLAY = """
os.chdir('o/all')
fds = {}
for n in ('low', 'up', 'copied', 'gone', 'gonemap', 'linked', 'upgone', 'twice'):
    fds[n] = os.open(n, os.O_RDONLY)
    os.read(fds[n], 3)
fds['dir'] = os.open('dir', os.O_RDONLY)
map = mmap.mmap(fds['gonemap'], 8, prot=mmap.PROT_READ)
os.close(fds.pop('gonemap'))
with open('copied', 'a') as f: f.write(' and more')
os.link('linked', 'linked2')
for n in ('gone', 'gonemap', 'linked', 'upgone', 'dir/inside', 'twice'): os.unlink(n)
os.rmdir('dir')
was = {n: ino(fds[n]) for n in fds}
"""
OVERLAY_LOOKS = """
rest = {n: os.read(fds[n], 100).decode() for n in fds if n != 'dir'}
see(rest == {'low': 'er low', 'up': 'er up', 'copied': 'er copied and more', 'gone': 'er gone', 'linked': 'er linked',
             'upgone': 'er upgone', 'twice': 'er twice'}, repr(rest))
see(map[:8] == b'lower go', repr(map[:8]))
for n in ('low', 'up', 'copied'): see(ino(n) == ino(fds[n]) == was[n], n + ' is another file')
see(ino('linked2') == ino(fds['linked']), 'linked is another file')
see(sorted(os.listdir('.')) == ['copied', 'linked2', 'low', 'twice2', 'up'], repr(os.listdir('.')))
try:
    os.mkdir('x', dir_fd=fds['dir'])
    see(False, 'the removed directory is there')
except FileNotFoundError: pass
"""


@scenario
def overlay_on_one_file_system(s):
    overlay(s, True)
    victim(s, OVERLAY, OVERLAY_LOOKS)
    round_trip(s)


@scenario
def overlay_on_two(s):
    """What has no name left gets no link either."""
    overlay(s, False)
    victim(s, OVERLAY, OVERLAY_LOOKS)
    round_trip(s, "--link-remap")
    check(not any(n.startswith(".criu") for _, _, names in os.walk(s.dir) for n in names), "a link was made")


@scenario
def overlay_with_index(s):
    overlay(s, False, ",index=on,xino=on")
    victim(s, OVERLAY, OVERLAY_LOOKS)
    round_trip(s)


@scenario
def bind_mounts(s):
    put(s.path("real/file"), "through a bind mount")
    put(s.path("real/gone"), "and deleted")
    put(s.path("over"), "the one above")
    put(s.path("single"), "of one file")
    os.makedirs(s.path("bound"))
    mount("--bind", s.path("real"), s.path("bound"))
    mount("--bind", s.path("over"), s.path("single"))
    victim(s, """
a, b, c = os.open('bound/file', os.O_RDWR), os.open('bound/gone', os.O_RDWR), os.open('single', os.O_RDONLY)
os.unlink('real/gone')
""", """
see(name(a) == HOME + '/bound/file' and ino(a) == ino('real/file'), name(a))
see(os.read(b, 100) == b'and deleted' and os.fstat(b).st_nlink == 0, 'the deleted one')
see(os.read(c, 100) == b'the one above', 'a mount over one file')
""")
    round_trip(s)


@scenario
def a_mount_in_the_way(s):
    put(s.path("dir/sub/file"), "below")
    victim(s, "a, d = os.open('dir/sub/file', os.O_RDONLY), os.open('dir', os.O_RDONLY)", "see(os.read(a, 9) == b'below', '')")
    mount("-t", "tmpfs", "inway", s.path("dir"))
    s.dump(ok=False)
    said = s.out + text(s.path("imgs/dump.log"))
    check(s.rc, "a file under a mount was dumped")
    check("fd 3: %s/dir/sub/file: the mount at %s/dir hides it" % (s.dir, s.dir) in said, "no word of it: " + said[-600:])
    check("fd 4: %s/dir: the mount at %s/dir hides it" % (s.dir, s.dir) in said, "no word of the directory")
    put(s.path("dir/sub/file"), "above")
    s.dump(ok=False)
    check(s.rc, "another file was taken for it")
    subprocess.run(["umount", s.path("dir")], check=True)
    round_trip(s)


@scenario
def found_through_another_mount(s):
    put(s.path("dir/file"), "below")
    os.makedirs(s.path("again"))
    mount("--bind", s.path("dir"), s.path("again"))
    victim(s, "a = os.open('dir/file', os.O_RDWR); was = ino(a)",
           "see(ino(a) == was == ino('again/file') and os.read(a, 9) == b'below', name(a))")
    mount("-t", "tmpfs", "inway", s.path("dir"))
    round_trip(s)


@scenario
def replaced(s):
    """The path leads to another file: the old one has no name, or another that is not beside it."""
    put(s.path("a"), "old a")
    put(s.path("b"), "old b")
    victim(s, """
a, b = os.open('a', os.O_RDWR), os.open('b', os.O_RDWR)
os.makedirs('x/y')
os.rename('b', 'x/y/b')
for n in 'ab':
    with open('new', 'w') as f: f.write('new ' + n)
    os.rename('new', n)
""", """
see(os.read(a, 9) == b'old a' and os.read(b, 9) == b'old b', 'contents')
see(os.fstat(a).st_nlink == 0 and ino(b) == ino('x/y/b'), 'names')
see(open('a').read() == 'new a' and open('b').read() == 'new b', 'the new ones')
""")
    round_trip(s)


if ctypes.CDLL(None, use_errno=True).unshare(0x20000):
    raise Failed("no mount namespace of our own")
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
run_all()
