// SPDX-License-Identifier: GPL-2.0-only
// What runs in the containers of the tests: a program that counts what it has done, so that a step lost or done twice
// shows.
//   inmate [-e PORT] [-c ADDRESS PORT] [-l FILE]
// It writes its count, one a tick, to /count (by one descriptor, which stays open), and what does not fit to /bad. -e:
// echoes what TCP connections send. -c: keeps a connection, sends numbers in order and reads them back. -l: holds a
// lock (flock) of the file. Lines on its standard input are answered on its output:
//   exit N        ends with that status
//   anything      the line again, with the count and the bytes that were echoed
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX     16
#define TICK_MS 10

static struct pollfd fds[MAX];
static int used = 1;
static uint64_t count, echoed, sent, got;
static int count_file, peer = -1;
static volatile sig_atomic_t told;
static char *pattern;
#define PATTERN_SIZE (256 << 10)

/* In the directory that DIR names: of a container the root. */
static int open_file(const char *name, int flags)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", getenv("DIR") ? getenv("DIR") : "", name);
	return open(path, flags | O_CREAT, 0644);
}

static void bad(const char *what)
{
	int fd = open_file("bad", O_WRONLY | O_APPEND);
	dprintf(fd, "%s (count %llu): %s\n", what, (unsigned long long)count, strerror(errno));
	close(fd);
}

static void on_signal(int sig)
{
	told = sig;
}

static void listen_on(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&a, sizeof(a)) || listen(fd, 8))
		bad("listen");
	fds[used++] = (struct pollfd) { fd, POLLIN, 0 };
}

static void connect_to(const char *address, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, address, &a.sin_addr);
	peer = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(peer, (void *)&a, sizeof(a)))
		bad("connect");
	fds[used++] = (struct pollfd) { peer, POLLIN, 0 };
}

static void say(const char *line)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "%s %llu %llu %llu\n", line, (unsigned long long)count,
	                 (unsigned long long)echoed, (unsigned long long)got);
	if (write(1, text, n) != n)
		bad("write to the standard output");
}

static void read_line(void)
{
	char line[512];
	ssize_t n = read(0, line, sizeof(line) - 1);
	if (n <= 0) {
		fds[0].fd = -1;
		return;
	}
	line[n] = 0;
	for (char *p = strtok(line, "\r\n"); p; p = strtok(NULL, "\r\n")) {
		if (!strncmp(p, "exit ", 5))
			exit(atoi(p + 5));
		say(p);
	}
}

static void serve(struct pollfd *p, int is_listener)
{
	char data[4096];
	if (is_listener) {
		int fd = accept(p->fd, NULL, NULL);
		if (fd >= 0 && used < MAX)
			fds[used++] = (struct pollfd) { fd, POLLIN, 0 };
		return;
	}
	ssize_t n = read(p->fd, data, p->fd == peer ? 8 : sizeof(data));
	if (n <= 0) {
		if (p->fd == peer)
			bad("the connection ended");
		close(p->fd);
		p->fd = -1;
	} else if (p->fd == peer) {
		uint64_t number = 0;
		memcpy(&number, data, n);
		if (n != 8 || number != got)
			bad("the peer sent another number");
		got++;
	} else {
		echoed += n;
		if (write(p->fd, data, n) != n)
			bad("write to a connection");
	}
}

static void tick(void)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%020llu\n", (unsigned long long)++count);
	if (pwrite(count_file, text, n, 0) != n)
		bad("write of the count");
	pattern[count * 4099 % PATTERN_SIZE]++;
	if (peer >= 0 && sent == got && write(peer, &sent, 8) == 8)
		sent++;
	if (told == SIGTERM)
		exit(0);
	if (told) {
		told = 0;
		say("usr1");
	}
}

static uint64_t pattern_sum(void)
{
	uint64_t sum = 0;
	for (int i = 0; i < PATTERN_SIZE; i++)
		sum += (unsigned char)pattern[i];
	return sum;
}

static void check(const char *word)
{
	const char *now = getenv("WORD");
	char name[64] = "";
	static char first[64];
	gethostname(name, sizeof(name));
	if (!first[0])
		memcpy(first, name, sizeof(first));
	errno = 0;
	if (strcmp(now ? now : "", word))
		bad("the environment has changed");
	if (strcmp(first, name))
		bad("the host name has changed");
	if (count < 10000 && pattern_sum() != count)
		bad("memory has changed");
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	int listener = -1;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-e")) {
			listener = used;
			listen_on(atoi(argv[++i]));
		} else if (!strcmp(argv[i], "-c")) {
			connect_to(argv[i + 1], atoi(argv[i + 2]));
			i += 2;
		} else if (!strcmp(argv[i], "-l")) {
			if (flock(open(argv[++i], O_RDWR | O_CREAT, 0644), LOCK_EX))
				bad("flock");
		}
	}
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	const char *word = strdup(getenv("WORD") ? getenv("WORD") : "");
	pattern = calloc(1, PATTERN_SIZE);
	count_file = open_file("count", O_RDWR);
	if (count_file < 0)
		bad("open of /count");
	fds[0] = (struct pollfd) { 0, POLLIN, 0 };
	say("started");
	for (;;) {
		struct timespec now;
		static long long next;
		clock_gettime(CLOCK_MONOTONIC, &now);
		long long ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
		if (ms >= next) {
			tick();
			check(word);
			next = ms + TICK_MS;
		}
		int n = poll(fds, used, TICK_MS);
		for (int i = 0; n > 0 && i < used; i++) {
			if (!fds[i].revents)
				continue;
			if (i == 0)
				read_line();
			else
				serve(&fds[i], i == listener);
		}
	}
}
