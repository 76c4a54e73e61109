#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Where memfds that do not say may not be executed (vm.memfd_noexec, of a pid namespace of its own): a restore says, for
# the task's and for its own. Where none may be executed it says so before it starts anything.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess
import sys
import time

SYSCTL = "/proc/sys/vm/memfd_noexec"


def wait_for(path):
    for _ in range(6000):
        if os.path.exists(path):
            return
        time.sleep(0.01)
    sys.exit("%s does not come" % path)


def read(path):
    with open(path) as f:
        return f.read()


def inside(strict):
    """The first process of a pid namespace, with a /proc of that."""
    criu = os.environ["CRIU"]
    victim = subprocess.Popen([os.path.join(os.environ["TESTS"], "memfd")], start_new_session=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("ready")
    os.mkdir("imgs")
    subprocess.run([criu, "dump", "-t", str(victim.pid), "-D", "imgs"], check=True)
    victim.wait()
    try:
        while os.wait():  # its child, whose parent we are now
            pass
    except ChildProcessError:
        pass
    with open(SYSCTL, "w") as f:
        f.write(strict)
    p = subprocess.run([criu, "restore", "-d", "-D", "imgs"], stderr=subprocess.PIPE, text=True,
                       errors="replace")
    if strict == "2":
        if not p.returncode or "vm.memfd_noexec is 2" not in p.stderr or "nothing was started" not in p.stderr:
            sys.exit("with 2 it says: %s" % p.stderr)
        return
    if p.returncode:
        sys.exit("with %s: %s" % (strict, p.stderr))
    open("verify", "w").close()
    wait_for("result")
    for _ in range(6000):
        if "FAIL" in read("result") or "PASS" in read("result"):
            break
        time.sleep(0.01)
    if "FAIL" in read("result") or "PASS" not in read("result"):
        sys.exit("the victim says %s" % read("result"))


def main():
    said = []
    if not os.path.exists(SYSCTL):
        said.append("SKIP this kernel has no vm.memfd_noexec")
    for strict in ("1", "2") if not said else ():
        os.mkdir(strict)
        p = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", sys.executable, os.path.abspath(__file__),
                            strict], cwd=strict, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if p.returncode:
            said.append("FAIL " + p.stdout.strip().replace("\n", " "))
    with open("result", "w") as f:
        f.writelines(s + "\n" for s in said)
        f.write("PASS\n")


inside(sys.argv[1]) if len(sys.argv) > 1 else main()
