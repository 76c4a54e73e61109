/* SPDX-License-Identifier: GPL-2.0-only */
/* The calls by which OpenJ9 dumps itself: libcriu.so by dlopen(3), each function by dlsym(3), in this order. */
#ifndef OPENJ9_CALLS_H
#define OPENJ9_CALLS_H

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>

/* What criu_dump() gives; -1000: there is no such library, -1001: there is no such function. */
static inline int openj9_dump(const char *library, const char *binary, int dir, bool leave_running)
{
	void *lib = dlopen(library, RTLD_NOW);
	static const char *const flags[] = { "criu_set_unprivileged",    "criu_set_ext_unix_sk",
		                             "criu_set_file_locks",      "criu_set_auto_dedup",
		                             "criu_set_track_mem",       "criu_set_tcp_close",
		                             "criu_set_tcp_established", "criu_set_tcp_skip_in_flight" };
	int (*init)(void), (*dump)(void), (*text)(const char *);
	void (*flag)(bool), (*number)(int), (*limit)(unsigned int);

#define FIND(f, name)                                                                                                  \
	do {                                                                                                           \
		*(void **)&f = dlsym(lib, name);                                                                       \
		if (!f)                                                                                                \
			return -1001;                                                                                  \
	} while (0)

	if (!lib)
		return -1000;
	FIND(init, "criu_init_opts");
	FIND(dump, "criu_dump");
	if (init())
		return -1002;
	FIND(text, "criu_set_service_binary"); /* not OpenJ9's: the test has a criu of its own */
	text(binary);
	for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		FIND(flag, flags[i]);
		flag(false);
	}
	FIND(number, "criu_set_images_dir_fd");
	number(dir);
	FIND(number, "criu_set_work_dir_fd");
	number(dir);
	FIND(flag, "criu_set_shell_job");
	flag(true);
	FIND(number, "criu_set_log_level");
	number(4);
	FIND(text, "criu_set_log_file");
	text("criu.log");
	FIND(flag, "criu_set_leave_running");
	flag(leave_running);
	FIND(limit, "criu_set_ghost_limit");
	limit(1 << 20);
#undef FIND
	return dump();
}

#endif
