/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/mman.h>

#include "common.h"
#include "helper/run_program.h"
#include "netlock/ipt_run.h"
#include "lib/log.h"

#define WAIT "10" /* seconds to wait for the lock that processes of iptables share */

static const char *const restore_programs[2] = { "iptables-restore", "ip6tables-restore" };
static const char *const save_programs[2] = { "iptables-save", "ip6tables-save" };

FILE *ipt_text(void)
{
	int fd = memfd_create("iptables", MFD_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w+");

	if (!f && fd >= 0)
		close(fd);
	return f;
}

void ipt_close_text(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* The program reads `in` from its beginning; `out` is rewound for its reader. The exit status or a negative errno. */
static int run_iptables(const char *const *argv, FILE *in, FILE *out, FILE *errors, int held)
{
	int ret;

	if (fflush(in) || ferror(in))
		return -EIO;
	rewind(in);
	ret = run_program(argv, fileno(in), fileno(out), fileno(errors), held);
	rewind(out);
	return ret;
}

const char *ipt_restore_program(int which)
{
	return restore_programs[which];
}

int ipt_save(int which, const char *table, FILE *out)
{
	const char *argv[] = { save_programs[which], table ? "-t" : NULL, table, NULL };
	_cleanup_text_ FILE *none = ipt_text();

	/* A warning (of tables of the other kind of iptables) would stand in the middle of a line of the output. */
	return none ? run_iptables(argv, none, out, none, -1) : -errno;
}

int ipt_feed(int which, FILE *rules, int held, char said[200])
{
	const char *argv[] = { restore_programs[which], "--noflush", "-w", WAIT, NULL };
	_cleanup_text_ FILE *out = ipt_text();
	int ret;

	*said = 0;
	if (!out)
		return -errno;
	ret = run_iptables(argv, rules, out, out, held);
	if (ret && fgets(said, 200, out))
		said[strcspn(said, "\n")] = 0;
	return ret > 0 ? -EIO : ret;
}

static int look_in_family(int which, const char *table, ipt_find find, const void *arg, bool remove, const char *what)
{
	_cleanup_text_ FILE *saved = ipt_text();
	_cleanup_text_ FILE *rules = ipt_text();
	char said[200] = "";
	int ret;

	if (!saved || !rules)
		return log_errno(-errno, "memfd_create for the output of %s", save_programs[which]);
	ret = ipt_save(which, table, saved);
	if (ret) { /* not installed, or no such table: nothing of ours can be in it */
		log_debug("%s exited with %d", save_programs[which], ret);
		return 0;
	}
	if (!find(saved, which, arg, rules))
		return 0;
	ret = remove ? ipt_feed(which, rules, -1, said) : 0;
	return ret ? log_errno(ret, "removing %s by %s: %s", what, restore_programs[which], said) : 1;
}

int ipt_look(const char *table, ipt_find find, const void *arg, bool remove, const char *what)
{
	int v4 = look_in_family(0, table, find, arg, remove, what),
	    v6 = look_in_family(1, table, find, arg, remove, what);

	return v4 < 0 ? v4 : v6 < 0 ? v6 : v4 || v6;
}
