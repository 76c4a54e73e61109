/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A cgroup that was removed, its directory and a file of it.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: .*zdtm-removed.*: its cgroup was removed
 * zdtm: refuse fd 101: .*zdtm-removed.*: its cgroup was removed
 */
#include "zdtm.h"

int main(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids" };
	char path[100], file[120];
	int dir = -1, procs = -1;

	for (int i = 0; i < 3 && dir < 0; i++) {
		snprintf(path, sizeof(path), "%s/zdtm-removed-XXXXXX", roots[i]);
		if (!mkdtemp(path))
			continue;
		snprintf(file, sizeof(file), "%s/cgroup.procs", path);
		dir = open(path, O_RDONLY | O_DIRECTORY);
		procs = open(file, O_RDONLY);
		zdtm_must(!rmdir(path));
	}
	if (dir < 0 || procs < 0)
		zdtm_skip("no cgroup can be made here");
	zdtm_must(dup2(dir, 100) == 100 && dup2(procs, 101) == 101);
	close(dir);
	close(procs);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(fcntl(100, F_GETFD) >= 0, "the descriptor is gone");
	zdtm_pass();
}
