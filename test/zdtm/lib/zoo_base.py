# SPDX-License-Identifier: GPL-2.0-only
"""The zoo's animals: one of each kind of thing that a process can hold. For test/zdtm/zoo.py.

An animal is set up once; fill() puts into it what a checkpoint has to keep, check() looks whether it was kept, and takes
it out again, so that the next round begins as the first did.
"""
import ctypes
import os
import select
import time

libc = ctypes.CDLL(None, use_errno=True)
ANIMALS = []


class Wrong(Exception):
    pass


class Absent(Exception):
    """Not on this machine; the words say why."""


class Animal:
    def __init__(self, zoo):
        self.zoo = zoo

    def setup(self):
        pass

    def fill(self):
        pass

    def check(self):
        pass


def animal(cls):
    ANIMALS.append(cls)
    return cls


def same(what, got, want):
    if got != want:
        raise Wrong("%s: %r instead of %r" % (what, got, want))


def true(what, v):
    if not v:
        raise Wrong(what)


def call(name, *args):
    """A function of the C library, with its error as an exception."""
    r = getattr(libc, name)(*args)
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, "%s: %s" % (name, os.strerror(e)))
    return r


def syscall(number, *args):
    return call("syscall", ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])


def readable(fd, seconds=0.0):
    p = select.poll()  # select() is for numbers below 1024
    p.register(fd, select.POLLIN)
    return bool(p.poll(seconds * 1000))


def fdinfo(fd):
    with open("/proc/self/fdinfo/%d" % fd) as f:
        return f.read()


def value(fd, key):
    for line in fdinfo(fd).splitlines():
        k, _, v = line.partition(":")
        if k == key:
            return v.strip()
    return None


def drained(fd, n=65536):
    """What is read until it would block."""
    out = b""
    while readable(fd):
        more = os.read(fd, n)
        if not more:
            break
        out += more
    return out


def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        true("%s: not after %d s" % (what, seconds), time.monotonic() < end)
        time.sleep(0.005)


def command(pid):
    """Its command line, with spaces."""
    try:
        with open("/proc/%d/cmdline" % pid) as f:
            return f.read().rstrip("\0").replace("\0", " ")
    except OSError:
        return ""


def read_until(fd, words, seconds=60):
    out, end = b"", time.monotonic() + seconds
    while words not in out and time.monotonic() < end:
        if readable(fd, 0.1):
            out += os.read(fd, 65536)
    return out


def child(fn):
    """A process that runs fn and ends; its pid."""
    pid = os.fork()
    if not pid:
        try:
            fn()
        finally:
            os._exit(1)
    return pid


def asked(fn):
    """What fn returns (a short text) in a process of its own: for what only others can see."""
    r, w = os.pipe()

    def say():
        os.write(w, str(fn()).encode())
        os._exit(0)
    pid = child(say)
    os.close(w)
    out = b""
    while True:
        more = os.read(r, 4096)
        if not more:
            break
        out += more
    os.close(r)
    os.waitpid(pid, 0)
    return out.decode()
