#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The network lock as others see it: what stands between dump and restore, with nftables and with both kinds of iptables;
# criu unlock; other marks; a table of CRIU's; a restore by another method than the dump's.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs nft
# zdtm: timeout 240
import os
import shutil
import socket
import subprocess
import sys
import time

from case import Skipped, guardians
from driver import check, children, reap, run_all, scenario, state_of, text, wait_for
from tcp_peers import Streams, as_older, connect, end, exchange, inside_flows, own_network, ruleset, run_id, shell, start, strip_our_fields, table_name, table_of_crius, tables

KEEP = "--tcp-established"


def log(s, name="restore.log"):
    return s.out + text(os.path.join(s.imgs, name))


def iptables(s, kind):
    """Only one kind of iptables is found by the tool."""
    if not shutil.which("iptables-%s-restore" % kind):
        raise Skipped("needs iptables-%s" % kind)
    os.mkdir(s.path("bin"))
    for n in ("iptables", "ip6tables"):
        for v in ("", "-save", "-restore"):
            os.symlink(shutil.which("%s-%s%s" % (n, kind, v)), s.path("bin/" + n + v))
    os.environ["PATH"] = s.path("bin") + ":" + os.environ["PATH"]
    return lambda: shell("iptables-save; ip6tables-save")


@scenario
def nftables(s):
    for host in ("127.0.0.1", "::1"):
        start(s, host, inside=2)
        c = connect(s)
        exchange(c)
        s.dump(KEEP)
        check(tables() == [["inet", table_name(s)]], "after the dump: %s" % ruleset())
        check(str(s.address[1]) in ruleset(), ruleset())
        c.sendall(b"abc")  # while locked
        time.sleep(0.3)
        s.restore(KEEP)
        check("not here" not in log(s), log(s))
        check(ruleset() == "", "after the restore: %s" % ruleset())
        got = c.recv(3, socket.MSG_WAITALL)
        check(got == b"bcd", "%r" % got)
        exchange(c)
        inside_flows(s)
        end(c)
        s.kill()


@scenario
def unlock(s):
    start(s)
    c = connect(s)
    exchange(c)
    s.dump(KEEP)
    c.sendall(b"abc")
    shell("nft 'add table inet other; add chain inet other CRIU-x'")
    check(s.tool("unlock", "-D", s.imgs) == 0 and table_name(s) in s.out, s.out)
    check(tables() == [["inet", "other"]], ruleset())
    c.settimeout(60)
    try:
        check(c.recv(10) == b"?", "the peer is not told")
    except ConnectionResetError:
        pass
    check(s.tool("unlock", "-D", s.imgs) == 0 and "no network lock" in s.out, s.out)
    check(s.tool("unlock", "-D", s.path("nowhere")) != 0, s.out)
    os.mkdir(s.path("empty"))
    check(s.tool("unlock", "-D", s.path("empty")) != 0 and "inventory" in s.out, s.out)
    os.truncate(os.path.join(s.imgs, "pstree.img"), 3)  # a damaged checkpoint
    check(s.tool("unlock", "-D", s.imgs) == 0, s.out)
    shell("nft flush ruleset")


@scenario
def unlock_where_nothing_was_locked(s):
    start(s)
    s.dump()
    check(s.tool("unlock", "-D", s.imgs) == 0 and "no network lock" in s.out, s.out)
    s.restore()
    check("not here" not in log(s), log(s))
    s.kill()


@scenario
def words(s):
    start(s)
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "--network-lock", "pf")
    check(s.rc != 0 and "only 'nftables', 'iptables' or 'skip'" in s.out, s.out)
    check(not os.listdir(s.imgs), "%s" % os.listdir(s.imgs))
    s.kill()


def crius_rules_of(us, them):
    """As iptables-save shows what CRIU makes of a connection, and deletes by its words."""
    return {"-A %s -s %s/%d -d %s/%d -p tcp -m mark ! --mark 0xc114 -m tcp --sport %d --dport %d -j DROP" %
            (chain, a[0], 128 if ":" in a[0] else 32, b[0], 128 if ":" in b[0] else 32, a[1], b[1])
            for chain, a, b in (("INPUT", them, us), ("OUTPUT", us, them))}


def both_ways(s, kind):
    rules = iptables(s, kind)
    before = rules()
    for host in ("127.0.0.1", "::1"):
        start(s, host, inside=2)
        streams = Streams(s, 4, most=3000, pause=0.001)
        streams.flows()
        s.dump(KEEP, "--network-lock", "iptables", "-R")
        check(rules().count("\n-A") == before.count("\n-A"), "after -R: %s" % rules())
        streams.flows("after -R")
        s.dump(KEEP, "--network-lock", "iptables")
        there = rules()
        # Those that CRIU would look for, and nothing else: 4 connections, and both ends of 2 inside.
        check(there.count("\n-A") == before.count("\n-A") + 16 and "CRIU" not in there, there)
        for c in streams.sockets:
            check(crius_rules_of(s.address, c.getsockname()[:2]) <= set(there.splitlines()), there)
        time.sleep(0.3)
        s.restore(KEEP)  # by the method of the dump
        check("iptables" not in log(s) or "Error" not in log(s), log(s))
        check(rules().count("\n-A") == before.count("\n-A"), "after the restore: %s" % rules())
        streams.flows("after the restore")
        inside_flows(s)
        s.dump(KEEP, "--network-lock", "iptables")
        check(s.tool("unlock", "-D", s.imgs) == 0 and table_name(s) in s.out, s.out)
        check(rules().count("\n-A") == before.count("\n-A"), "after unlock: %s" % rules())
        check(s.tool("unlock", "-D", s.imgs) == 0 and "no network lock" in s.out, s.out)
        streams.abandon()


@scenario
def iptables_nft(s):
    both_ways(s, "nft")
    shell("nft flush ruleset")


@scenario
def iptables_legacy(s):
    both_ways(s, "legacy")


@scenario
def iptables_that_outlives_the_tool(s):
    """It makes its rules when the tool was killed and the guardian takes them back."""
    start(s)
    c = connect(s)
    exchange(c)
    rules = iptables(s, "nft")
    program = os.path.realpath(s.path("bin/iptables-restore"))
    os.unlink(s.path("bin/iptables-restore"))
    os.mkdir(s.path("real"))
    os.symlink(program, s.path("real/iptables-restore"))
    with open(s.path("bin/iptables-restore"), "w") as f:
        f.write('#!/bin/sh\n(touch %s; sleep 0.5; %s "$@")\nexit $?\n' % (s.path("begun"), s.path("real/iptables-restore")))
    os.chmod(s.path("bin/iptables-restore"), 0o755)
    p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, KEEP, "--network-lock", "iptables"], cwd=s.dir,
                         stdin=subprocess.DEVNULL)
    check(wait_for(lambda: os.path.exists(s.path("begun"))), "iptables is not run")
    p.kill()
    p.wait()
    check(wait_for(lambda: reap() or not guardians()), "the guardian does not end")
    check(wait_for(lambda: reap() or children(os.getpid()) == [s.pid]), "iptables does not end")
    check("-A" not in rules(), "left: %s" % rules())
    exchange(c)
    s.kill()


@scenario
def iptables_that_fails(s):
    """Nothing is changed, and what it said is passed on."""
    start(s)
    c = connect(s)
    exchange(c)
    os.mkdir(s.path("bin"))
    with open(s.path("bin/iptables-restore"), "w") as f:
        f.write("#!/bin/sh\necho iptables has a bad day\nexit 3\n")
    os.chmod(s.path("bin/iptables-restore"), 0o755)
    s.dump(KEEP, "--network-lock", "iptables", ok=False, env={"PATH": s.path("bin") + ":" + os.environ["PATH"]})
    check(s.rc != 0 and "a bad day" in log(s, "dump.log"), log(s, "dump.log"))
    check(not s.images(), "%s" % s.images())
    exchange(c)
    s.kill()


def half_closed(s, host="127.0.0.1"):
    """Connections whose restore takes packets of our own."""
    start(s, host)
    cs = [connect(s) for _ in range(3)]
    for c in cs:
        exchange(c)
    os.kill(s.pid, 19)
    for c in cs:
        c.sendall(b"last")
        c.shutdown(socket.SHUT_WR)
    time.sleep(0.1)
    return cs


def all_answered(s, cs):
    os.kill(s.pid, 18)
    for c in cs:
        got = b""
        while len(got) < 5:
            more = c.recv(100)
            if not more:
                break
            got += more
        check(got == b"mbtu", "%r" % got)
        c.close()
    s.kill()
    check("CRIU" not in ruleset(), ruleset())


def through(s, dump_opts, restore_opts, between=None):
    cs = half_closed(s)
    s.dump(KEEP, *dump_opts)
    if between:
        between(s, cs)
    s.restore(KEEP, *restore_opts)
    all_answered(s, cs)


@scenario
def other_marks(s):
    through(s, ["--network-lock-mark", "0x8000"], ["--network-lock-mark", "0x8000"])
    through(s, ["--network-lock-mark", "0x8000"], [])
    through(s, [], ["--network-lock-mark", "0x8000"])


@scenario
def odd_marks(s):
    start(s)
    for mark in ("0", "-1", "0x100000000", "", "abc", "0x"):
        s.tool("dump", "-t", s.pid, "-D", s.imgs, KEEP, "--network-lock-mark", mark)
        check(s.rc != 0 and "network-lock-mark" in s.out, "%r: %d, %s" % (mark, s.rc, s.out))
    s.kill()
    for mark in ("1", "0x80000000", "0xffffffff"):
        s.clean_images()
        through(s, ["--network-lock-mark", mark], [])


# Has heard the end of its peer when it is dumped.
SERVER = r"""
import os, socket, time
l = socket.create_server(("127.0.0.1", 0))
open("port.new", "w").write(str(l.getsockname()[1]))
os.rename("port.new", "port")
c, _ = l.accept()
l.close()
while not os.path.exists("go"):
    time.sleep(0.01)
got = b"".join(iter(lambda: c.recv(100), b""))
c.sendall(b"answer to " + got)
c.close()
time.sleep(1000)
"""
CLIENT = r"""
import os, socket, sys, time
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
c.sendall(b"question")
c.shutdown(socket.SHUT_WR)
while c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 5:
    time.sleep(0.01)
open("asked", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
got = b"".join(iter(lambda: c.recv(100), b""))
open("result.new", "w").write(got.decode())
os.rename("result.new", "result")
time.sleep(1000)
"""


def start_two(s):
    for n in ("port", "asked", "go", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    procs = {}
    for n, code, ready in (("server", SERVER, "port"), ("client", CLIENT, "asked")):
        port = [text(s.path("port"))] if n == "client" else []
        procs[n] = subprocess.Popen([sys.executable, "-c", code, *port], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=open(s.path("victim.err"), "a"), start_new_session=True)
        check(wait_for(lambda n=ready: os.path.exists(s.path(n)), 20), "the %s is not ready" % n)
    return procs


def two_trees(s, order, *opts):
    """Two that talk to each other, each a checkpoint of its own; order: how they are restored, None: at the same time."""
    procs = start_two(s)
    for n, p in procs.items():
        shutil.rmtree(s.path(n), ignore_errors=True)
        os.mkdir(s.path(n))
        check(s.tool("dump", "-t", p.pid, "-D", s.path(n), "-v4", "-o", "dump.log", KEEP, *opts) == 0, s.out)
        p.wait()
    args = {n: ["restore", "-d", "-D", s.path(n), "-v4", "-o", "restore.log", KEEP] for n in procs}
    for n in order or ():
        check(s.tool(*args[n]) == 0, "%s of %s: %s" % (n, order, s.out))
    tools = {} if order else {n: subprocess.Popen([s.criu, *a], stdin=subprocess.DEVNULL) for n, a in args.items()}
    for n, t in tools.items():
        check(t.wait(60) == 0, "%s, while the other is restored: %s" % (n, text(os.path.join(s.path(n), "restore.log"))[-600:]))
    open(s.path("go"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("result")), 30), "no answer: %s" % text(s.path("victim.err")))
    check(text(s.path("result")) == "answer to question", text(s.path("result")))
    check("CRIU" not in ruleset(), ruleset())
    for p in procs.values():
        os.kill(p.pid, 9)
        check(wait_for(lambda p=p: reap() or state_of(p.pid) == "gone", 5), "it does not end")


@scenario
def two_trees_one_after_the_other(s):
    two_trees(s, ["server", "client"])
    two_trees(s, ["client", "server"])


@scenario
def two_trees_at_once(s):
    for _ in range(5):
        two_trees(s, None)


@scenario
def two_trees_by_iptables(s):
    iptables(s, "nft" if shutil.which("iptables-nft-restore") else "legacy")
    two_trees(s, ["server", "client"], "--network-lock", "iptables")
    two_trees(s, ["client", "server"], "--network-lock", "iptables")
    shell("nft flush ruleset")


@scenario
def a_table_of_crius(s):
    """Behind all of ours, at priority 0, with CRIU's mark; the images do not say whose they are."""
    through(s, [], ["--allow-edited-images"], lambda s, cs: table_of_crius(s))


@scenario
def a_lock_of_an_older_version(s):
    """Its number and the name of its table were others; so for a restore and for criu unlock."""
    def older(s, cs):
        as_older(s)
        check(tables() == [["inet", "CRIU-" + run_id(s)]], ruleset())
    through(s, [], ["--allow-edited-images"], older)
    check("is not here" not in log(s), log(s))
    s.clean_images()
    cs = half_closed(s)
    s.dump(KEEP)
    older(s, cs)
    check(s.tool("unlock", "-D", s.imgs) == 0 and "CRIU-" + run_id(s) in s.out and not tables(), s.out)


@scenario
def an_older_lock_by_iptables(s):
    iptables(s, "nft" if shutil.which("iptables-nft-restore") else "legacy")
    for unlock in False, True:
        cs = half_closed(s)
        s.dump(KEEP, "--network-lock", "iptables")
        check(s.tool("unlock", "-D", s.imgs) == 0, s.out)
        as_older(s)
        older_chains(s, cs)
        if unlock:
            check(s.tool("unlock", "-D", s.imgs) == 0 and table_name(s) in s.out, s.out)
        else:
            s.restore(KEEP, "--allow-edited-images")
            all_answered(s, cs)
            s.clean_images()
        check("CRIU" not in shell("iptables-save") and "0xc114" not in shell("iptables-save"), shell("iptables-save"))
    shell("nft flush ruleset")


@scenario
def unlock_by_the_rules(s):
    """CRIU's too; and where files.img is damaged, those of the connections that it still shows."""
    rules = iptables(s, "nft" if shutil.which("iptables-nft-restore") else "legacy")
    shell("iptables -A INPUT -p tcp --dport 9 -m mark ! --mark 0xc114 -j DROP")
    start(s)
    cs = [connect(s) for _ in range(3)]
    for c in cs:
        exchange(c)
    s.dump(KEEP, "--network-lock", "iptables")
    crius_rules(s, cs)
    check(rules().count("0xc114") == 7, rules())
    check(s.tool("unlock", "-D", s.imgs) == 0 and "is removed" in s.out, s.out)
    check(rules().count("0xc114") == 1, rules())
    crius_rules(s, cs)
    files = os.path.join(s.imgs, "files.img")
    os.truncate(files, os.path.getsize(files) - 1)
    check(s.tool("unlock", "-D", s.imgs) == 0 and "is removed" in s.out and "may be left" in s.out, s.out)
    check(rules().count("0xc114") < 7, rules())
    os.unlink(files)
    check(s.tool("unlock", "-D", s.imgs) == 1 and "files.img" in s.out, s.out)
    shell("iptables -F")


@scenario
def rules_of_what_is_given_up(s):
    """Connections that do not come back are unlocked as well."""
    rules = iptables(s, "nft" if shutil.which("iptables-nft-restore") else "legacy")
    for opts in (["--tcp-close"], [KEEP, "--tcp-fallback", "close"]):
        start(s)
        c = connect(s)
        exchange(c)
        s.dump(KEEP, "--network-lock", "iptables")
        check(rules().count("0xc114") == 2, rules())
        taken = socket.socket()
        if "--tcp-fallback" in opts:  # another socket has the connection
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR
            taken.bind(s.address)
            taken.connect(c.getsockname())
        s.restore(*opts)
        check("0xc114" not in rules(), "%s: %s" % (opts, rules()))
        taken.close()
        s.kill()
        s.clean_images()


@scenario
def marks_of_crius_pass(s):
    """CRIU may restore what we dumped: our lasting lock lets its packets through."""
    for host in ("127.0.0.1", "::1"):
        start(s, host)
        c = connect(s)
        exchange(c)
        s.dump(KEEP)
        shell("nft 'table inet look { chain i { type filter hook input priority 0; tcp dport %d counter; }; }'" % s.address[1])

        def came():
            return int(shell("nft list table inet look").split("counter packets ")[1].split()[0])
        c.sendall(b"unmarked")
        time.sleep(0.5)
        check(came() == 0, "the lock lets others through")
        c.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0xc114)
        c.sendall(b"marked")
        check(wait_for(lambda: came() > 0), "the lock does not let CRIU's mark through: %s" % ruleset())
        c.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
        shell("nft delete table inet look")
        s.restore("--tcp-close")
        s.kill()


def older_chains(s, cs):
    """Instead of those that we leave now."""
    key, mark = run_id(s)[:20], "0xc114"
    names = {w: "CRIU-%s-%s" % (w, key) for w in "oim"}
    pairs = [(s.address, c.getsockname()[:2]) for c in cs]
    drop = ["-A %s -p tcp -s %s --sport %d -d %s --dport %d -j " % (("%s",) + b + a) for a, b in pairs]
    both = drop + ["-A %s -p tcp -s %s --sport %d -d %s --dport %d -j " % (("%s",) + a + b) for a, b in pairs]
    lines = ["*raw"] + [":%s - [0:0]" % n for n in names.values()]
    lines += ["-A %s -m mark ! --mark %s -j DROP" % (names["m"], mark), "-A %s -j ACCEPT" % names["m"]]
    lines += [l % names["o"] + names["m"] for l in both] + [l % names["i"] + "DROP" for l in drop]
    lines += ["-I OUTPUT 1 -p tcp -j " + names["o"], "-I PREROUTING 1 ! -i lo -p tcp -j " + names["i"], "COMMIT"]
    lines += ["*mangle", ":%s - [0:0]" % names["i"]] + [l % names["i"] + "DROP" for l in drop]
    lines += ["-I INPUT 1 ! -i lo -p tcp -j " + names["i"], "COMMIT", ""]
    with open(s.path("chains"), "w") as f:
        f.write("\n".join(lines))
    shell("iptables-restore --noflush < %s" % s.path("chains"))
    check(names["o"] in shell("iptables-save"), shell("iptables-save"))


@scenario
def tables_of_the_other_kind(s):
    """iptables-save warns of them on standard error, which must not get into the middle of a rule."""
    if not shutil.which("iptables-legacy"):
        raise Skipped("needs iptables-legacy")
    rules = iptables(s, "nft")
    shell("iptables-legacy -A INPUT -p tcp --dport 9 -j DROP")
    start(s)
    cs = [connect(s) for _ in range(60)]
    s.dump(KEEP, "--network-lock", "iptables")
    check(rules().count("0xc114") == 120, rules())
    s.restore(KEEP)
    check("0xc114" not in rules(), "left: %s" % rules())
    for c in cs:
        exchange(c)
    s.kill()
    shell("iptables-legacy -F")


def crius_rules(s, cs):
    """Instead of our chains, as CRIU leaves them."""
    check(s.tool("unlock", "-D", s.imgs) == 0, s.out)
    for c in cs:
        us, them = s.address, c.getsockname()[:2]
        for chain, (a, b) in (("INPUT", (them, us)), ("OUTPUT", (us, them))):
            shell("%s -t filter -A %s --protocol tcp -m mark ! --mark 0xC114 --source %s --sport %d --destination %s --dport %d -j DROP" %
                  (("ip6tables" if ":" in us[0] else "iptables", chain) + a + b))
    strip_our_fields(s)


def rules_of_crius(s, kind):
    rules = iptables(s, kind)
    shell("iptables -A INPUT -p tcp --dport 9 -m mark ! --mark 0xc114 -j DROP; ip6tables -A INPUT -p tcp --dport 9 -j DROP")
    before = rules().count("\n-A")
    for host in ("127.0.0.1", "::1"):
        for opts in ([], ["--network-lock", "nftables"]):
            cs = half_closed(s, host)
            s.clean_images()
            s.dump(KEEP, "--network-lock", "iptables")
            crius_rules(s, cs)
            there = rules().count("\n-A")
            check(there == before + 2 * len(cs), rules())
            no = s.script("no", '[ "$CRTOOLS_SCRIPT_ACTION" != pre-resume ]')
            s.restore(KEEP, "--allow-edited-images", "--action-script", no, *opts, ok=False)
            check(s.rc != 0 and rules().count("\n-A") == there, "a restore that fails: %d, %s" % (s.rc, rules()))
            s.restore(KEEP, "--allow-edited-images", *opts)
            check(rules().count("\n-A") == before, "left: %s" % rules())
            all_answered(s, cs)
    shell("iptables -F; ip6tables -F")


@scenario
def rules_of_crius_nft(s):
    rules_of_crius(s, "nft")
    shell("nft flush ruleset")


@scenario
def rules_of_crius_legacy(s):
    rules_of_crius(s, "legacy")


@scenario
def other_methods(s):
    iptables(s, "nft" if shutil.which("iptables-nft-restore") else "legacy")
    through(s, ["--network-lock", "iptables"], ["--network-lock", "nftables"])
    through(s, ["--network-lock", "nftables"], ["--network-lock", "iptables"])
    through(s, ["--network-lock", "nftables", "--network-lock-mark", "77"], ["--network-lock", "iptables"])
    through(s, ["--network-lock", "iptables"], ["--network-lock", "skip"])
    check("CRIU" not in shell("iptables-save"), shell("iptables-save"))
    shell("nft flush ruleset")


@scenario
def closed_by_the_restore(s):
    start(s)
    c = connect(s)
    exchange(c)
    s.dump(KEEP)
    s.restore("--tcp-close")
    check(ruleset() == "", ruleset())
    c.sendall(b"x")
    c.settimeout(60)
    try:
        check(c.recv(1) == b"?", "the peer is not told")
    except ConnectionResetError:
        pass
    s.kill()


@scenario
def somebody_flushed(s):
    start(s)
    c = connect(s)
    exchange(c)
    s.dump(KEEP)
    shell("nft flush ruleset")
    s.restore(KEEP)
    check("is not here" in log(s) and "Warn" in log(s), log(s))
    exchange(c)
    end(c)
    s.kill()
    check(ruleset() == "", ruleset())


own_network()
run_all()
