/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How libcriu reaches criu, and what it leaves behind. This program, called as `criu swrk FD`, is the criu that the
 * library starts.
 */
#include "libcriu_peer.h"

/* ---- the criu that is started: this program ---- */

#define HOW "LIBCRIU_TEST_HOW"

/* What this process is to its caller: the sublevel of the version. */
enum { IS_CHILD = 1, LEADS_SESSION = 2, HAS_STANDARD = 4, NO_OTHERS = 8, HAS_INHERITED = 16, HANDLERS_DEFAULT = 32 };

static int look_around(int connection)
{
	struct ucred peer;
	struct sigaction usr1;
	socklen_t size = sizeof(peer);
	int what = 0, open_ones = 0;
	const char *inherited = getenv("LIBCRIU_TEST_FD");

	getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	what |= getppid() == peer.pid ? IS_CHILD : 0;
	what |= getsid(0) == getsid(peer.pid) ? 0 : LEADS_SESSION;
	what |= fcntl(2, F_GETFD) < 0 ? 0 : HAS_STANDARD;
	for (int i = 3; i < 200; i++)
		open_ones += i != connection && fcntl(i, F_GETFD) >= 0;
	what |= inherited && fcntl(atoi(inherited), F_GETFD) >= 0 && open_ones == 1 ? HAS_INHERITED : 0;
	what |= open_ones ? 0 : NO_OTHERS;
	sigaction(SIGUSR1, NULL, &usr1);
	return what | (usr1.sa_handler == SIG_DFL ? HANDLERS_DEFAULT : 0);
}

static int swrk_main(int fd)
{
	const char *how = getenv(HOW);
	CriuResp resp = CRIU_RESP__INIT;
	CriuVersion v = CRIU_VERSION__INIT;
	CriuRestoreResp r = CRIU_RESTORE_RESP__INIT;
	CriuReq *req;

	if (!how || !strcmp(how, "dies"))
		return 1;
	req = next_request(fd);
	if (!req)
		return 255;
	if (!strcmp(how, "garbage")) {
		send(fd, "what?", 5, MSG_NOSIGNAL);
		return 1;
	}
	if (!strcmp(how, "killed"))
		raise(SIGKILL);
	resp.type = req->type;
	resp.success = true;
	resp.version = &v;
	resp.restore = &r;
	v.major_number = fd > 2 ? 4 : 0;
	v.has_sublevel = true;
	v.sublevel = look_around(fd);
	r.pid = req->opts && req->opts->rst_sibling ? getpid() : 1;
	send_response(fd, &resp, -1);
	usleep(100000); /* the library waits for more than the answer */
	return 0;
}

static criu_opts *binary_opts(const char *how)
{
	criu_opts *o = new_opts();

	assert_int_equal(criu_local_set_service_binary(o, "/proc/self/exe"), 0);
	setenv(HOW, how, 1);
	return o;
}

static void no_child_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void not_to_be_executed(void **state)
{
	criu_opts *o = new_opts();
	char path[] = "/tmp/libcriu-unit.XXXXXX";
	int fd;

	criu_local_set_service_binary(o, "/nowhere/criu");
	assert_int_equal(criu_local_get_version(o), -ECONNREFUSED);
	assert_int_equal(errno, ENOENT);
	no_child_left();
	assert_int_equal(criu_local_dump(o), -ECONNREFUSED); /* of itself: another way to start */
	assert_int_equal(errno, ENOENT);
	no_child_left();
	fd = mkstemp(path);
	close(fd);
	criu_local_set_service_binary(o, path);
	assert_int_equal(criu_local_restore_child(o), -ECONNREFUSED);
	assert_int_equal(errno, EACCES);
	no_child_left();
	unlink(path);
	criu_local_free_opts(o);
}

static void ends_without_answer(void **state)
{
	static const struct {
		const char *how;
		int ret;
	} cases[] = { { "dies", -ECOMM }, { "killed", -ECOMM }, { "garbage", -EBADMSG } };

	for (size_t i = 0; i < 3; i++) {
		criu_opts *o = binary_opts(cases[i].how);

		assert_int_equal(criu_local_check(o), cases[i].ret);
		no_child_left();
		assert_int_equal(criu_local_dump(o), cases[i].ret);
		no_child_left();
		criu_local_free_opts(o);
	}
}

static void usr1_handler(int sig)
{
}

/* A child of the caller's, with the caller's session and nothing else that is open; gone when the library returns. */
static void started_as_child(void **state)
{
	criu_opts *o = binary_opts("answers");

	signal(SIGUSR1, usr1_handler);
	assert_int_equal(criu_local_get_version(o), 40000 + (IS_CHILD | HAS_STANDARD | NO_OTHERS | HANDLERS_DEFAULT));
	no_child_left();
	signal(SIGUSR1, SIG_DFL);
	criu_local_free_opts(o);
}

/* It has a number of its own even where standard descriptors are closed. */
static void standard_closed(void **state)
{
	criu_opts *o = binary_opts("answers");
	int saved[3], ret;

	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
		close(i);
	}
	ret = criu_local_get_version(o);
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
	assert_int_equal(ret, 40000 + (IS_CHILD | NO_OTHERS | HANDLERS_DEFAULT));
	criu_local_free_opts(o);
}

static void inherits_what_is_named(void **state)
{
	criu_opts *o = binary_opts("answers");
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char number[12];

	snprintf(number, sizeof(number), "%d", fd);
	setenv("LIBCRIU_TEST_FD", number, 1);
	assert_int_equal(criu_local_add_inherit_fd(o, fd, "pipe:[1]"), 0);
	assert_int_equal(criu_local_get_version(o),
	                 40000 + (IS_CHILD | HAS_STANDARD | HAS_INHERITED | HANDLERS_DEFAULT));
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	unsetenv("LIBCRIU_TEST_FD");
	close(fd);
	criu_local_free_opts(o);
}

/* With another way set, a child is restored by a criu of its own, and the way stays. */
static void restored_as_sibling(void **state)
{
	criu_opts *o = binary_opts("answers");
	int fd = peer_begin(o), pid;
	CriuReq *req;

	pid = criu_local_restore_child(o);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, 0), -1);
	answer(fd, CRIU_REQ_TYPE__DUMP, true, 0);
	assert_int_equal(criu_local_dump(o), 0);
	req = only_request(fd, CRIU_REQ_TYPE__DUMP);
	assert_false(req->opts->has_rst_sibling && req->opts->rst_sibling);
	criu_req__free_unpacked(req, NULL);
	criu_local_free_opts(o);
}

/* A criu that dumps its caller is no child of it, and the library waits for its end all the same. */
static void apart_from_itself(void **state)
{
	criu_opts *o = binary_opts("answers");
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(criu_local_dump(o), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 99);
	no_child_left();
	criu_local_set_pid(o, getpid());
	assert_int_equal(criu_local_dump(o), 0);
	no_child_left();
	criu_local_free_opts(o);
}

static void *ask_often(void *arg)
{
	for (int i = 0; i < 20; i++) {
		criu_opts *o = new_opts();
		int ret;

		criu_local_set_service_binary(o, i % 4 == 3 ? "/nowhere" : "/proc/self/exe");
		ret = criu_local_get_version(o);
		if (i % 4 == 3 ? ret != -ECONNREFUSED || errno != ENOENT
		               : ret < 40000 || !((ret - 40000) & IS_CHILD) || !((ret - 40000) & NO_OTHERS))
			return (void *)(intptr_t)(ret ?: 1);
		criu_local_free_opts(o);
	}
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[8];
	void *ret;

	setenv(HOW, "answers", 1);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ask_often, NULL), 0);
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], &ret);
		assert_int_equal((intptr_t)ret, 0);
	}
	no_child_left();
}

/* ---- the service's socket ---- */

static void service(void **state)
{
	char dir[] = "/tmp/libcriu-unit.XXXXXX", path[64], far[200];
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	criu_opts *o = new_opts();
	int fd, status;
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	strcpy(addr.sun_path, path);
	assert_int_equal(criu_local_set_service_address(o, path), 0);
	assert_int_equal(criu_local_check(o), -ECONNREFUSED);
	assert_int_equal(errno, ENOENT);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(criu_local_check(o), -ECONNREFUSED);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(listen(fd, 5), 0);
	pid = fork();
	if (!pid) {
		int client = accept(fd, NULL, NULL);

		criu_req__free_unpacked(next_request(client), NULL);
		answer(client, CRIU_REQ_TYPE__DUMP, false, EEXIST);
		_exit(0);
	}
	assert_int_equal(criu_local_dump(o), -EBADE);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	unlink(path);
	rmdir(dir);
	memset(far, 'x', sizeof(far) - 1);
	far[sizeof(far) - 1] = 0;
	assert_int_equal(criu_local_set_service_address(o, far), 0);
	assert_int_equal(criu_local_check(o), -ECONNREFUSED);
	assert_int_equal(errno, ENAMETOOLONG);
	criu_local_free_opts(o);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_to_be_executed),
		cmocka_unit_test(ends_without_answer),
		cmocka_unit_test(started_as_child),
		cmocka_unit_test(standard_closed),
		cmocka_unit_test(inherits_what_is_named),
		cmocka_unit_test(restored_as_sibling),
		cmocka_unit_test(apart_from_itself),
		cmocka_unit_test(threads),
		cmocka_unit_test(service),
	};

	if (argc == 3 && !strcmp(argv[1], "swrk"))
		return swrk_main(atoi(argv[2]));
	close_range(3, ~0U, 0); /* the caller's */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
