#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Options and where they come from: the command line, configuration files, what is refused by name; the log, its level and
# place; --display-stats; --version.
# zdtm: driver
# zdtm: timeout 300
import os
import re

from driver import check, run_all, scenario, text


def config(s, name, body):
    with open(s.path(name), "w") as f:
        f.write(body)
    return s.path(name)


@scenario
def version(s):
    check(s.tool("--version") == 0 and s.out.splitlines()[0].strip() == "Version: 4.2", "says %r" % s.out)
    check(len(s.out.splitlines()) >= 2, "our own version is not there: %r" % s.out)
    check(s.tool("-V") == 0 and "Version: 4.2" in s.out, "-V says %r" % s.out)


@scenario
def help_text(s):
    check(s.tool("--help") == 0 and "--leave-running" in s.out and "--action-script" in s.out, "--help: %r" % s.out[:200])


@scenario
def refused_by_name(s):
    for opt in ("--network-lock=x", "--no-such-option"):
        s.victim()
        rc = s.dump(opt, ok=False)
        check(rc != 0 and opt.lstrip("-").split("=")[0] in s.out + text(s.imgs + "/dump.log"), "%s: %d, %r" % (opt, rc, s.out[:300]))
        check(not s.images(), "%s: images are left" % opt)
        s.verify()
    check(s.tool("no-such-command") != 0 and "no-such-command" in s.out, "an unknown command: %r" % s.out[:200])


@scenario
def refusals_stand_in_the_log(s):
    s.victim()
    for opt in ("--no-such-option", "--network-lock=x"):
        rc = s.dump("--images-dir", s.imgs, opt, ok=False)
        log = text(s.imgs + "/dump.log")
        check(rc != 0 and opt.lstrip("-").split("=")[0] in log and "Error" in log, "%s: %d, the log: %r" % (opt, rc, log))
    s.verify()


@scenario
def plugins(s):
    s.victim()
    os.mkdir(s.path("plugins"))
    s.dump("--libdir", s.path("plugins"), "-R")
    open(s.path("plugins/amd.so"), "w").close()
    for opts, env in ((("-L", s.path("plugins")), None), ((), dict(os.environ, CRIU_LIBS_DIR=s.path("plugins")))):
        s.dump("-R", *opts, **({"env": env} if env else {}))
        check("plugins/amd.so is not loaded" in text(s.imgs + "/dump.log"), "%r: %r" % (opts, s.out))
    s.verify()


@scenario
def wrong_values(s):
    s.victim()
    for opts in (("-t", "abc"), ("--timeout", "x"), ("-t",)):
        check(s.tool("dump", "-D", s.imgs, *opts) != 0, "%r is taken" % (opts,))
    check(s.tool("dump", "-D", s.imgs) != 0, "a dump without -t")
    s.verify()


@scenario
def from_file(s):
    """A configuration file: long names, values, quotes, comments; the command line wins."""
    s.victim()
    f = config(s, "my.conf", "# a comment\nleave-running   # and one here\nlog-file \"from config.log\"\n\n  verbosity 4\n")
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "--config", f)
    check(s.rc == 0, "with a configuration file: " + s.out[:500])
    check(os.path.exists(s.imgs + "/from config.log"), "log-file was not taken: %r" % os.listdir(s.imgs))
    s.clean_images()
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "--config", f, "-o", "line.log")
    check(s.rc == 0 and os.path.exists(s.imgs + "/line.log"), "the command line does not win")
    bad = config(s, "bad.conf", "no-such-option\n")
    check(s.tool("dump", "-t", s.pid, "-D", s.imgs, "--config", bad) != 0 and "no-such-option" in s.out, "bad file taken")
    check(s.tool("dump", "-t", s.pid, "-D", s.imgs, "--config", s.path("none")) != 0, "a missing --config file is taken")
    s.verify()


@scenario
def from_home(s):
    """The user's file is read; --no-default-config leaves it; CRIU_CONFIG_FILE is read too."""
    s.victim()
    os.makedirs(s.path(".criu"))
    config(s, ".criu/default.conf", "log-file home.log\nleave-running\n")
    env = {"HOME": s.dir}
    s.tool("dump", "-t", s.pid, "-D", s.imgs, env=env)
    check(s.rc == 0 and os.path.exists(s.imgs + "/home.log"), "the user's file is not read: " + s.out[:300])
    s.clean_images()
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "--no-default-config", "-R", "-o", "none.log", env=env)
    check(s.rc == 0 and not os.path.exists(s.imgs + "/home.log"), "--no-default-config reads it")
    s.clean_images()
    env["CRIU_CONFIG_FILE"] = config(s, "env.conf", "log-file env.log\n")
    s.tool("dump", "-t", s.pid, "-D", s.imgs, env=env)
    check(s.rc == 0 and os.path.exists(s.imgs + "/env.log"), "CRIU_CONFIG_FILE does not win over the user's")
    s.verify()


@scenario
def log_place(s):
    """-W, -o (and its default, standard error), -v levels, --log-pid."""
    s.victim()
    os.mkdir(s.path("work"))
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-W", s.path("work"), "-R", "-v4", "-o", "d.log")
    check(s.rc == 0 and os.path.getsize(s.path("work/d.log")) > 0, "-W: the log is not there")
    full = text(s.path("work/d.log"))
    s.clean_images()
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-R", "-v0", "-o", "quiet.log")
    check(s.rc == 0 and len(text(s.imgs + "/quiet.log")) < len(full) / 4, "-v0 writes as much as -v4")
    s.clean_images()
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-R", "-vvvv")
    check(s.rc == 0 and len(s.out) > len(full) / 2, "without -o nothing comes to standard error")
    check(len([x for x in full.splitlines() if re.match(r"\(\d\d\.\d{6}\)", x)]) > 3, "lines without a time stamp")
    s.clean_images()
    s.dump()
    s.tool("restore", "-d", "-D", s.imgs, "-v4", "-o", "pid.log", "--log-pid")
    s.proc = None
    logs = [n for n in os.listdir(s.imgs) if n.startswith("pid.log")]
    check(s.rc == 0 and len(logs) >= 1, "--log-pid: %r" % logs)
    s.verify()


@scenario
def stats(s):
    s.victim()
    s.dump("--display-stats")
    check("Freezing time" in s.out and "Memory pages written" in s.out, "dump --display-stats says %r" % s.out[:400])
    stages = re.findall(r"^Time of (.*): \d+ us$", s.out, re.M)
    check(len(stages) >= 8 and stages[0].startswith("start") and "memory" in stages and stages[-1] == "end", "stages: %s" % stages)
    check(os.path.exists(s.imgs + "/stats-dump"), "no stats-dump")
    s.restore("--display-stats")
    check("Forking time" in s.out and "Pages restored" in s.out, "restore --display-stats says %r" % s.out[:400])
    stages = re.findall(r"^Time of (.*): \d+ us$", s.out, re.M)
    check(len(stages) >= 10 and "reading images" in stages and "letting go" in stages, "stages: %s" % stages)
    check(os.path.exists(s.imgs + "/stats-restore"), "no stats-restore")
    s.verify()


@scenario
def without_an_end(s):
    """A line of it is read as far as lines may go."""
    s.tool("check", "--config", "/dev/zero", timeout=60)
    check(s.rc == 1 and "zero byte or is too long" in s.out, "%d: %s" % (s.rc, s.out))


run_all()
