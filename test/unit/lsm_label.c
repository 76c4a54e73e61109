/* SPDX-License-Identifier: GPL-2.0-only */
/* Labels of security modules: what /proc shows, what is written, and what a host knows, which is played by files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common.h"
#include "task/lsm_label.h"

static char sys_dir[] = "/tmp/lsm_label.XXXXXX";

static void put(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", sys_dir, name);
	for (char *p = strchr(path + strlen(sys_dir) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int make_sys(void **state)
{
	return mkdtemp(sys_dir) ? 0 : -1;
}

static int remove_sys(void **state)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", sys_dir);
	return system(command);
}

static void as_proc_shows_them(void **state)
{
	struct arena *a = arena_new();

	assert_null(lsm_label_parse(a, LSMTYPE__APPARMOR, "unconfined\n"));
	assert_null(lsm_label_parse(a, LSMTYPE__APPARMOR, "unconfined"));
	assert_null(lsm_label_parse(a, LSMTYPE__APPARMOR, ""));
	assert_null(lsm_label_parse(a, LSMTYPE__NO_LSM, "docker-default (enforce)\n"));
	assert_string_equal(lsm_label_parse(a, LSMTYPE__APPARMOR, "docker-default (enforce)\n"), "docker-default");
	assert_string_equal(lsm_label_parse(a, LSMTYPE__APPARMOR, "a name (of mine) (complain)"), "a name (of mine)");
	assert_string_equal(lsm_label_parse(a, LSMTYPE__APPARMOR, "/usr/bin/x//child (enforce)\n"),
	                    "/usr/bin/x//child");
	assert_string_equal(lsm_label_parse(a, LSMTYPE__APPARMOR, "a//&:ns:b (mixed)\n"), "a//&:ns:b");
	assert_string_equal(lsm_label_parse(a, LSMTYPE__APPARMOR, "(enforce)\n"), "(enforce)");
	assert_string_equal(lsm_label_parse(a, LSMTYPE__SELINUX, "system_u:system_r:container_t:s0:c1,c2"),
	                    "system_u:system_r:container_t:s0:c1,c2");
	arena_free(a);
}

static void as_the_kernel_takes_them(void **state)
{
	struct arena *a = arena_new();

	assert_string_equal(lsm_label_to_write(a, LSMTYPE__APPARMOR, "docker-default"), "changeprofile docker-default");
	assert_string_equal(lsm_label_to_write(a, LSMTYPE__SELINUX, "u:r:t:s0"), "u:r:t:s0");
	arena_free(a);
}

static void options(void **state)
{
	static const char *const wrong[] = { "", "apparmor", "apparmor:", "smack:x", "AppArmor:x", ":x", "selinux" };
	const char *name;
	Lsmtype type;

	assert_int_equal(lsm_label_parse_option("apparmor:lxc-1", &type, &name), 0);
	assert_true(type == LSMTYPE__APPARMOR && !strcmp(name, "lxc-1"));
	assert_int_equal(lsm_label_parse_option("selinux:u:r:t:s0", &type, &name), 0);
	assert_true(type == LSMTYPE__SELINUX && !strcmp(name, "u:r:t:s0"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(lsm_label_parse_option(wrong[i], &type, &name), -EINVAL);
}

static void hosts(void **state)
{
	assert_int_equal(lsm_label_host_type(sys_dir), LSMTYPE__NO_LSM);
	put("fs/selinux/enforce", "0");
	assert_int_equal(lsm_label_host_type(sys_dir), LSMTYPE__SELINUX);
	put("module/apparmor/parameters/enabled", "N\n");
	assert_int_equal(lsm_label_host_type(sys_dir), LSMTYPE__SELINUX);
	put("module/apparmor/parameters/enabled", "Y\n");
	assert_int_equal(lsm_label_host_type(sys_dir), LSMTYPE__APPARMOR);
}

static void known_labels(void **state)
{
	/* Where the list cannot be read, nothing is refused. */
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__APPARMOR, "x"), 0);
	put("kernel/security/apparmor/profiles", "docker-default (enforce)\na name (of mine) (complain)\n");
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__APPARMOR, "docker-default"), 0);
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__APPARMOR, "a name (of mine)"), 0);
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__APPARMOR, "docker"), -ENOENT);
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__APPARMOR, "unconfined"), 0);
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__APPARMOR, ":ns:x"), 0);
	assert_int_equal(lsm_label_is_known(sys_dir, LSMTYPE__SELINUX, "u:r:t:s0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_proc_shows_them),
		cmocka_unit_test(as_the_kernel_takes_them),
		cmocka_unit_test(options),
		cmocka_unit_test(hosts),
		cmocka_unit_test(known_labels),
	};

	return cmocka_run_group_tests(tests, make_sys, remove_sys);
}
