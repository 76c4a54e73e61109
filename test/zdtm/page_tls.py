#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --tls: pages go through an encrypted connection between two ends that know each other, to a page server and for lazy pages; who is not
# the one to talk to is refused by name within the limit, and the tree runs on.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 300
import os
import socket
import subprocess
import time

from certificates import authority, certificate, openssl, tls
from driver import check, need, run_all, scenario, state_of, wait_for
from other_host import LazyDump, OtherHost
from page_wire import Server, together


def make(s):
    need("openssl")
    authority(s, "ca")
    authority(s, "strangers")
    certificate(s, "one", "ca", "IP:127.0.0.1,DNS:localhost")
    certificate(s, "other", "ca", "DNS:somewhere.example")
    certificate(s, "expired", "ca", "IP:127.0.0.1", -1)
    certificate(s, "stranger", "strangers", "IP:127.0.0.1")
    certificate(s, "revoked", "ca", "IP:127.0.0.1")
    openssl(s, "ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem", "-revoke", "revoked.pem")
    openssl(s, "ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem", "-gencrl", "-out", "crl.pem")


@scenario
def page_server(s):
    make(s)
    s.victim("page_tree")
    server = Server(s, *tls(s))
    s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port, *tls(s))
    server.ends(0)
    together(s, server.dir)
    s.restore()
    s.verify()


@scenario
def lazy(s):
    make(s)
    s.victim("lazy_memory", ["64"])
    dump = LazyDump(s, *tls(s))
    there = OtherHost(s)
    there.copy()
    there.lazy_pages("--page-server", "--address", "localhost", "--port", dump.port, *tls(s, "other"))
    there.restore("--lazy-pages")
    there.verify()
    check(there.ends() == 0, "the daemon: %s" % there.said())
    dump.ends(0)
    there.done()


@scenario
def inherited(s):
    """Over --ps-socket too; the name is not known there."""
    make(s)
    s.victim()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Server(s, "--ps-socket", theirs.fileno(), *tls(s, "other"), address=None, pass_fds=(theirs.fileno(),))
        s.dump("--page-server", "--ps-socket", ours.fileno(), "--tls-no-cn-verify", *tls(s), pass_fds=(ours.fileno(),))
        server.ends(0)
    together(s, server.dir)
    s.restore()
    s.verify()


# Whose certificate, the server's and the dump's, what is given beside, and what the server and the dump say.
REFUSED = (("a stranger's server", "stranger", "one", {}, {}, "refuses", "peer's certificate is refused"),
           ("a stranger's dump", "one", "stranger", {}, {}, "none of an authority that is trusted", "--tls: the peer refuses"),
           ("an expired server", "expired", "one", {}, {}, "refuses", "expired"),
           ("an expired dump", "one", "expired", {}, {}, "expired", "--tls: the peer refuses"),
           ("another name", "other", "one", {}, {}, "refuses", "name in the certificate does not match"),
           ("a revoked dump", "one", "revoked", {"crl": "crl.pem"}, {}, "revoked", "--tls: the peer refuses"),
           ("a revoked server", "revoked", "one", {}, {"crl": "crl.pem"}, "refuses", "revoked"),
           ("another authority", "one", "one", {"ca": "strangers"}, {}, "peer's certificate is refused", "--tls: the peer refuses"))


@scenario
def refused(s):
    make(s)
    s.victim()
    for why, theirs, ours, at_server, at_dump, server_says, dump_says in REFUSED:
        server = Server(s, *tls(s, theirs, **at_server))
        s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port, *tls(s, ours, **at_dump), ok=False)
        said = s.errors("dump.log")
        check(s.rc == 1 and dump_says in said, "%s: %d: %s" % (why, s.rc, said))
        server.ends(1, why)
        check(server_says in server.said(), "%s: %s" % (why, server.said()))
        check(wait_for(lambda: state_of(s.pid) == "S"), "%s: %s" % (why, state_of(s.pid)))
        check(not s.images() and not server.images(), "%s: %s, %s" % (why, s.images(), server.images()))
    # What is refused for its name is taken where that is not looked at.
    server = Server(s, *tls(s, "other"))
    s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port, "--tls-no-cn-verify", *tls(s))
    server.ends(0)


@scenario
def plain_peers(s):
    """One end with --tls, the other without, or without a word: within the limit."""
    make(s)
    s.victim()
    server = Server(s, *tls(s))
    s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port, ok=False)
    server.ends(1)
    check(s.rc == 1 and "is the peer without --tls?" in server.said(), "%d: %s" % (s.rc, server.said()))
    server = Server(s)
    began = time.monotonic()
    s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port, "--timeout", 1, *tls(s), ok=False)
    server.ends(1)
    check(s.rc == 1 and "--tls: the " in s.errors("dump.log") and time.monotonic() - began < 10, s.errors("dump.log"))
    check("which is none of a page server" in server.said(), server.said())
    server = Server(s, "--timeout", 1, *tls(s))
    with server.connect() as c:
        began = time.monotonic()
        c.sendall(b"\x16\x03\x01")
        server.ends(1)
        check("does not finish the handshake" in server.said() and 0.9 < time.monotonic() - began < 10, server.said())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        s.dump("--page-server", "--address", "127.0.0.1", "--port", silent.getsockname()[1], "--timeout", 1, *tls(s), ok=False)
        check(s.rc == 1 and "does not finish the handshake" in s.errors("dump.log") and 0.9 < time.monotonic() - began < 10, s.out)
    check(wait_for(lambda: state_of(s.pid) == "S"), state_of(s.pid))
    s.verify()


@scenario
def lazy_refused(s):
    """A daemon that may not have the pages: it ends before a restore begins, and the tree runs on here."""
    make(s)
    s.victim("lazy_memory", ["16"])
    dump = LazyDump(s, *tls(s))
    there = OtherHost(s)
    there.copy()
    there.lazy_pages("--page-server", "--address", "127.0.0.1", "--port", dump.port, *tls(s, "stranger"))
    dump.ends(1, "none of an authority that is trusted")
    check(there.ends() == 1 and "has ended the connection" in there.said(), there.said())
    check(wait_for(lambda: state_of(s.pid) == "S") and not there.tasks(), state_of(s.pid))
    there.done()
    s.verify()


@scenario
def files(s):
    """What is missing or is no certificate is said before anything is stopped, or listened to."""
    make(s)
    s.victim()
    with open(s.path("empty.pem"), "w"):
        pass
    for opts, words in ((tls(s, "none"), "none.pem"), (tls(s, ca="none"), "--tls-cacert"), (tls(s, ca="empty"), "--tls-cacert"),
                        (tls(s, crl="one.pem"), "--tls-cacrl"), (["--tls", "--tls-cert", s.path("one.pem")], "/etc/pki/criu/private/key.pem"),
                        (["--tls", "--tls-cert", s.path("one.pem"), "--tls-key", s.path("other.key")], "--tls-key")):
        s.tool("page-server", "-D", s.imgs, "--address", "127.0.0.1", *opts)
        check(s.rc == 1 and words in s.out, "%r: %d: %s" % (opts, s.rc, s.out))
        s.dump("--lazy-pages", *opts, ok=False)
        check(s.rc == 1 and words in s.errors("dump.log") + s.out, "%r: %d: %s" % (opts, s.rc, s.errors("dump.log")))
    with open("/proc/self/maps") as f:
        check("gnutls" not in f.read(), "this test has loaded it")
    check(b"libgnutls" not in subprocess.run(["ldd", s.criu], stdout=subprocess.PIPE).stdout, "criu is linked with gnutls")
    s.verify()


run_all()
