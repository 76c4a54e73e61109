/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options: the command line, configuration files, what overrides what, what is refused and by which name; stages and
 * their scripts; fault points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "options/stages.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "options/option_table.h"
#include "lib/version.h"

static char home[64];    /* a directory with a configuration file, and nothing else that is read */
static char said[65536]; /* standard output and error of the last parse() */
static struct options o;

static void put_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", home, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void remove_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", home, name);
	unlink(path);
}

/* Parses a line split at blanks; %H in it stands for home. What is said goes to said[]. */
static int parse(const char *line)
{
	static char words[4096];
	char *argv[64] = { (char[]) { "criu" } }, *save = NULL, *out = words;
	int argc = 1, ret, fds[2] = { dup(STDOUT_FILENO), dup(STDERR_FILENO) }, file = memfd_create("said", 0);
	ssize_t n;

	options_free(&o);
	for (; *line; line++) {
		if (line[0] == '%' && line[1] == 'H') {
			out = stpcpy(out, home);
			line++;
		} else {
			*out++ = *line;
		}
	}
	*out = '\0';
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	fflush(stdout);
	dup2(file, STDOUT_FILENO);
	dup2(file, STDERR_FILENO);
	log_init(-1, LOG_WARN);
	ret = options_parse(&o, argc, argv);
	fflush(stdout);
	dup2(fds[0], STDOUT_FILENO);
	dup2(fds[1], STDERR_FILENO);
	n = pread(file, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(file);
	close(fds[0]);
	close(fds[1]);
	return ret;
}

#define assert_said(text)                                                                                              \
	do {                                                                                                           \
		if (!strstr(said, text))                                                                               \
			fail_msg("\"%s\" is not in: %s", text, said);                                                  \
	} while (0)

/* The line is refused, and the error says all of that. */
static void refused(const char *line, const char *text)
{
	assert_true(parse(line) < 0);
	assert_said(text);
}

static void defaults(void **state)
{
	assert_int_equal(parse("dump -t 12"), 0);
	assert_int_equal(o.command, CMD_DUMP);
	assert_int_equal(o.tree, 12);
	assert_int_equal(o.verbosity, 2);
	assert_int_equal(o.timeout, 10);
	assert_string_equal(o.images_dir, ".");
	assert_string_equal(o.work_dir, ".");
	assert_null(o.log_file);
	assert_null(o.action_scripts[0]);
	assert_string_equal(said, "");
	assert_int_equal(parse("restore -D imgs"), 0);
	assert_string_equal(o.work_dir, "imgs");
}

static void forms(void **state)
{
	assert_int_equal(parse("-t12 dump -Rj -o log --images-dir=a -W b --timeout 3 --pidfile --odd"), 0);
	assert_int_equal(o.tree, 12);
	assert_true(o.leave_running && o.shell_job);
	assert_string_equal(o.log_file, "log");
	assert_string_equal(o.images_dir, "a");
	assert_string_equal(o.work_dir, "b");
	assert_string_equal(o.pidfile, "--odd");
	assert_int_equal(o.timeout, 3);
	assert_int_equal(parse("restore -dS --action-script x --action-script=y"), 0);
	assert_int_equal(o.n_action_scripts, 2);
	assert_string_equal(o.action_scripts[0], "x");
	assert_string_equal(o.action_scripts[1], "y");
	assert_null(o.action_scripts[2]);
	assert_int_equal(parse("restore --exec-cmd -- sh -c x"), 0);
	assert_string_equal(o.exec_argv[0], "sh");
	assert_string_equal(o.exec_argv[1], "-c");
	assert_null(o.exec_argv[3]);
}

static void verbosity(void **state)
{
	static const struct {
		const char *line;
		int level;
	} cases[] = {
		{ "check -v", 3 },          { "check -vv", 4 },           { "check -v -v -v", 5 },
		{ "check -v0", 0 },         { "check -v4", 4 },           { "check -v4 -v1", 1 },
		{ "check --verbosity", 3 }, { "check --verbosity=1", 1 }, { "check -v1 -v", 2 },
		{ "check -vd", 0 },         { "check -verbosity=0", 0 },  { "check --verbosity=4x", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].line), 0);
		assert_int_equal(o.verbosity, cases[i].level);
	}
}

static void negation(void **state)
{
	assert_int_equal(parse("dump -t 1 -R --no-leave-running"), 0);
	assert_false(o.leave_running);
	assert_int_equal(parse("dump -t 1 --no-leave-running -R"), 0);
	assert_true(o.leave_running);
	refused("dump -t 1 --no-tree", "cannot be negated");
	refused("dump -t 1 --no-shell-job=x", "takes no value");
	assert_int_equal(parse("dump -t 1 --no-track-mem"), 0);
	assert_int_equal(parse("dump -t 1 --no-tls"), 0); /* as clients of the service say it, too */
}

static void values(void **state)
{
	refused("dump -t 12x", "--tree: 12x is not a number from 1");
	refused("dump -t 0", "--tree: 0 ");
	refused("dump -t -5", "--tree: -5 ");
	refused("dump -t 99999999999999999999", "--tree: 9999");
	refused("dump -t", "--tree needs a value");
	refused("dump -t 1 --timeout 0", "--timeout: 0 ");
	refused("dump -t 1 --images-dir=", "--images-dir needs a value");
	refused("dump -t 1 -R=yes", "unknown option -=");
	refused("dump -t 1 --leave-running=yes", "--leave-running takes no value");
}

static void value_left_out(void **state)
{
	assert_int_equal(parse("restore"), 0);
	assert_int_equal(o.manage_cgroups, MANAGE_CGROUPS_SOFT);
	assert_int_equal(parse("restore --manage-cgroups=ignore --manage-cgroups"), 0);
	assert_int_equal(o.manage_cgroups, MANAGE_CGROUPS_SOFT);
	assert_int_equal(parse("dump -t 1 --manage-cgroups=ignore"), 0);
	assert_int_equal(o.manage_cgroups, MANAGE_CGROUPS_IGNORE);
	refused("restore --manage-cgroups=hard", "--manage-cgroups: 'hard' is not valid");
	refused("restore --manage-cgroups ignore", "unexpected argument 'ignore'");
}

static void refusals(void **state)
{
	refused("", "no command");
	refused("frob", "'frob' is not a command");
	refused("exec", "command 'exec' is not implemented yet");
	refused("lazy-pages --page-server", "--page-server needs --port");
	refused("dump -t 1 --lazy-pages --page-server --port 1", "exclude each other");
	refused("dump -t 1 --lazy-pages --stream", "--lazy-pages and --stream exclude each other");
	refused("dump -t 1 --lazy-pages --cow-pages once", "a lazy-pages daemon cannot be told");
	refused("pre-dump", "criu pre-dump needs --tree");
	refused("pre-dump -t 1 --stream", "--stream has no room");
	refused("pre-dump -t 1 --pre-dump-mode=x", "--pre-dump-mode: 'x' is not valid (only 'splice' or 'read')");
	assert_int_equal(parse("swrk 3"), 0);
	assert_int_equal(o.client_socket, 3);
	refused("swrk", "criu swrk needs the number of a socket");
	refused("swrk x", "criu swrk needs the number of a socket that it has inherited, not x");
	refused("swrk 3 4", "unexpected argument '4'");
	refused("cpuinfo", "cpuinfo needs an action");
	refused("cpuinfo show", "dump or check, not show");
	refused("cpuinfo dump check", "unexpected argument 'check'");
	refused("dump -t 1 extra", "unexpected argument 'extra'");
	refused("dump -t 1 --frob", "unknown option --frob");
	refused("dump -t 1 -q", "unknown option -q");
	refused("dump", "needs --tree");
	refused("restore -S", "--restore-sibling makes sense only with");
	refused("dump -t 1 -R -s", "exclude each other");
	refused("restore --exec-cmd", "--exec-cmd needs a command");
	refused("restore -- sh", "need --exec-cmd");
	refused("dump -t 1 --auto-dedup=x", "--auto-dedup takes no value");
	assert_null(strstr(said, "what is mnt"));
	refused("dump -t 1 --manage-cgroups=hard", "--manage-cgroups: 'hard' is not valid");
}

/* Words of --cpu-cap, from what is on by default. */
static void sets(void **state)
{
	static const struct {
		const char *line;
		unsigned caps;
	} cases[] = {
		{ "dump -t 1", CPU_CAP_FPU | CPU_CAP_INS },
		{ "restore --cpu-cap", CPU_CAP_GIVEN | CPU_CAP_ALL },
		{ "restore --cpu-cap=cpu", CPU_CAP_GIVEN | CPU_CAP_ALL },
		{ "restore --cpu-cap=none", CPU_CAP_GIVEN },
		{ "restore --cpu-cap=none,cpu", CPU_CAP_GIVEN | CPU_CAP_CPU },
		{ "restore --cpu-cap=^fpu", CPU_CAP_GIVEN | CPU_CAP_INS },
		{ "restore --cpu-cap=all,^cpu,^ins", CPU_CAP_GIVEN | CPU_CAP_FPU },
		{ "restore --cpu-cap=^all,ins --cpu-cap=fpu", CPU_CAP_GIVEN | CPU_CAP_INS | CPU_CAP_FPU },
		{ "restore --cpu-cap=^none", CPU_CAP_GIVEN | CPU_CAP_ALL },
		{ "check --cpu-cap=cpu", CPU_CAP_FPU | CPU_CAP_INS },
		{ "cpuinfo check --cpu-cap=none,ins", CPU_CAP_GIVEN | CPU_CAP_INS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(cases[i].line) || o.cpu_cap != cases[i].caps)
			fail_msg("%s: %x instead of %x", cases[i].line, o.cpu_cap, cases[i].caps);
	}
	assert_true(o.cpuinfo_check);
	assert_int_equal(parse("cpuinfo dump"), 0);
	assert_false(o.cpuinfo_check);
	refused("restore --cpu-cap=sse", "--cpu-cap: 'sse' is not valid (only cpu, fpu, ins, all and none");
	refused("restore --cpu-cap=fpu,", "--cpu-cap: '' is not valid");
	refused("restore --cpu-cap=^", "--cpu-cap: '' is not valid");
	refused("restore --cpu-cap cpu", "unexpected argument 'cpu'");
	refused("restore --no-cpu-cap", "cannot be negated");
}

static void all_errors_are_said(void **state)
{
	refused("dump -t 1x --auto-dedup=1 --ghost-limit=x -d", "--tree: 1x");
	assert_said("--auto-dedup");
	assert_said("--ghost-limit");
	assert_null(strstr(said, "restore-detached"));
}

/* Scripts give dump and restore the same list. */
static void of_the_other_command(void **state)
{
	assert_int_equal(
	    parse("restore --link-remap --force-irmap --skip-in-flight --ghost-limit 1M -R -t 5 --external-lost close"),
	    0);
	assert_int_equal(o.tree, 0);
	assert_false(o.leave_running || o.link_remap || o.external_lost_close);
	assert_int_equal(parse("dump -t 1 -d -S"), 0);
	assert_false(o.restore_detached || o.restore_sibling);
	assert_int_equal(
	    parse("dump -t 1 -M auto --enable-fs all --ext-mount-map /a:/b --ms --deprecated --unprivileged"), 0);
	refused("restore -t x", "--tree: x is not a number");
}

static void beginnings(void **state)
{
	assert_int_equal(parse("dump --tree 7 --tcp-est --leave-run --no-shell --work=w --ghost-li 5"), 0);
	assert_true(o.tcp_established && o.leave_running);
	assert_string_equal(o.work_dir, "w");
	assert_int_equal(o.ghost_limit, 5);
	assert_int_equal(parse("dump -t 7 -R --no-leave-r"), 0);
	assert_false(o.leave_running);
	refused("dump -t 1 --tcp", "--tcp is ambiguous: --tcp-established, --tcp-close");
	refused("dump -t 1 --leave", "--leave is ambiguous: --leave-stopped, --leave-running");
	refused("dump -t 1 --leave-x", "unknown option --leave-x");
	refused("dump -t 1 --=x", "is ambiguous");
	refused("dump -t 1 --close 5x", "--close: 5x is not a descriptor");
	refused("dump -t 1 --close 912", "--close 912: close: Bad file descriptor");
}

static void rows_are_sound(void **state)
{
	for (const struct option_row *row = option_rows; row->name; row++) {
		bool taken = row->type >= TAKEN_FLAG;

		assert_ptr_equal(option_by_name(row->name, strlen(row->name)), row);
		assert_true(!row->letter || option_by_letter(row->letter) == row);
		assert_true(taken ? !row->commands : row->commands);
		assert_true(taken || !option_takes_value(row) || row->arg);
		assert_true(strcmp(row->name, "no-default-config") == 0 || strncmp(row->name, "no-", 3));
	}
}

static void help_and_version(void **state)
{
	assert_int_equal(parse("--version"), 1);
	assert_int_equal(strncmp(said, "Version: " CRIU_LEVEL "\nImplementation: ", 29), 0);
	assert_int_equal(parse("dump -h --frob"), 1);
	for (const struct option_row *row = option_rows; row->name; row++)
		if (row->help)
			assert_said(row->name);
	assert_null(strstr(said, "test-kill-at"));
}

static void config_syntax(void **state)
{
	put_file("c", "# comment\n\n  leave-running  # why\ntimeout 3\nimages-dir = /a/b\nverbosity=4#\n"
	              "work-dir \"/my \\\"own\\\" \\n dir#1\" # x\naction-script \"one two\"\naction-script three");
	assert_int_equal(parse("dump -t 1 --config %H/c"), 0);
	assert_true(o.leave_running);
	assert_int_equal(o.timeout, 3);
	assert_int_equal(o.verbosity, 4);
	assert_string_equal(o.images_dir, "/a/b");
	assert_string_equal(o.work_dir, "/my \"own\" \\n dir#1");
	assert_int_equal(o.n_action_scripts, 2);
	assert_string_equal(o.action_scripts[0], "one two");
	assert_string_equal(o.action_scripts[1], "three");
}

static void config_errors(void **state)
{
	static const char *const cases[][2] = {
		{ "\n\nfrob\n", "c:3: unknown option --frob" },
		{ "--leave-running", "c:1: --leave-running: options stand without dashes" },
		{ "timeout 3 4", "c:1: timeout: more than one value" },
		{ "work-dir \"a\"b", "c:1: work-dir: more than one value" },
		{ "work-dir \"a", "c:1: work-dir: the quotes are not closed" },
		{ "work-dir \"\"", "c:1: --work-dir needs a value" },
		{ "work-dir =", "c:1: work-dir: no value" },
		{ "tree 4x", "c:1: --tree: 4x is not a number" },
		{ "leave-running yes", "c:1: --leave-running takes no value" },
		{ "config /x", "c:1: --config can be given on the command line only" },
		{ "help", "c:1: --help can be given on the command line only" },
		{ "dump", "c:1: unknown option --dump" },
		{ "= 4", "c:1: a line starts with the name" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_file("c", cases[i][0]);
		refused("dump -t 1 --config %H/c", cases[i][1]);
	}
	refused("dump -t 1 --config %H/none", "none: No such file");
}

static void config_order(void **state)
{
	char named[128];

	mkdir(strcat(strcpy(named, home), "/.criu"), 0700);
	put_file(".criu/default.conf", "timeout 3\nimages-dir user\nverbosity 3\nleave-running\nlog-file user\n");
	put_file("env", "images-dir env\nverbosity 1\nlog-file env\n");
	put_file("given", "verbosity 0\nlog-file given\n");
	snprintf(named, sizeof(named), "%s/env", home);
	setenv("CRIU_CONFIG_FILE", named, 1);
	assert_int_equal(parse("dump -t 1 --config %H/given -o line --no-leave-running"), 0);
	assert_int_equal(o.timeout, 3);
	assert_string_equal(o.images_dir, "env");
	assert_int_equal(o.verbosity, 0);
	assert_string_equal(o.log_file, "line");
	assert_false(o.leave_running);
	assert_int_equal(parse("dump -t 1 --no-default-config"), 0);
	assert_int_equal(o.timeout, 10);
	assert_string_equal(o.images_dir, "env");
	unsetenv("CRIU_CONFIG_FILE");
	/* A file serves all commands: what is not for this one is checked, and left out. */
	assert_int_equal(parse("restore"), 0);
	assert_false(o.leave_running);
	assert_int_equal(o.verbosity, 3);
	put_file(".criu/default.conf", "timeout 3x\n");
	refused("restore", "default.conf:1: --timeout: 3x");
	remove_file(".criu/default.conf");
}

/* ---- stages ---- */

static int count_hook(void *arg, enum stage stage, pid_t root_pid)
{
	int *calls = arg;

	calls[stage]++;
	return root_pid == 66 ? -EBUSY : 0;
}

static void scripts(void **state)
{
	char script[512], path[128], text[512] = "", want[512];
	const char *list[] = { script, "exit 3", NULL };
	struct stages stages;
	FILE *f;

	assert_int_equal(parse("dump -t 1 -D %H"), 0);
	/* Its environment, its directory, and every descriptor it has. */
	snprintf(script, sizeof(script),
	         "echo $CRTOOLS_SCRIPT_ACTION:$CRTOOLS_IMAGE_DIR:$CRTOOLS_INIT_PID:$PWD >out; "
	         "ls /proc/self/fd | tr '\\n' ' ' >>out");
	o.action_scripts = list;
	o.n_action_scripts = 1;
	stages_init(&stages, &o);
	setenv("CRTOOLS_INIT_PID", "stale", 1);
	fcntl(STDERR_FILENO, F_DUPFD, 50);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(stages_run(&stages, round ? STAGE_POST_DUMP : STAGE_PRE_RESTORE, round ? 812 : 0), 0);
		snprintf(path, sizeof(path), "%s/out", home);
		f = fopen(path, "r");
		assert_non_null(f);
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
		snprintf(want, sizeof(want), "%s:%s:%s:%s\n0 1 2 3 ", round ? "post-dump" : "pre-restore", home,
		         round ? "812" : "", home);
		assert_string_equal(text, want);
	}
	close(50);
	remove_file("out");
	o.n_action_scripts = 2;
	assert_int_equal(stages_run(&stages, STAGE_PRE_DUMP, 0), -EPERM);
	assert_non_null(strstr(log_first_text(), "exit 3 (pre-dump) ended with status 3"));
	remove_file("out");
}

static void hooks(void **state)
{
	int a[STAGE_COUNT] = { 0 }, b[STAGE_COUNT] = { 0 };
	struct hook first = { .run = count_hook, .arg = a }, second = { .run = count_hook, .arg = b };
	struct stages stages;

	assert_int_equal(parse("check"), 0);
	stages_init(&stages, &o);
	stages_add(&stages, &first);
	stages_add(&stages, &second);
	assert_int_equal(stages_run(&stages, STAGE_PRE_RESUME, 1), 0);
	assert_int_equal(stages_run(&stages, STAGE_PRE_RESUME, 66), -EBUSY);
	assert_int_equal(a[STAGE_PRE_RESUME], 2);
	assert_int_equal(b[STAGE_PRE_RESUME], 2);
	for (enum stage s = 0; s < STAGE_COUNT; s++)
		assert_non_null(stages_name(s));
}

static void faults(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fault_init(3);
		if (fork() == 0) { /* a fork of the tool does not count */
			for (int i = 0; i < 5; i++)
				fault_point("fork");
			_exit(0);
		}
		wait(&status);
		if (status)
			_exit(1);
		fault_point("one");
		fault_point("two");
		freopen("/dev/null", "w", stderr);
		fault_point("three");
		_exit(2);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int setup(void **state)
{
	strcpy(home, "/tmp/unit-options-XXXXXX");
	assert_non_null(mkdtemp(home));
	unsetenv("CRIU_CONFIG_FILE");
	return setenv("HOME", home, 1);
}

static int teardown(void **state)
{
	static const char *const files[] = { "c", "env", "given" };

	options_free(&o);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		remove_file(files[i]);
	rmdir(strcat(home, "/.criu"));
	home[strlen(home) - strlen("/.criu")] = '\0';
	return rmdir(home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(forms),
		cmocka_unit_test(verbosity),
		cmocka_unit_test(negation),
		cmocka_unit_test(values),
		cmocka_unit_test(value_left_out),
		cmocka_unit_test(refusals),
		cmocka_unit_test(sets),
		cmocka_unit_test(all_errors_are_said),
		cmocka_unit_test(of_the_other_command),
		cmocka_unit_test(beginnings),
		cmocka_unit_test(rows_are_sound),
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(config_syntax),
		cmocka_unit_test(config_errors),
		cmocka_unit_test(config_order),
		cmocka_unit_test(scripts),
		cmocka_unit_test(hooks),
		cmocka_unit_test(faults),
	};

	return cmocka_run_group_tests_name("options", tests, setup, teardown);
}
