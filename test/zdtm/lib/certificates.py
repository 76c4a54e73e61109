# SPDX-License-Identifier: GPL-2.0-only
"""Certificates for --tls: authorities, and what they sign."""
import subprocess

from driver import check


def openssl(s, *args):
    p = subprocess.run(["openssl", *args], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(p.returncode == 0, "openssl %s: %s" % (args[0], p.stdout))


def authority(s, name):
    openssl(s, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".pem",
            "-subj", "/CN=" + name, "-days", "30")
    with open(s.path(name + ".cnf"), "w") as f:
        f.write("[ca]\ndefault_ca=a\n[a]\ndatabase=%s.txt\ncrlnumber=%s.number\ndefault_md=sha256\ndefault_crl_days=30\n" % (name, name))
    open(s.path(name + ".txt"), "w").close()
    with open(s.path(name + ".number"), "w") as f:
        f.write("01\n")


def certificate(s, name, ca, alt, days=30):
    openssl(s, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".csr",
            "-subj", "/CN=" + name)
    with open(s.path(name + ".ext"), "w") as f:
        f.write("subjectAltName=%s\n" % alt)
    openssl(s, "x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial", "-out", name + ".pem",
            "-extfile", name + ".ext", "-days", str(days))


def tls(s, name="one", ca="ca", crl=None):
    return ["--tls", "--tls-cacert", s.path(ca + ".pem"), "--tls-cert", s.path(name + ".pem"), "--tls-key", s.path(name + ".key"),
            *(["--tls-cacrl", s.path(crl)] if crl else [])]
