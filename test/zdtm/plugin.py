#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Plugins: which are loaded and which are not, when their hooks are called and with what, what becomes of a command whose
# plugin fails, crashes, ends it or hangs, and that a checkpoint which needs one is refused without.
# zdtm: driver
# zdtm: needs gcc
# zdtm: timeout 600
import os
import signal
import socket
import subprocess

from driver import Skipped, check, need, run_all, scenario, state_of, text, tree, wait_for
from plugins import TOP, build, calls, does, failed, log, start, test_plugin

CHILD = """
child = os.fork()
if not child:
    while True: time.sleep(1)
"""
ALL = "PAUSE_DEVICES:ok CHECKPOINT_DEVICES:ok RESUME_DEVICES_LATE:ok RESTORE_INIT:ok POST_FORKING:ok"


def libs_and_tree(s, setup=CHILD):
    libs = test_plugin(s)
    start(s, setup)
    check(wait_for(lambda: len(tree(s.pid)) == setup.count("fork") + 1), "no child")
    return libs, tree(s.pid)


def alive(s, pids):
    """Runs on as it was, and can be dumped again."""
    for p in pids:
        check(wait_for(lambda: state_of(p) in "SR"), "pid %d is %s" % (p, state_of(p)))


@scenario
def stages(s):
    """Each hook once for each task, in order, with the tree in the state that the header promises."""
    libs, pids = libs_and_tree(s)
    around = [["init 0"], ["PAUSE_DEVICES %d S" % p for p in pids], ["CHECKPOINT_DEVICES %d t" % p for p in pids]]
    resumed = ["RESUME_DEVICES_LATE %d t" % p for p in pids]
    s.dump("-L", libs, "-R", env=does(s, ALL))
    check(calls(s) == sum(around, []) + resumed + ["exit 0 0"], "-R: %r" % calls(s))
    alive(s, pids)
    s.dump(env=does(s, ALL, CRIU_LIBS_DIR=libs))
    check(calls(s) == sum(around, []) + ["exit 0 0"], "dump: %r" % calls(s))
    s.restore("--libdir", libs, env=does(s, ALL))
    check(calls(s) == ["init 2", "wanted 0", "RESTORE_INIT", "POST_FORKING"] + resumed + ["exit 2 0"],
          "restore: %r" % calls(s))
    s.verify()


@scenario
def nobody_takes_it(s):
    """-ENOTSUP everywhere is as if there was no plugin; -s: devices go on, though the tree does not."""
    libs, pids = libs_and_tree(s)
    s.dump("-L", libs, env=does(s, ""))
    s.restore("-L", libs, env=does(s, ""))
    s.dump("-L", libs, "-s", env=does(s, ALL))
    check([c.split()[0] for c in calls(s)][-3:] == ["RESUME_DEVICES_LATE", "RESUME_DEVICES_LATE", "exit"], "-s: %r" % calls(s))
    os.kill(s.pid, signal.SIGCONT)
    os.kill(pids[1], signal.SIGCONT)
    s.verify()


@scenario
def born_late(s):
    """A task that is made when all others have been paused is paused before it is seized."""
    libs = test_plugin(s)
    start(s, """
import signal
def make_child(*_):
    if not os.fork():
        while True: time.sleep(1)
signal.signal(signal.SIGUSR1, make_child)
""")
    s.dump("-L", libs, "-R", env=does(s, ALL.replace("PAUSE_DEVICES:ok", "PAUSE_DEVICES:fork")))
    pids = tree(s.pid)
    check(len(pids) == 2, "no child: %r" % pids)
    check(calls(s)[1:3] == ["PAUSE_DEVICES %d S" % p for p in pids], "%r" % calls(s))
    check([c.split()[1] for c in calls(s) if c.startswith("RESUME")] == [str(p) for p in pids], "%r" % calls(s))
    s.verify()


@scenario
def first_answer_counts(s):
    """In the order of their names; one that says -ENOTSUP leaves the question to the next."""
    libs, pids = libs_and_tree(s)
    test_plugin(s, "a_first")
    s.dump("-L", libs, "-R", env=does(s, "PAUSE_DEVICES:ok"))
    got = [c for c in calls(s) if c.startswith("PAUSE")]
    check(len(got) == 2, "asked after an answer: %r" % got)
    check(len([c for c in calls(s) if c.startswith("CHECKPOINT")]) == 4, "not both asked: %r" % calls(s))
    check(calls(s)[:2] == ["init 0"] * 2 and calls(s)[-2:] == ["exit 0 0"] * 2, "%r" % calls(s))
    s.verify()


@scenario
def not_loaded(s):
    """Each is a warning that names the file, and the work goes on."""
    libs, pids = libs_and_tree(s, "")
    os.unlink(libs + "/test_plugin.so")
    test_plugin(s, "old", "0x000100")
    test_plugin(s, "newer", "0x000300")
    with open(s.path("empty.c"), "w") as f:
        f.write("int nothing;\n")
    with open(s.path("lost.c"), "w") as f:
        f.write("extern int no_such_function(void); int call(void) { return no_such_function(); }\n")
    with open(s.path("many.c"), "w") as f:
        f.write('#include "criu/criu-plugin.h"\nstruct { cr_plugin_desc_t d; void *more[4]; } CR_PLUGIN_D = { { "many", 0, 0, '
                'CRIU_PLUGIN_VERSION, CR_PLUGIN_HOOK__MAX + 4, { 0 } }, { 0, &CR_PLUGIN_D } };\n'
                '__asm__(".globl CR_PLUGIN_DESC\\n.set CR_PLUGIN_DESC, CR_PLUGIN_D\\n");\n')
    for n in ("empty", "lost", "many"):
        build(s, n, s.path(n + ".c"))
    with open(libs + "/text.so", "w") as f:
        f.write("no shared object\n")
    os.mkdir(libs + "/directory.so")
    with open(libs + "/README", "w") as f:
        f.write("not looked at\n")
    s.dump("-L", libs, "-R", "-v2", env=does(s, ALL))
    check(calls(s) == [], "called: %r" % calls(s))
    for n, why in (("old", "0.1.0"), ("newer", "0.3.0"), ("empty", "CR_PLUGIN_DESC"), ("lost", "no_such_function"),
                   ("many", "hooks that this criu does not know"), ("text", "dlopen"), ("directory", "dlopen")):
        lines = [x for x in log(s, "dump.log").splitlines() if "Warn" in x and "/%s.so" % n in x and why in x]
        check(lines, "no warning of %s.so (%s): %s" % (n, why, log(s, "dump.log")[:2000]))
    check("README" not in log(s, "dump.log"), "README was looked at")
    s.clean_images()
    s.dump("-L", s.path("no/such/directory"), "-R")
    check("no/such/directory" in log(s, "dump.log"), "no word of a directory that does not exist")
    s.verify()


@scenario
def at_a_dump(s):
    """A hook that fails: the command fails, the plugin and the hook are named, the tree runs on with its devices."""
    libs, pids = libs_and_tree(s)
    for hook in ("init", "PAUSE_DEVICES", "CHECKPOINT_DEVICES", "RESUME_DEVICES_LATE"):
        s.dump("-L", libs, "-R", ok=False, env=does(s, ALL.replace(hook + ":ok", "") + " %s:fail" % hook))
        failed(s, ["plugin test_plugin", hook])
        check(not s.images(), "%s: images are left: %r" % (hook, s.images()))
        asked = [c.split()[1] for c in calls(s) if c.startswith("RESUME")]
        paused = [c.split()[1] for c in calls(s) if c.startswith("PAUSE")]
        check(set(asked) == set(paused), "%s: resumed %r of %r" % (hook, asked, paused))
        check(hook == "init" or calls(s)[-1] == "exit 0 -1", "%s: %r" % (hook, calls(s)))
        alive(s, pids)
    s.dump("-L", libs, "-R", env=does(s, ALL))
    s.verify()


@scenario
def ended_at_a_dump(s):
    """criu is ended by its plugin: the guardian has the devices resumed, by the same plugin."""
    libs, pids = libs_and_tree(s)
    for hook in ("PAUSE_DEVICES", "CHECKPOINT_DEVICES"):
        for how in ("crash", "exit0", "kill"):
            s.dump("-L", libs, "-R", ok=False, env=does(s, ALL.replace(hook + ":ok", "%s:%s" % (hook, how))))
            check(s.rc != 0, "%s %s: status 0" % (hook, how))
            check(how != "exit0" or "exit()" in log(s, "dump.log"), "no word of exit(): %s" % s.errors("dump.log"))
            paused = sorted({c.split()[1] for c in calls(s) if c.startswith("PAUSE")})

            def resumed():
                return sorted({c.split()[1] for c in calls(s) if c.startswith("RESUME")})
            check(wait_for(lambda: resumed() == paused), "%s %s: %r" % (hook, how, calls(s)))
            check(not [c for c in calls(s) if c.startswith("RESUME") and c.endswith("t")], "frozen still: %r" % calls(s))
            alive(s, pids)
            check(wait_for(lambda: not s.images()), "%s %s: images are left" % (hook, how))
    s.dump("-L", libs, env=does(s, ALL))
    s.restore("-L", libs, env=does(s, ALL))
    s.verify()


@scenario
def hangs(s):
    """A hook that does not come back: whoever ends criu gets all back; so does one whose resuming hangs or crashes too."""
    libs, pids = libs_and_tree(s)
    for hook, after, sig in (("PAUSE_DEVICES", "ok", signal.SIGTERM), ("CHECKPOINT_DEVICES", "ok", signal.SIGKILL),
                             ("CHECKPOINT_DEVICES", "crash", signal.SIGKILL), ("CHECKPOINT_DEVICES", "exit0", signal.SIGINT)):
        do = ALL.replace(hook + ":ok", hook + ":hang").replace("RESUME_DEVICES_LATE:ok", "RESUME_DEVICES_LATE:" + after)
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-R", "-L", libs, "-o", "dump.log", "-v4"],
                             env=dict(os.environ, **does(s, do)), stderr=subprocess.DEVNULL)
        check(wait_for(lambda: any(c.startswith(hook) for c in calls(s))), "not called")
        p.send_signal(sig)
        check(p.wait(60) != 0, "%s: status 0" % hook)
        alive(s, pids)
        check(wait_for(lambda: any(c.startswith("RESUME") for c in calls(s))), "not resumed: %r" % calls(s))
    s.verify()


@scenario
def at_a_restore(s):
    """Nothing is left, and the images restore the next time."""
    libs, pids = libs_and_tree(s)
    s.dump("-L", libs, env=does(s, ALL))
    s.proc = None  # what has the pid from here on is not that process
    for hook in ("init", "RESTORE_INIT", "POST_FORKING", "RESUME_DEVICES_LATE"):
        for how in ("fail", "crash", "exit0", "kill"):
            s.restore("-L", libs, ok=False, env=does(s, ALL.replace(hook + ":ok", "") + " %s:%s" % (hook, how)))
            check(s.rc != 0, "%s %s: status 0" % (hook, how))
            if how == "fail":
                failed(s, ["plugin test_plugin", hook], "restore.log")
                check(hook == "init" or calls(s)[-1] == "exit 2 -1", "%s: %r" % (hook, calls(s)))
            for p in pids:
                s.gone(p)
    s.restore("-L", libs, env=does(s, ALL))
    s.verify()


@scenario
def exit_that_crashes(s):
    """After the commit: what was done is done, and the next dump works."""
    libs, pids = libs_and_tree(s)
    s.dump("-L", libs, "-R", ok=False, env=does(s, ALL + " exit:crash"))
    check(s.rc != 0, "status 0 of a criu that has crashed")
    alive(s, pids)
    s.dump("-L", libs, env=does(s, ALL))
    s.restore("-L", libs, ok=False, env=does(s, ALL + " exit:crash"))
    alive(s, pids)
    s.proc = None
    s.verify()


@scenario
def killed_everywhere(s):
    """criu is killed at each fault point that plugins add, and at those around."""
    libs, pids = libs_and_tree(s)
    for point in range(1, 60):
        s.dump("-L", libs, "-R", "--test-kill-at", point, ok=False, env=does(s, ALL))
        if s.rc == 0:
            break
        alive(s, pids)
        paused = sorted({c.split()[1] for c in calls(s) if c.startswith("PAUSE")})
        done = "committed: the tasks" in text(s.imgs + "/dump.log")
        check(done or wait_for(lambda: sorted({c.split()[1] for c in calls(s) if c.startswith("RESUME")}) == paused),
              "point %d: %r" % (point, calls(s)))
    check(point > 5, "only %d points" % point)
    s.verify()


@scenario
def what_criu_offers(s):
    """The list of plugins in the inventory, the log, --timeout."""
    libs, pids = libs_and_tree(s)
    s.dump("-L", libs, "--timeout", 77, env=does(s, ALL + " inventory:ok"))
    check("has been called at stage 0 of CRIU 4.2, timeout 77" in log(s, "dump.log"), "its line is not in the log")
    said = [x for x in log(s, "dump.log").splitlines() if "timeout 77" in x]
    check(len(said) == 1, "its line is there %d times" % len(said))
    inv = subprocess.run([os.path.join(TOP, "crit/crit"), "show", s.imgs + "/inventory.img"], capture_output=True, text=True)
    check(not inv.returncode and "test_plugin" in inv.stdout, "not in the inventory: " + inv.stdout[:500] + inv.stderr)
    s.restore(ok=False, env=does(s, ALL))
    failed(s, ["needs the plugin test_plugin", "--libdir"], "restore.log")
    s.restore("-L", libs, env=does(s, ALL))
    check(calls(s)[1] == "wanted 1", "%r" % calls(s))
    s.verify()


@scenario
def exported(s):
    """Plugins see what the headers have, and nothing else of criu's: its names may be those of their libraries."""
    need("nm")
    out = subprocess.run(["nm", "-D", "--defined-only", s.criu], stdout=subprocess.PIPE, text=True, check=True).stdout
    got = sorted(x.split()[2] for x in out.splitlines() if x.split()[1] in "TtWDR")
    check(got == ["add_inventory_plugin", "check_and_remove_inventory_plugin", "criu_get_image_dir", "criu_get_timeout",
                  "print_on_level", "vprint_on_level"], "%r" % got)


# ---- what criu cannot save ----

LOOP = """
a, b = os.open('/dev/loop0', os.O_RDONLY), os.open('/dev/loop1', os.O_RDONLY)
c = os.dup(a)
def check():
    kinds = [os.fstat(f).st_rdev & 0xff for f in (a, b, c)]
    os.set_blocking(a, False)
    return ([] if kinds == [0, 1, 0] else [kinds]) + (['not shared'] if os.get_blocking(c) else [])
"""


def need_loop():
    try:
        for n in (0, 1):
            os.close(os.open("/dev/loop%d" % n, os.O_RDONLY))
    except OSError as e:
        raise Skipped("/dev/loop: %s" % e.strerror)


@scenario
def files(s):
    need_loop()
    libs, pids = libs_and_tree(s, LOOP)
    s.dump("-L", libs, ok=False, env=does(s, ""))
    failed(s, ["/dev/loop0", "no plugin takes it"])
    alive(s, pids)
    s.dump("-L", libs, ok=False, env=does(s, "DUMP_EXT_FILE:fail"))
    failed(s, ["plugin test_plugin", "/dev/loop0"])
    s.clean_images()
    for how in ("ok", "retry"):
        s.dump("-L", libs, env=does(s, "DUMP_EXT_FILE:ok"))
        check([c for c in calls(s) if "EXT_FILE" in c] == ["DUMP_EXT_FILE 7:0", "DUMP_EXT_FILE 7:1"], "%r" % calls(s))
        check(len([c for c in calls(s) if "DEVICES_LATE" in c]) == 2, "%r" % calls(s))
        s.restore(ok=False, env=does(s, ""))
        failed(s, ["needs the plugin test_plugin"], "restore.log")
        s.restore("-L", libs, ok=False, env=does(s, "RESTORE_EXT_FILE:fail"))
        failed(s, ["RESTORE_EXT_FILE"], "restore.log")
        s.restore("-L", libs, ok=False, env=does(s, "RESTORE_EXT_FILE:retry", PLUGIN_FOREVER="1"))
        failed(s, ["waits for files"], "restore.log")
        s.restore("-L", libs, env=does(s, "RESTORE_EXT_FILE:" + how))
        check(len([c for c in calls(s) if "EXT_FILE" in c]) == (3 if how == "retry" else 2), "%r" % calls(s))
    s.verify()


@scenario
def files_of_an_older_checkpoint(s):
    """A dump that fails leaves the older checkpoint in the directory whole, with the plugin's files."""
    need_loop()
    libs, pids = libs_and_tree(s, LOOP)
    s.dump("-L", libs, "-R", env=does(s, "DUMP_EXT_FILE:ok"))
    before = {n: text(s.imgs + "/" + n) for n in os.listdir(s.imgs) if n.startswith("test-ext")}
    check(len(before) == 2, "%r" % before)
    s.dump("-L", libs, "-R", ok=False, env=does(s, "DUMP_EXT_FILE:ok DUMP_DEVICES_LATE:fail"))
    failed(s, "DUMP_DEVICES_LATE")
    check({n: text(s.imgs + "/" + n) for n in os.listdir(s.imgs) if n.startswith("test-ext")} == before, "changed")
    s.kill()
    s.restore("-L", libs, env=does(s, "RESTORE_EXT_FILE:ok"))
    s.verify()


CLIENT = """
c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); c.connect('sock'); c.send(b'one')
def check():
    c.send(b'two')
    return [] if c.recv(10) == b'three' else ['what it got']
"""


@scenario
def unix_sockets(s):
    """With a peer outside of the tree; what that has sent must have been read."""
    l = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    l.bind(s.path("sock"))
    l.listen(5)
    libs, pids = libs_and_tree(s, CLIENT)
    first = l.accept()[0]
    check(first.recv(10) == b"one", "not connected")
    s.dump("-L", libs, ok=False, env=does(s, ""))
    failed(s, "outside of the tree")
    first.send(b"unread")
    s.dump("-L", libs, ok=False, env=does(s, "DUMP_UNIX_SK:ok"))
    failed(s, "6 bytes in its receive queue")
    s.kill()
    start(s, CLIENT)
    first = l.accept()[0]
    s.dump("-L", libs, env=does(s, "DUMP_UNIX_SK:ok"))
    check("DUMP_UNIX_SK 0 1" in calls(s), "%r" % calls(s))
    s.restore("-L", libs, ok=False, env=does(s, "RESTORE_UNIX_SK:fail"))
    failed(s, "RESTORE_UNIX_SK", "restore.log")
    s.restore("-L", libs, env=does(s, "RESTORE_UNIX_SK:ok", PLUGIN_SOCKET=s.path("sock")))
    l.settimeout(60)
    second = l.accept()[0]
    second.send(b"three")
    s.verify()
    check(second.recv(10) == b"two", "what was sent after the restore")


@scenario
def mappings(s):
    """A device that stays mapped; where it is mapped is what the plugin says."""
    need_loop()
    with open(s.path("disk"), "wb") as f:
        f.write(b"first page".ljust(4096, b"."))
        f.write(b"second page".ljust(4096, b"."))
        f.truncate(1 << 20)
    p = subprocess.run(["losetup", "-f", "--show", s.path("disk")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        raise Skipped("losetup: " + p.stderr.strip())
    loop = p.stdout.strip()
    try:
        libs, pids = libs_and_tree(s, """
import mmap
f = os.open('%s', os.O_RDONLY)
m = mmap.mmap(f, 8192, mmap.MAP_SHARED, mmap.PROT_READ)
os.close(f)
for fd in os.listdir('/proc/self/fd'):
    try:
        if 'loop' in os.readlink('/proc/self/fd/' + fd): os.close(int(fd))
    except OSError: pass
was = m[:5]
def check():
    return [] if (was, m[:6]) == (b'first', b'second') else [m[:20]]
""" % loop)
        s.dump("-L", libs, ok=False, env=does(s, ""))
        failed(s, [loop, "no plugin takes it"])
        alive(s, pids)
        s.dump("-L", libs, ok=False, env=does(s, "HANDLE_DEVICE_VMA:fail"))
        failed(s, "HANDLE_DEVICE_VMA")
        s.dump("-L", libs, env=does(s, "HANDLE_DEVICE_VMA:ok"))
        check("HANDLE_DEVICE_VMA 1 1" in calls(s), "%r" % calls(s))
        s.restore("-L", libs, ok=False, env=does(s, "UPDATE_VMA_MAP:fail"))
        failed(s, "UPDATE_VMA_MAP", "restore.log")
        s.restore("-L", libs, env=does(s, "UPDATE_VMA_MAP:ok"))
        check("UPDATE_VMA_MAP %s 1 0" % loop in calls(s), "%r" % calls(s))
        s.verify()
    finally:
        subprocess.run(["losetup", "-d", loop])


@scenario
def mounts(s):
    """A mount of the host's that the plugin takes, and makes anew with something else in it."""
    os.mkdir(s.path("shared"))
    subprocess.run(["mount", "-t", "tmpfs", "source", s.path("shared")], check=True)
    with open(s.path("shared/here"), "w") as f:
        f.write("x")
    libs = test_plugin(s)
    start(s, """
import ctypes
os.mkdir('at')
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x20000) or libc.mount(b'none', b'/', None, 0x44000, None): raise OSError(ctypes.get_errno())
if libc.mount(b'none', b'at', b'tmpfs', 0, None): raise OSError(ctypes.get_errno())
os.mkdir('at/in')
if libc.mount(b'shared', b'at/in', None, 4096, None): raise OSError(ctypes.get_errno())
was = os.listdir('at/in')
def check():
    now = os.listdir('at/in')
    return [] if was == ['here'] and now == ['made'] and open('at/in/made').read() == 'plugin\\n' else [now]
""")
    place = {"PLUGIN_MOUNT": s.path("at/in")}
    s.dump("-L", libs, ok=False, env=does(s, "DUMP_EXT_MOUNT:fail", **place))
    failed(s, "DUMP_EXT_MOUNT")
    s.dump("-L", libs, env=does(s, "DUMP_EXT_MOUNT:ok", **place))
    check("DUMP_EXT_MOUNT %s 1" % s.path("at/in") in calls(s), "%r" % calls(s))
    s.restore("-L", libs, ok=False, env=does(s, "RESTORE_EXT_MOUNT:fail"))
    failed(s, "RESTORE_EXT_MOUNT", "restore.log")
    s.restore("-L", libs, ok=False, env=does(s, "RESTORE_EXT_MOUNT:ok", PLUGIN_NOTHING="1"))
    failed(s, "has mounted nothing", "restore.log")
    s.restore("-L", libs, env=does(s, "RESTORE_EXT_MOUNT:ok"))
    check([c for c in calls(s) if "MOUNT" in c] == ["RESTORE_EXT_MOUNT 1 / 0"], "%r" % calls(s))
    check("- tmpfs plugin" not in text("/proc/self/mountinfo"), "a mount is left")
    s.verify()
    subprocess.run(["umount", s.path("shared")], check=True)


run_all()
