# SPDX-License-Identifier: GPL-2.0-only
"""Trees of an ordinary user in user namespaces, dumped and restored by that user, whose criu has CAP_CHECKPOINT_RESTORE from its file."""
import os
import shutil
import subprocess

from case import Skipped
from driver import TOP, check, children, state_of, status_of, text, tree, wait_for

USER = 1234
ALONE = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--inh-caps=-all", "env", "HOME=/tmp"]


def with_capability(s):
    copy = os.path.join(TOP, "criu-checkpoint-restore")
    if not os.path.exists(copy):
        shutil.copy(s.criu, copy)
        if subprocess.run(["setcap", "cap_checkpoint_restore+ep", copy], stderr=subprocess.DEVNULL).returncode:
            raise Skipped("setcap does not work here")
    return copy


def user(s, command, *opts):
    p = subprocess.run([*ALONE, s.tool_path, command, "-D", s.imgs, "-v4", "-o", command + ".log", *map(str, opts)], cwd=s.dir,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    s.rc, s.out = p.returncode, p.stdout
    return s.rc == 0


def look(s):
    """Maps, setgroups, ids as they are here, and what each process has of capabilities, in the order of the numbers of inside."""
    rows = []
    for p in tree(s.pid):
        st = status_of("/proc/%d/status" % p)
        rows.append([st["NSpid"].split()[1:], st["Uid"], st["Gid"], st["Groups"], st["CapEff"], st["CapPrm"], st["CapBnd"]] +
                    [text("/proc/%d/%s" % (p, n)) for n in ("uid_map", "gid_map", "setgroups")])
    return sorted(rows)


def users_processes():
    out = []
    for p in os.listdir("/proc"):
        if p.isdigit() and status_of("/proc/%s/status" % p).get("Uid", "0").split()[0] == str(USER) and state_of(int(p)) not in "Z":
            out.append(p)
    return out
