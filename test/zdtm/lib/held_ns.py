# SPDX-License-Identifier: GPL-2.0-only
"""data/criu/ns, ns-user and ns-veth: trees in namespaces that CRIU 4.2 dumped: the root that they need, the same tree anew, and what is seen of one."""
import ctypes
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile

import held
from case import Skipped, wait_for
from driver import check, children, state_of, text
from mounts import mounts

NSROOT = held.ROOT + "/nsroot"  # as init saw it
BOUND = held.ROOT + "/bound"  # for --root
USER = {"ns": [], "ns-user": ["-U", "-r"], "ns-veth": []}
RULES = "table inet held { chain in { type filter hook input priority filter; policy accept; tcp dport 81 drop; }; }"


def place(mode):
    """The root as the tree left it."""
    ctypes.CDLL(None).umount2(BOUND.encode(), 2)
    for path in (NSROOT, BOUND):
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
    for n in ("bin", "proc", "sys", "tmp", "dev", "dev/pts", "old", "data", "mnt", "work", "etc"):
        os.mkdir(os.path.join(NSROOT, n))
    shutil.copy(busybox(mode), NSROOT + "/bin/busybox")
    shutil.copy(held.ROOT + "/held", NSROOT + "/bin/held")
    shutil.copy(held.DATA + "/ns-init", NSROOT + "/init")
    for n in ("bin/busybox", "bin/held", "init"):
        os.chmod(os.path.join(NSROOT, n), 0o755)
    for n in "sh mount umount hostname sleep ip ls cat mkdir mkfifo ln".split():
        os.symlink("busybox", NSROOT + "/bin/" + n)
    for n in ("one", "two"):
        with open(NSROOT + "/etc/" + n, "w") as f:
            f.write(n + "\n")
    os.mknod(NSROOT + "/dev/null", 0o20666, os.makedev(1, 3))
    os.chmod(NSROOT + "/dev/null", 0o666)
    subprocess.run(["mount", "--bind", "--make-private", NSROOT, BOUND], check=True)


def busybox(mode):
    """The very file that was dumped, as held.is_the_one()."""
    path = shutil.which("busybox")
    exe = next(e["reg"] for e in held.show(os.path.join(held.DATA, mode))["files.img"] if e.get("reg", {}).get("name") == "/bin/busybox")
    if not path:
        raise Skipped("needs busybox")
    with open(path, "rb") as f:
        raw = f.read()
    if len(raw) != exe["size"] or b"".join(n.to_bytes(4, "little") for n in exe["build_id"]) not in raw:
        raise Skipped("busybox is another than was dumped")
    return path


def enter(pid, mode, *command):
    p = subprocess.run(["nsenter", "-t", str(pid), "-n", "-i", "-u", *(["-U"] if USER[mode] else []), *command],
                       capture_output=True, text=True, timeout=60)
    check(not p.returncode, "%s: %s" % (command, p.stderr))
    return p.stdout


def start(s, mode):
    """The same tree as CRIU dumped."""
    place(mode)
    script = "mount --bind . .; cd %s; pivot_root . old; exec /init" % NSROOT

    def ignore():  # as a shell does for what runs in the background
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    with open(s.path("init.out"), "w") as out:
        s.proc = subprocess.Popen(["unshare", *USER[mode], *"-p -f -m -n -u -i -C setsid sh".split(), "-ec", script],
                                  cwd=NSROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=ignore, env={"PATH": os.environ["PATH"]})

    def init():
        found = children(s.proc.pid)
        return found and os.path.exists(NSROOT + "/work/ready") and [text("/proc/%d/comm" % c) for c in children(found[0])] == ["held\n"]
    check(wait_for(lambda: init() or s.proc.poll() is not None) and init(), "not ready: %s" % text(s.path("init.out")))
    s.pid = children(s.proc.pid)[0]
    check(wait_for(lambda: text("/proc/%d/comm" % s.pid) == "sleep\n" and state_of(held_of(s.pid)) == "S"), "no sleep")
    enter(s.pid, mode, "ipcmk", "-M", "4096", "-Q", "-S", "2")
    enter(s.pid, mode, "nft", RULES)


def held_of(pid):
    found = children(pid)
    check(len(found) == 1, "pid 1 has %d children" % len(found))
    return found[0]


def ask(pid):
    """The program was started without HELD_OUT, and so its file has this name."""
    out = NSROOT + "/work/(null)"
    before = text(out) if os.path.exists(out) else ""
    os.kill(held_of(pid), 10)
    wait_for(lambda: os.path.exists(out) and text(out) != before and text(out).endswith("\n"))
    return text(out)[len(before):].strip()


def look(pid, mode):
    """What the init made, as it is seen from outside: the same in each round."""
    root = "/proc/%d/root" % pid

    def contents(top):
        out = []
        for at, dirs, files in os.walk(root + top):
            for n in sorted(dirs + files):
                st = os.lstat(os.path.join(at, n))
                out.append((os.path.join(at, n)[len(root):], oct(st.st_mode), int(st.st_mtime), st.st_uid))
        return sorted(out)
    addresses = re.findall(r"inet6? (\S+)", enter(pid, mode, "ip", "addr", "show", "up", "dev", "lo"))
    objects = re.sub(r"\s+", " ", enter(pid, mode, "ipcs", "-m", "-q", "-s"))
    return {"mounts": [re.sub(r"^(\S+) \S+", r"\1", m) for m in mounts(pid)], "tmp": contents("/tmp"), "data": contents("/data"),
            "text": text(root + "/tmp/d/e/f") + text(root + "/etc/two") + os.readlink(root + "/tmp/sym"),
            "name": enter(pid, mode, "hostname"), "lookups": [enter(pid, mode, "ip", v, "rule") for v in ("-4", "-6")], "addresses": addresses, "veth": veth_of(pid, mode), "objects": objects,
            "msgmax": enter(pid, mode, "cat", "/proc/sys/kernel/msgmax"), "rules": enter(pid, mode, "nft", "list", "table", "inet", "held"),
            "commands": [text("/proc/%d/cmdline" % p) for p in (pid, held_of(pid))],
            "pids": [re.findall(r"NSpid:.*\t(\d+)", text("/proc/%d/status" % p)) for p in (pid, held_of(pid))],
            "maps": text("/proc/%d/uid_map" % pid).split() if USER[mode] else "",
            "sessions": [re.findall(r"NS(?:pgid|sid):.*\t(\d+)", text("/proc/%d/status" % p)) for p in (pid, held_of(pid))]}


def veth_of(pid, mode):
    """Its hardware address, its others, and routes over it."""
    if mode != "ns-veth":
        return []
    said = enter(pid, mode, "ip", "addr", "show", "up", "dev", "eth0")
    return re.findall(r"(?:link/ether|inet) (\S+)", said) + [enter(pid, mode, "ip", "route").strip()]


def tar_of(folder, mountpoint):
    """[(name, type, mode, size, link)] of the archive of what is mounted there."""
    entries = next(e for n, e in held.show(folder).items() if n.startswith("mountpoints-"))
    dev = next(e["root_dev"] for e in entries if e["mountpoint"] == mountpoint)
    with open("%s/tmpfs-dev-%s.tar.gz.img" % (folder, dev.split(":")[1]), "rb") as f:
        with tarfile.open(fileobj=io.BytesIO(f.read())) as tar:
            return sorted((m.name, m.type, m.mode, m.size, m.linkname, m.uid) for m in tar.getmembers())
