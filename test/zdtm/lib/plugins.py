# SPDX-License-Identifier: GPL-2.0-only
"""Plugins for tests: built when they are wanted, and programs in Python that are dumped with them."""
import os
import subprocess
import sys

from case import wait_for
from driver import HERE, Failed, check, text

TOP = os.path.abspath(os.path.join(HERE, "../.."))

# setup runs first; check(): a list of what is wrong. Rounds of dump and restore go on in between.
PROGRAM = """
import os, socket, sys, threading, time
def check(): return []
exec(sys.argv[1])
open('ready', 'w').close()
while not os.path.exists('verify'):
    time.sleep(0.02)
wrong = check()
with open('result.tmp', 'w') as f:
    f.write('\\n'.join(['FAIL ' + str(w) for w in wrong] + ['PASS']) + '\\n')
os.rename('result.tmp', 'result')
"""


def build(s, name, source, *flags, out=None):
    """A shared object in the scenario's directory of plugins; that directory."""
    libs = s.path("plugins")
    os.makedirs(libs, exist_ok=True)
    subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-I",
                    os.path.join(TOP, "include"), "-o", os.path.join(libs, out or name + ".so"),
                    os.path.join(HERE, "lib", source), *flags], check=True)
    return libs


def test_plugin(s, name="test_plugin", version="CRIU_PLUGIN_VERSION"):
    return build(s, name, "plugin_test.c", '-DNAME="%s"' % name, "-DVERSION=" + version)


def does(s, what, **more):
    """The environment with which the plugins do that; their calls so far are forgotten."""
    if os.path.exists(s.path("calls")):
        os.unlink(s.path("calls"))
    return dict({"PLUGIN_LOG": s.path("calls"), "PLUGIN_DO": what}, **more)


def calls(s):
    return text(s.path("calls")).splitlines() if os.path.exists(s.path("calls")) else []


def start(s, setup="", **kw):
    for n in ("ready", "verify", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, setup], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "w"), start_new_session=True, **kw)
    s.pid = s.proc.pid
    if not wait_for(lambda: os.path.exists(s.path("ready"))):
        raise Failed("not ready: " + text(s.path("err")))


def log(s, name):
    return s.out + text(os.path.join(s.imgs, name))


def failed(s, words, name="dump.log"):
    check(s.rc != 0, "the command has not failed; log: " + log(s, name)[-600:])
    for w in [words] if isinstance(words, str) else words:
        check(w in log(s, name), "nothing says %r: %s" % (w, s.errors(name)))
