# SPDX-License-Identifier: GPL-2.0-only
"""data/criu: checkpoints that CRIU 4.2 made of `held MODE`, the program that was dumped, and what lies beside it."""
import ctypes
import glob
import json
import os
import shutil
import subprocess

import crit_tool
from case import Skipped, wait_for
from driver import check, children, state_of, text

DATA = os.path.join(os.environ["ZDTM"], "data/criu")
ROOT = "/var/tmp/held"
# What a dump and a restore of each are told.
OPTIONS = {"locks": (["--file-locks"], ["--file-locks"]), "pty": ([], []), "tcp": (["--tcp-established"], ["--tcp-established"]),
           "packet": ([], []), "seccomp": ([], []), "stopped": ([], []), "dgram": ([], []), "nofds": ([], []), "sched": ([], []),
           "hardlink": (["--link-remap"], [])}


def show(folder):
    """{image: its entries}, as crit shows them."""
    paths = [p for p in sorted(glob.glob(os.path.join(folder, "*.img"))) if "/pages-" not in p]
    return {os.path.basename(path): json.loads(crit_tool.shown(path)).get("entries", []) for path in paths}


def build():
    """The program, which is the same file wherever the same compiler and C library make it: the images hold its build id."""
    mounted = ctypes.CDLL(None, use_errno=True).mount(b"none", b"/var/tmp", b"tmpfs", 0, b"mode=1777")  # with devices: /dev/null of held_ns.py
    check(mounted == 0, "mount of /var/tmp: %s" % os.strerror(ctypes.get_errno()))
    os.mkdir(ROOT)
    cc = os.environ.get("CC", "cc")
    p = subprocess.run([cc, "-Os", "-s", "-static", "-w", "-o", ROOT + "/held", DATA + "/held.c"], capture_output=True, text=True)
    if p.returncode:
        raise Skipped("cannot build held statically: %s" % p.stderr[-200:])


def done():
    ctypes.CDLL(None).umount2(b"/var/tmp", 2)


def has_avx512():
    """The programs that CRIU dumped had it: their C library chose functions that use it."""
    return " avx512f " in text("/proc/cpuinfo")


def is_the_one():
    """Whether it is the very file that CRIU dumped."""
    exe = show(DATA + "/sched")["files.img"][0]["reg"]
    notes = b"".join(n.to_bytes(4, "little") for n in exe["build_id"])
    with open(ROOT + "/held", "rb") as f:
        raw = f.read()
    return len(raw) == exe["size"] and notes in raw


def place(mode, left=True):
    """Its directory as the program left it when it was dumped; the path of the answers."""
    home = os.path.join(ROOT, mode)
    shutil.rmtree(home, ignore_errors=True)
    os.mkdir(home)
    shutil.copy(ROOT + "/held", home)
    os.chmod(home + "/held", 0o755)
    for n in ["err"] + (["l%d" % i for i in range(4)] if mode == "locks" and left else []):
        os.close(os.open(os.path.join(home, n), os.O_CREAT | os.O_WRONLY, 0o644 if n == "err" else 0o600))
    if mode == "hardlink" and left:
        os.mkdir(home + "/sub", 0o700)
        with open(os.open(home + "/sub/other", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("hard")
        os.link(home + "/sub/other", home + "/link_remap.5")
    return home


def start(mode):
    """`held MODE` as it was started for CRIU's dump."""
    home = place(mode, left=False)
    with open(home + "/err", "w") as err, open("/dev/null", "r+") as null:
        p = subprocess.Popen([home + "/held", mode], cwd=home, stdin=null, stdout=null, stderr=err, start_new_session=True,
                             env={"HELD_OUT": home + "/out"})
    check(wait_for(lambda: os.path.exists(home + "/ready")), "not ready: %s" % text(home + "/err"))
    if mode == "nofds":  # the child is made before the program says that, and closes its own a little later
        check(wait_for(lambda: not os.listdir("/proc/%d/fd" % children(p.pid)[0])), "the child has descriptors")
    if mode == "tcp":  # the peer confirms the end a little later
        check(wait_for(lambda: " 05 00000000" in text("/proc/net/tcp")), "no connection in FIN_WAIT2")
    return p


def ask(pid, mode):
    """What the program says when it looks at what it holds."""
    out = os.path.join(ROOT, mode, "out")
    before = text(out) if os.path.exists(out) else ""
    if mode == "stopped":  # the program stops its child and does not wait for that
        wait_for(lambda: state_of(children(pid)[0]) == "T")
    os.kill(pid, 10)
    wait_for(lambda: os.path.exists(out) and text(out) != before and text(out).endswith("\n"))
    return text(out)[len(before):].strip()
