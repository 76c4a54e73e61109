#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Files that change between dump and restore: --file-validation by size, build id and checksum, --skip-file-rwx-check, and
# files that are missing, all of which are named before anything is started.
# zdtm: driver
import os
import shutil
import subprocess
import sys
import time

from driver import check, run_all, scenario, state_of, text, tree, wait_for

PROGRAM = """
import os, sys, time
exec(sys.argv[1])
open('ready', 'w').close()
while True: time.sleep(0.01)
"""


def start(s, setup):
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, setup], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "not ready")
    check(s.proc.poll() is None, "the victim: " + text(s.path("err")))


def put(s, name, content, mode=0o644):
    with open(s.path(name), "w") as f:
        f.write(content)
    os.chmod(s.path(name), mode)


def refused(s, *words, opts=()):
    s.restore(*opts, ok=False)
    said = s.out + text(os.path.join(s.imgs, "restore.log"))
    check(s.rc, "it was restored")
    for w in words:
        check(any("Error" in x and w in x for x in said.splitlines()), "no error says %r: %s" % (w, said[-1500:]))
    check(state_of(s.pid) == "gone", "something was started")


def restored(s, *opts, warn=None):
    s.restore(*opts)
    log = text(os.path.join(s.imgs, "restore.log"))
    check(("Warn" in log and warn in log) if warn else "Warn" not in log, "warnings: " + log[-800:])
    s.kill()


@scenario
def a_log_that_grew(s):
    start(s, "f = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT); os.write(f, b'one\\ntwo\\n')")
    s.dump()
    restored(s)
    with open(s.path("log"), "a") as f:
        f.write("three\n")
    restored(s)
    for size in (0, 5, 100, 1 << 30):
        os.truncate(s.path("log"), size)
        s.restore()
        log = text(os.path.join(s.imgs, "restore.log"))
        check("Warn" not in log and log.count("has %d bytes, and had 8" % size) == 1, "%d bytes: %s" % (size, log[-800:]))
        s.kill()
        check(os.stat(s.path("log")).st_size == size, "the restore changed the log")
    os.unlink(s.path("log"))
    refused(s, s.path("log"))


@scenario
def what_is_no_such_log(s):
    """Truncated: a file that is written at a position, or read and appended to, is not what it was."""
    for flags in ("os.O_WRONLY", "os.O_RDWR | os.O_APPEND"):
        s.clean_images()
        start(s, "f = os.open('log', %s | os.O_CREAT | os.O_TRUNC); os.write(f, b'one\\ntwo\\n')" % flags)
        s.dump()
        with open(s.path("log"), "a") as f:
            f.write("three\n")
        restored(s, warn="has grown from 8 to 14 bytes")
        os.truncate(s.path("log"), 5)
        refused(s, "fd 3: %s has 5 bytes, but had 8" % s.path("log"))
        os.unlink(s.path("ready"))


@scenario
def readers_of_a_log_that_grew(s):
    put(s, "followed", "one\n")
    put(s, "begun", "one\n")
    start(s, """
w = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644); os.write(w, b'one\\n')
r, f, b = (os.open(n, os.O_RDONLY) for n in ('log', 'followed', 'begun')); os.read(f, 100); os.read(b, 2)
""")
    s.dump("--file-validation", "checksum")
    restored(s)
    for n in ("log", "followed"):
        with open(s.path(n), "a") as f:
            f.write("two\n")
    restored(s, warn="followed has grown from 4 to 8 bytes since the dump; it was read up to its end")
    put(s, "followed", "two\ntwo\n")
    refused(s, "followed has changed since the dump")
    put(s, "followed", "one\n")
    put(s, "begun", "one\ntwo\n")
    refused(s, "begun has 8 bytes, but had 4")


@scenario
def another_size(s):
    put(s, "data", "12345")
    start(s, "f = os.open('data', os.O_RDONLY)")
    s.dump("--file-validation", "filesize")
    put(s, "data", "123456")
    for how in ("filesize", "buildid", "checksum"):
        refused(s, "has 6 bytes, but had 5", opts=("--file-validation", how))
    put(s, "data", "54321")
    restored(s)


@scenario
def a_checksum(s):
    put(s, "data", "12345")
    start(s, "f = os.open('data', os.O_RDONLY); g = os.open('rw', os.O_RDWR | os.O_CREAT, 0o644); os.write(g, b'abc')")
    s.dump("--file-validation", "checksum")
    restored(s)
    put(s, "data", "12346")
    refused(s, "fd 3: %s has changed since the dump: its checksum is " % s.path("data"), ", and was ")
    restored(s, "--file-validation", "buildid")
    restored(s, "--file-validation", "filesize")
    put(s, "data", "12345")
    put(s, "rw", "abd")
    restored(s, warn="rw has changed since the dump")
    put(s, "rw", "abc and more")
    restored(s, warn="has grown from 3 to 12")


@scenario
def without_a_checksum(s):
    put(s, "data", "12345")
    start(s, "f = os.open('data', os.O_RDONLY)")
    s.dump()
    put(s, "data", "12346")
    restored(s)


def build_id(path):
    out = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return out.split("Build ID: ")[1].split()[0]


@scenario
def another_build(s):
    shutil.copy(shutil.which("sleep"), s.path("prog"))
    old = build_id(s.path("prog"))
    s.proc = subprocess.Popen([s.path("prog"), "1000"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    time.sleep(0.1)
    s.dump()
    with open(s.path("prog"), "rb") as f:
        data = f.read()
    check(data.count(bytes.fromhex(old)) == 1, "where is its build id?")
    new = old[::-1]
    with open(s.path("prog"), "wb") as f:
        f.write(data.replace(bytes.fromhex(old), bytes.fromhex(new)))
    refused(s, "its executable: %s is another build than when it was dumped: its build id is %s, and was %s" %
            (s.path("prog"), new, old))
    refused(s, "is another build", opts=("--file-validation", "checksum"))
    restored(s, "--file-validation", "filesize")


@scenario
def another_mode(s):
    put(s, "data", "12345", 0o640)
    os.mkdir(s.path("dir"), 0o700)
    start(s, "f, g = os.open('data', os.O_RDONLY), os.open('dir', os.O_RDONLY)")
    s.dump()
    os.chmod(s.path("data"), 0o604)
    os.chmod(s.path("dir"), 0o750)
    refused(s, "fd 3: %s has mode 0604, but had 0640" % s.path("data"), "fd 4: %s has mode 0750, but had 0700" % s.path("dir"))
    restored(s, "--skip-file-rwx-check")


@scenario
def missing(s):
    for n in ("a", "b", "mapped", "both"):
        put(s, n, "x" * 5000)
    start(s, """
import mmap
both = os.open('both', os.O_RDONLY)
if os.fork():
    a = os.open('a', os.O_RDONLY)
    os.dup2(a, 77)
else:
    b = os.open('b', os.O_RDWR)
    m = open('mapped'); map = mmap.mmap(m.fileno(), 4096, prot=mmap.PROT_READ); m.close()
    os.mkdir('cwd'); os.chdir('cwd')
    while not os.path.exists('../seen'): time.sleep(0.01)
    open('../ready', 'w').close()
    while True: time.sleep(0.01)
while not os.path.exists('cwd'): time.sleep(0.01)
open('seen', 'w').close()
""")
    kid = [p for p in tree(s.pid) if p != s.pid][0]
    s.dump()
    for n in ("a", "b", "mapped", "both"):
        os.rename(s.path(n), s.path(n + ".away"))
    os.rmdir(s.path("cwd"))
    refused(s, *["pid %d (python3): %s %s does not exist" % (pid, what, s.path(name)) for pid, what, name in (
        (s.pid, "fd 4:", "a"), (s.pid, "fd 77:", "a"), (s.pid, "fd 3:", "both"), (kid, "fd 3:", "both"), (kid, "fd 4:", "b"),
        (kid, "its working directory:", "cwd"))])
    refused(s, "%s does not exist" % s.path("mapped"))
    for n in ("a", "b", "mapped", "both"):
        os.rename(s.path(n + ".away"), s.path(n))
    os.mkdir(s.path("cwd"), 0o755)
    restored(s)


@scenario
def deleted_by_another_java(s):
    """What a Java machine that starts deletes: the way out is said."""
    os.mkdir(s.path("hsperfdata_me"))
    put(s, "hsperfdata_me/7", "x" * 5000)
    start(s, """
import mmap
m = open('hsperfdata_me/7', 'r+'); map = mmap.mmap(m.fileno(), 4096); m.close()
open('ready', 'w').close()
while True: time.sleep(0.01)
""")
    s.dump()
    os.unlink(s.path("hsperfdata_me/7"))
    refused(s, "hsperfdata_me/7 does not exist (a starting Java machine deletes", "-XX:-UsePerfData")
    put(s, "hsperfdata_me/7", "x" * 5000)
    restored(s)


@scenario
def a_word_that_is_none(s):
    check(s.tool("dump", "-t", os.getpid(), "--file-validation", "colour"), "it was taken")
    check("--file-validation: 'colour' is not valid (only 'filesize', 'buildid' or 'checksum')" in s.out, s.out)


run_all()
