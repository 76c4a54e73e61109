# SPDX-License-Identifier: GPL-2.0-only
"""
Where the tools are. Those of Debian's unstable branch are unpacked, never installed: scripts/fetch-unstable puts them into a
directory together with that branch's libraries, which take the place of the system's in the mount namespace of a test alone.
"""
import os
import shutil

from area import WORK

SID = os.environ.get("CRIU_CLIENTS_UNSTABLE", "/var/cache/criu-clients/unstable")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def set_up(criu, inmate, how):
    """A criu for the tools: the first in PATH. None of the caller's own settings."""
    d = WORK + "/bin"
    os.mkdir(d)
    if os.environ.get("TRACE"):  # for debugging: the command lines
        with open(d + "/criu", "w") as f:
            f.write('#!/bin/sh\ntr "\\\\0" "|" < /proc/$$/cmdline >> %s/calls.log; echo >> %s/calls.log\nexec %s "$@"\n' % (WORK, WORK, criu))
        os.chmod(d + "/criu", 0o755)
    else:
        os.symlink(criu, d + "/criu")
    for name in [n for n in os.environ if n.startswith(("CRIU", "XDG", "DBUS", "LXC", "CONTAINER"))]:
        del os.environ[name]
    os.environ.update(PATH=d + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", INMATE=inmate, TERM="dumb")
    os.environ["LD_LIBRARY_PATH"] = os.path.dirname(os.path.dirname(criu))
    os.environ["RUNC"] = SID + "/usr/sbin/runc" if how.get("sid") else "/usr/sbin/runc"
    os.environ["CRUN"] = SID + "/usr/bin/crun"


def overlay(how):
    return [(LIBRARIES, SID + LIBRARIES)] if how.get("sid") else []


def missing(how):
    """Why a case cannot be made here, or nothing."""
    if os.geteuid():
        return "needs root"
    for program in how.get("needs", "").split():
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return "there is no %s" % program
    if how.get("sid") and not os.path.exists(SID + "/complete"):
        try:
            return open(SID + "/reason").read().strip()
        except OSError:
            return "the tools of Debian's unstable branch are not there: scripts/fetch-unstable gets them"
    return ""
