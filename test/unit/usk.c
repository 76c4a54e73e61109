/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets at restore: which steps the states of one can take (criu/sock/unix/usk_state.h). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/log.h"
#include "sock/unix/usk.h"

static struct usk fresh(void)
{
	return (struct usk) { .text = "unix socket 1", .fd = -1, .temp_fd = -1 };
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void made_once(void **state)
{
	for (int how = MADE_PLAIN; how <= MADE_ACCEPTED; how++) {
		struct usk u = fresh();
		int fd = open_null(), again = open_null();

		assert_int_equal(usk_set_made(&u, how, fd), 0);
		assert_int_equal(u.fd, fd);
		for (int next = MADE_NOT_YET; next <= MADE_ACCEPTED; next++)
			assert_int_equal(usk_set_made(&u, next, dup(again)), -EBADMSG);
		assert_true(u.fd == fd && (int)u.made == how);
		close(fd);
		/* What is refused is closed: the same number is free again. */
		fd = dup(again);
		assert_int_equal(fd, again - 1);
		close(fd);
		close(again);
	}
}

static void connections(void **state)
{
	static const struct {
		enum usk_link from, to;
	} good[] = { { LINK_NONE, LINK_LISTENING }, { LINK_NONE, LINK_HALF }, { LINK_NONE, LINK_DONE },
		     { LINK_HALF, LINK_PARTED },    { LINK_HALF, LINK_DONE }, { LINK_PARTED, LINK_DONE } };
	size_t n = 0;

	for (int from = LINK_NONE; from <= LINK_DONE; from++)
		for (int to = LINK_NONE; to <= LINK_DONE; to++) {
			struct usk u = fresh();
			int want = -EBADMSG;

			u.link = from;
			for (size_t i = 0; i < ARRAY_SIZE(good); i++)
				if ((int)good[i].from == from && (int)good[i].to == to)
					want = 0;
			assert_int_equal(usk_set_link(&u, to), want);
			assert_int_equal(u.link, want ? from : to);
			n += !want;
		}
	assert_int_equal(n, ARRAY_SIZE(good));
}

static void names_and_use(void **state)
{
	struct usk u = fresh();

	assert_int_equal(usk_set_at(&u, AT_FILE), -EBADMSG);
	assert_int_equal(usk_set_at(&u, AT_HIDDEN), 0);
	assert_int_equal(usk_set_at(&u, AT_ABSTRACT), -EBADMSG);
	assert_int_equal(usk_set_at(&u, AT_FILE), 0);
	assert_int_equal(usk_set_at(&u, AT_NOWHERE), -EBADMSG);
	assert_int_equal(usk_set_use(&u, USE_TABLE), 0);
	assert_int_equal(usk_set_use(&u, USE_QUEUE), -EBADMSG);
}

static void temporary_peer(void **state)
{
	struct usk u = fresh();
	int fd = open_null();

	assert_int_equal(usk_take_temp(&u), -1);
	assert_int_equal(usk_set_temp_named(&u), -EBADMSG);
	assert_int_equal(usk_set_link(&u, LINK_HALF), 0);
	assert_int_equal(usk_set_temp(&u, fd), 0);
	assert_int_equal(usk_set_temp(&u, open_null()), -EBADMSG);
	assert_int_equal(usk_set_temp_named(&u), 0);
	assert_int_equal(usk_set_temp_named(&u), -EBADMSG);
	/* When it is closed, the socket is connected to nothing, as it is to be. */
	assert_int_equal(usk_take_temp(&u), fd);
	assert_true(u.temp == TEMP_NONE && u.temp_fd == -1 && u.link == LINK_DONE);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_once),
		cmocka_unit_test(connections),
		cmocka_unit_test(names_and_use),
		cmocka_unit_test(temporary_peer),
	};

	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
