#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Servers on unix sockets, each dumped and restored twice, serving before and after: memcached, redis, ssh-agent, dbus-daemon,
# tmux. What is not installed is passed over, and listed so.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
import os
import socket
import subprocess

from driver import check, need, rounds_wanted, run_all, scenario, text, wait_for


def ask(path, words, n=1000):
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(60)
    c.connect(path)
    c.sendall(words)
    got = c.recv(n)
    c.close()
    return got


def there(path):
    try:
        c = socket.socket(socket.AF_UNIX)
        c.connect(path)
        c.close()
        return True
    except OSError:
        return False


def start(s, path, *args, **kw):
    s.proc = subprocess.Popen(args, cwd=s.dir, stdin=subprocess.DEVNULL, stdout=open(s.path("out"), "w"),
                              stderr=subprocess.STDOUT, start_new_session=True, **kw)
    s.pid = s.proc.pid
    check(wait_for(lambda: there(path)), "%s does not start: %s" % (args[0], text(s.path("out"))))


def rounds(s, works):
    works(0)
    for i in range(1, rounds_wanted(2) + 1):
        s.dump()
        s.restore()
        works(i)
    s.kill()


@scenario
def memcached(s):
    need("memcached")
    path = s.path("sock")

    def works(i):
        if i:
            check(b"value %d" % (i - 1) in ask(path, b"get key\r\n"), "the value is lost")
        value = b"value %d" % i
        check(ask(path, b"set key 0 0 %d\r\n%s\r\n" % (len(value), value)) == b"STORED\r\n", "it does not store")

    start(s, path, "memcached", "-u", "root", "-s", path)
    rounds(s, works)


@scenario
def redis_server(s):
    need("redis-server")
    path = s.path("sock")

    def works(i):
        check(ask(path, b"INCR key\r\n") == b":%d\r\n" % (i + 1), "the count differs")

    start(s, path, "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--daemonize", "no")
    rounds(s, works)


@scenario
def ssh_agent(s):
    need("ssh-agent", "ssh-add", "ssh-keygen")
    path = s.path("sock")
    env = dict(os.environ, SSH_AUTH_SOCK=path)

    def works(i):
        listed = subprocess.run(["ssh-add", "-l"], env=env, capture_output=True, text=True, timeout=60)
        check(listed.stdout.count("\n") == i + 1, "keys: %s%s" % (listed.stdout, listed.stderr))

    def key(i):
        if i:
            works(i - 1)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path("key%d" % i)], check=True, timeout=60,
                       stdin=subprocess.DEVNULL)
        subprocess.run(["ssh-add", "-q", s.path("key%d" % i)], env=env, check=True, timeout=60, capture_output=True)
        works(i)

    start(s, path, "ssh-agent", "-D", "-a", path)
    rounds(s, key)


@scenario
def dbus_daemon(s):
    need("dbus-daemon", "dbus-send")
    path = s.path("sock")

    def works(i):
        got = subprocess.run(["dbus-send", "--bus=unix:path=" + path, "--print-reply", "--dest=org.freedesktop.DBus", "/",
                              "org.freedesktop.DBus.ListNames"], capture_output=True, text=True, timeout=60)
        check("org.freedesktop.DBus" in got.stdout, got.stdout + got.stderr)

    start(s, path, "dbus-daemon", "--session", "--nofork", "--address=unix:path=" + path)
    rounds(s, works)


@scenario
def tmux(s):
    need("tmux")
    path = s.path("sock")

    def works(i):
        got = subprocess.run(["tmux", "-S", path, "new-window", "-d", "-n", "w%d" % i, "cat", ";", "list-windows", "-F", "#W"],
                             capture_output=True, text=True, timeout=60)
        check(all("w%d" % j in got.stdout for j in range(i + 1)), got.stdout + got.stderr)

    env = dict(os.environ, TERM="xterm")
    start(s, path, "tmux", "-S", path, "-D", env=env)
    subprocess.run(["tmux", "-S", path, "set", "-g", "exit-empty", "off", ";", "new-session", "-d", "cat"], check=True, env=env)
    rounds(s, works)


run_all()
