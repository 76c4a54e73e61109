# SPDX-License-Identifier: GPL-2.0-only
"""Trees of an ordinary user in user namespaces, dumped and restored by that user, whose criu has CAP_CHECKPOINT_RESTORE from its file."""
import contextlib
import os
import shutil
import subprocess

from case import Skipped
from driver import TOP, check, children, state_of, status_of, text, tree, wait_for

USER, NAME, FIRST = 1234, "rootless", 300000
ALONE = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--inh-caps=-all", "env", "HOME=/tmp"]


def with_capability(s):
    copy = os.path.join(TOP, "criu-checkpoint-restore")
    if not os.path.exists(copy):
        shutil.copy(s.criu, copy)
        if subprocess.run(["setcap", "cap_checkpoint_restore+ep", copy], stderr=subprocess.DEVNULL).returncode:
            raise Skipped("setcap does not work here")
    return copy


def over(s, path, line):
    """The file has this line, too, in this test's mount namespace."""
    new = s.path(os.path.basename(path))
    with open(new, "w") as f:
        f.write((text(path) if os.path.exists(path) else "") + line + "\n")
    check(os.path.exists(path), "there is no " + path)
    check(subprocess.run(["mount", "--bind", new, path]).returncode == 0, "mount --bind on " + path)


@contextlib.contextmanager
def subordinates(s):
    """The user has ids in /etc/subuid and /etc/subgid: options of unshare(1) for all of them, and root's."""
    over(s, "/etc/passwd", "%s:x:%d:%d::/tmp:/bin/sh" % (NAME, USER, USER))
    over(s, "/etc/group", "%s:x:%d:" % (NAME, USER))
    for f in "/etc/subuid", "/etc/subgid":
        open(f, "a").close()
        over(s, f, "%s:%d:1000" % (NAME, FIRST))
    try:
        yield ["--map-users", "%d,1,1000" % FIRST, "--map-groups", "%d,1,1000" % FIRST, "-r"]
    finally:
        subprocess.run(["umount", "/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"])


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
