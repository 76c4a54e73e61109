/* SPDX-License-Identifier: GPL-2.0-only */
/* The log: what a line looks like, where it goes, what is kept of the first error, and that lines of threads stay
 * whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/log.h"

/* Standard error, and a log file, both as files that can be read again. */
struct place {
	int err, saved, log;
	char text[2 << 20];
};

static struct place place;

static int temp_file(void)
{
	FILE *f = tmpfile();
	int fd = dup(fileno(f));

	fclose(f);
	return fd;
}

static int setup(void **state)
{
	place.err = temp_file();
	place.log = temp_file();
	place.saved = dup(STDERR_FILENO);
	dup2(place.err, STDERR_FILENO);
	return 0;
}

static int teardown(void **state)
{
	dup2(place.saved, STDERR_FILENO);
	close(place.saved);
	close(place.err);
	close(place.log);
	log_init(-1, LOG_WARN);
	return 0;
}

static const char *content(int fd)
{
	ssize_t n = pread(fd, place.text, sizeof(place.text) - 1, 0);

	assert_true(n >= 0);
	place.text[n] = '\0';
	return place.text;
}

static void error_line(void **state)
{
	assert_int_equal(log_init(-1, LOG_WARN), 0);
	assert_int_equal(log_error_line(-EACCES, "criu/tree/task.c", 12, "pid %d: opening", 812), -EACCES);
	assert_string_equal(content(place.err), "Error (tree/task.c:12): pid 812: opening: Permission denied\n");
	assert_int_equal(log_first_errno(), -EACCES);
	assert_string_equal(log_first_text(), "pid 812: opening: Permission denied");
}

static void first_error_is_kept(void **state)
{
	log_init(-1, LOG_WARN);
	assert_int_equal(log_first_errno(), 0);
	assert_string_equal(log_first_text(), "");
	log_warn("no error");
	assert_int_equal(log_first_errno(), 0);
	assert_int_equal(log_errno(0, "the first"), 0);
	log_errno(-EIO, "the second");
	assert_int_equal(log_first_errno(), -EINVAL);
	assert_non_null(strstr(log_first_text(), "the first"));
	log_init(-1, LOG_WARN);
	assert_int_equal(log_first_errno(), 0);
}

static void refusals_count(void **state)
{
	log_init(-1, LOG_WARN);
	assert_int_equal(log_refusal(-EOPNOTSUPP, "fd %d", 7), -EOPNOTSUPP);
	log_refusal(-EBUSY, "fd %d", 8);
	log_errno(-EIO, "no refusal");
	assert_int_equal(log_refusals(), 2);
	assert_int_equal(log_first_errno(), -EOPNOTSUPP);
}

static void levels(void **state)
{
	log_init(-1, LOG_WARN);
	assert_true(log_enabled(LOG_WARN));
	assert_false(log_enabled(LOG_INFO));
	log_info("hidden");
	log_warn("shown");
	assert_null(strstr(content(place.err), "hidden"));
	assert_int_equal(strncmp(content(place.err), "Warn  (", 7), 0);
}

static void silent_but_kept(void **state)
{
	log_init(-1, LOG_MSG);
	log_errno(-EIO, "unseen");
	assert_string_equal(content(place.err), "");
	assert_int_equal(log_first_errno(), -EIO);
}

static void timestamps(void **state)
{
	int sec, usec, end = 0;

	log_init(place.log, LOG_INFO);
	log_info("hello");
	assert_int_equal(sscanf(content(place.log), "(%2d.%6d) hello\n%n", &sec, &usec, &end), 2);
	assert_int_equal(end, strlen(place.text));
	assert_int_equal(sec, 0);
}

static void losses_reach_the_terminal(void **state)
{
	log_init(place.log, LOG_INFO);
	log_info("a piece of news");
	log_warn("a warning");
	log_errno(-EIO, "an error");
	assert_non_null(strstr(content(place.log), "a warning"));
	assert_non_null(strstr(content(place.log), "an error"));
	assert_null(strstr(content(place.err), "a piece of news"));
	assert_non_null(strstr(content(place.err), "a warning"));
	assert_non_null(strstr(content(place.err), "an error"));
}

static void once_where_both_are_one(void **state)
{
	const char *first;

	log_init(STDERR_FILENO, LOG_WARN);
	log_errno(-EIO, "an error");
	first = strstr(content(place.err), "an error");
	assert_non_null(first);
	assert_null(strstr(first + 1, "an error"));
}

static void foreign_text_is_one_line(void **state)
{
	log_init(-1, LOG_WARN);
	log_errno(-EIO, "name %s", "a\nError (x.c:1): fake\033[2J");
	assert_null(strchr(content(place.err), '\033'));
	assert_ptr_equal(strchr(place.text, '\n'), place.text + strlen(place.text) - 1);
}

static void long_lines(void **state)
{
	static char longer[5001];

	memset(longer, 'x', 5000);
	log_init(-1, LOG_WARN);
	log_errno(-EIO, "%s|", longer);
	assert_non_null(strstr(content(place.err), longer));
	assert_non_null(strstr(place.text, "x|: Input/output error\n"));
	/* Around the size of the buffer on the stack, where prefix, text and errno just fit or just do not. */
	for (size_t n = 1850; n < 2100; n++) {
		assert_int_equal(ftruncate(place.err, 0), 0);
		lseek(place.err, 0, SEEK_SET);
		log_errno(-EIO, "%s|", longer + 5000 - n);
		assert_non_null(strstr(content(place.err), "x|: Input/output error\n"));
		assert_true(strlen(place.text) > n);
	}
}

static void errno_survives(void **state)
{
	log_init(-1, LOG_WARN);
	errno = ENOENT;
	log_errno(-EIO, "x");
	log_warn("x");
	assert_int_equal(errno, ENOENT);
}

static void *many_lines(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_warn("%s", (char *)arg);
	return NULL;
}

static void threads(void **state)
{
	static char letters[8][301];
	pthread_t t[8];
	char *line, *next;
	int lines = 0;

	log_init(place.log, LOG_WARN);
	for (int i = 0; i < 8; i++) {
		memset(letters[i], 'a' + i, 300);
		pthread_create(&t[i], NULL, many_lines, letters[i]);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	content(place.log);
	for (line = place.text; (next = strchr(line, '\n')); line = next + 1, lines++) {
		char *text = next - 300;

		assert_int_equal(strspn(text, (char[]) { text[0], '\0' }), 300);
	}
	assert_int_equal(lines, 4000);
}

static void files_of_tasks(void **state)
{
	char dir[] = "/tmp/unit-log-XXXXXX", path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_PATH | O_DIRECTORY);
	log_init(place.log, LOG_WARN);
	assert_int_equal(log_task(4), 0);
	log_warn("before log_per_task");
	assert_int_equal(log_per_task(fd, "x.log"), 0);
	close(fd);
	assert_int_equal(log_task(5), 0);
	log_warn("of five");
	assert_int_equal(log_task(0), 0);
	log_warn("of all");
	assert_non_null(strstr(content(place.log), "before log_per_task"));
	assert_non_null(strstr(place.text, "of all"));
	assert_null(strstr(place.text, "of five"));
	snprintf(path, sizeof(path), "%s/x.log.4", dir);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/x.log.5", dir);
	fd = open(path, O_RDONLY);
	assert_non_null(strstr(content(fd), "of five"));
	close(fd);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(error_line, setup, teardown),
		cmocka_unit_test_setup_teardown(first_error_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals_count, setup, teardown),
		cmocka_unit_test_setup_teardown(levels, setup, teardown),
		cmocka_unit_test_setup_teardown(silent_but_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(timestamps, setup, teardown),
		cmocka_unit_test_setup_teardown(losses_reach_the_terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(once_where_both_are_one, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_text_is_one_line, setup, teardown),
		cmocka_unit_test_setup_teardown(long_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(errno_survives, setup, teardown),
		cmocka_unit_test_setup_teardown(threads, setup, teardown),
		cmocka_unit_test_setup_teardown(files_of_tasks, setup, teardown),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
