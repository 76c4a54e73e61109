/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tree of other programs: four levels of fork and exec, each level another binary or script, two of each.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: flavour no pidns
 */
#include "zdtm.h"
#include "zdtm_until.h"

int main(int argc, char **argv)
{
	int level = argc > 1 ? atoi(argv[1]) : 0, status;
	pid_t kids[2];
	char self[PATH_MAX], next[12];

	zdtm_must(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	self[readlink("/proc/self/exe", self, sizeof(self) - 1)] = 0;
	snprintf(next, sizeof(next), "%d", level + 1);
	for (int i = 0; i < 2; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (kids[i])
			continue;
		if (level == 3)
			execl("/bin/sleep", "sleep", "1000", NULL);
		else if (level == 1)
			execl("/bin/sh", "sh", "-c", "\"$0\" \"$1\"; exit $?", self, next, NULL);
		else
			execl(self, self, next, NULL);
		_exit(1);
	}
	if (level == 3) {
		zdtm_until(kids[0], "(sleep) S");
		zdtm_until(kids[1], "(sleep) S");
		zdtm_up();
	}
	if (!level) {
		zdtm_until_up(8);
		zdtm_ready();
	}
	zdtm_wait();
	for (int i = 0; i < 2; i++) {
		if (level == 3)
			kill(kids[i], SIGTERM);
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && status == (level == 3 ? SIGTERM : 0),
		           "level %d: %x", level, status);
	}
	if (!level)
		zdtm_pass();
	return 0;
}
