# SPDX-License-Identifier: GPL-2.0-only
"""Mount namespaces for tests: a victim in one of its own, and what can be compared before and after."""
import hashlib
import os
import stat
import subprocess

from driver import check, need, text, tree, wait_for


def mounts(pid, sort=True):
    """mountinfo without what may differ: ids, devices of file systems without one, numbers of peer groups."""
    lines = [ln.split(" ") for ln in text("/proc/%s/mountinfo" % pid).splitlines()]
    place = {}
    groups = {}
    for ln in lines:
        place[ln[0]] = ln[4]
    out = []

    def key(ln):
        return [place.get(ln[1], "-"), *ln[3:6], *ln[ln.index("-"):]]
    for ln in sorted(lines, key=key) if sort else lines:
        words = []
        dash = ln.index("-")
        for w in ln[6:dash]:
            name, _, number = w.partition(":")
            words.append(name + (":%d" % groups.setdefault(number, len(groups)) if number else ""))
        dev = ln[2] if not ln[2].startswith("0:") else "0"
        out.append(" ".join([place.get(ln[1], "-"), dev, *ln[3:6], *words, *ln[dash:]]))
    return sorted(out) if sort else out


def contents(top, but=()):
    """All files below a directory (by /proc/PID/root, one file system), but those of some names: a program may be writing them."""
    out = {}
    dev = os.lstat(top).st_dev
    links = {}
    inodes = {}
    for dir, names, files in os.walk(top):
        names[:] = [n for n in names if os.lstat(os.path.join(dir, n)).st_dev == dev]
        for n in [""] + names + [n for n in files if n not in but]:
            path = os.path.join(dir, n) if n else dir
            st = os.lstat(path)
            if st.st_dev != dev:
                continue
            name = os.path.relpath(path, top)
            links.setdefault(st.st_ino, []).append(name)
            inodes[name] = st.st_ino
            one = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_mtime_ns, st.st_rdev]
            if stat.S_ISREG(st.st_mode):
                one += [st.st_size, st.st_blocks, hashlib.md5(open(path, "rb").read()).hexdigest()]
            if stat.S_ISLNK(st.st_mode):
                one += [os.readlink(path)]
            else:
                one += [sorted((x, os.getxattr(path, x)) for x in os.listxattr(path))]
            out[name] = one
    return {n: v + [sorted(links[inodes[n]])] for n, v in out.items()}


def asleep(pid):
    """The processes sleep(1) below it that sleep."""
    return [p for p in tree(pid) if text("/proc/%d/comm" % p) == "sleep\n" and
            text("/proc/%d/syscall" % p).split(" ")[0] in ("35", "230")]


def start(s, script, how=("unshare", "-m"), end="exec sleep 1000"):
    """A shell script in new namespaces; $W is the scenario's directory. It is the victim when it has run."""
    need(how[0])
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen([*how, "sh", "-ec", "%s\n%s" % (script, end)],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=s.dir,
                                  env=dict(os.environ, W=s.dir))
    s.pid = s.proc.pid
    check(wait_for(lambda: asleep(s.pid) or s.proc.poll() is not None), "the victim is not ready")
    s.inner = (asleep(s.pid) or [0])[0]
    check(s.proc.poll() is None, "the script ended: %s" % text(s.path("victim.out")))


def inside(pid, *argv):
    p = subprocess.run(["nsenter", "-t", str(pid), "-m", *argv], capture_output=True, text=True)
    return p.stdout + p.stderr


def inside_all(pid, *argv):
    p = subprocess.run(["nsenter", "-t", str(pid), "-U", "-m", "-p", *argv], capture_output=True, text=True)
    return p.stdout + p.stderr


def files_of(pid):
    out = {}
    for n in os.listdir("/proc/%d/fd" % pid):
        st = os.stat("/proc/%d/fd/%s" % (pid, n))
        out[n] = (os.readlink("/proc/%d/fd/%s" % (pid, n)), st.st_mode, st.st_size, st.st_nlink)
    for n in ("cwd", "root", "exe"):
        out[n] = os.readlink("/proc/%d/%s" % (pid, n))
    return out


def rounds(s, tops=(), n=3, dump=(), restore=(), between=None):
    def look():
        return (mounts(s.inner), files_of(s.inner), {t: contents("/proc/%d/root%s" % (s.inner, t)) for t in tops})
    before = look()
    for i in range(n):
        s.dump(*dump)
        if between:
            between()
        s.restore("--pidfile", s.path("pid"), *restore)
        alone = s.inner == s.pid
        s.pid = int(text(s.path("pid")))
        s.inner = s.pid if alone else s.inner
        now = look()
        for was, is_now, what in zip(before, now, ("mounts", "files", "contents")):
            check(was == is_now, "%s after round %d: %s" % (what, i + 1, difference(was, is_now)))
    check(s.pid and before, "nothing was compared")


def difference(was, now):
    if isinstance(was, list):
        return "gone %r, new %r" % ([x for x in was if x not in now][:6], [x for x in now if x not in was][:6])
    for k in was:
        if isinstance(was[k], dict) and was[k] != now.get(k):
            return k + ": " + difference(was[k], now.get(k, {}))
    return "; ".join("%s: %r is now %r" % (k, was.get(k), now.get(k)) for k in sorted({*was, *now})
                     if was.get(k) != now.get(k))[:2000]
