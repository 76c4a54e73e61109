/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP connections with numbered bytes both ways at full speed, which end as their plan says: half-closed, closed,
 *reset. The plan follows from a key that the connecting side sends first, so both sides know every byte and every end.
 *
 * Alone it is a test: pairs between two processes of a tree. test/zdtm/tcp_stress.py gives arguments:
 *	tcp_flow serve NAME			accepts, writes its port to port.NAME
 *	tcp_flow connect NAME SERVER N SEED	keeps N connections to the server of that name
 *	tcp_flow tree N SEED			"serve in", "connect in-in in", "connect in-out out"
 * New connections are made only while the file "gate" is there; "stop": no more, and nobody waits any more; "quit": a
 * server without connections ends. Each writes its numbers to status.NAME.
 *
 * zdtm: iters 3
 * zdtm: frozen
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "zdtm.h"

#define MAX_CONNS 512
#define PART      65536
/*
 * A packet that meets the lock of one round after the other is sent again after twice as long each time, up to two
 * minutes (TCP_RTO_MAX).
 */
#define HANGS_MS  240000

enum how { HALF, FULL, HOWS };

struct plan {
	uint64_t key;
	struct side {
		uint64_t len;    /* so many bytes it sends */
		uint64_t resets; /* after so many it resets the connection; 0: never */
		uint32_t part;   /* at most so many at once */
		int pace;        /* milliseconds between two parts */
		int before_fin, before_close;
		enum how how;
	} side[2]; /* 0: who connected */
};

struct conn {
	int fd, me;
	bool eof, shut;
	unsigned char header[8];
	size_t header_len;
	struct plan plan;
	uint64_t out, in, random;
	int64_t read_at, write_at, fin_at, close_at, moved;
};

struct party {
	const char *name;
	int listener, status;
	struct sockaddr_in to;
	int wanted; /* connections, for who connects */
	uint64_t random;
	struct conn conns[MAX_CONNS];
	int n;
	bool gate_shut, stop, extra;
	unsigned long opened, accepted, ended;
	uint64_t bytes;
	int64_t told;
};

static unsigned char wanted_bytes[PART + 16], bytes[PART + 16];

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool there(const char *name)
{
	return !access(zdtm_path(name), F_OK);
}

/* ---- plans and bytes ---- */

static struct side plan_side(uint64_t *r)
{
	static const uint64_t most[] = { 1, 100, 1 << 16, 1 << 22, 1 << 25, 1 << 25 };
	struct side s = { .len = mix(r) % most[mix(r) % 6], .part = 1 + (uint32_t)(mix(r) % PART) };

	if (mix(r) % 4 == 0) { /* slow, and alive for many rounds */
		s.pace = 1 + (int)(mix(r) % 20);
		s.part = 1 + (uint32_t)(mix(r) % 3000);
		s.len = s.part * (1 + mix(r) % 1500);
	} else if (s.len / s.part > 20000) {
		s.part = PART;
	}
	s.before_fin = mix(r) % 2 ? (int)(mix(r) % 300) : 0;
	s.before_close = mix(r) % 2 ? (int)(mix(r) % 200) : 0;
	s.how = (enum how)(mix(r) % HOWS);
	return s;
}

static struct plan plan_of(uint64_t key)
{
	struct plan p = { .key = key };
	uint64_t r = key;
	int who = (int)(mix(&r) % 2);

	p.side[0] = plan_side(&r);
	p.side[1] = plan_side(&r);
	if (mix(&r) % 12 == 0) {
		p.side[who].len += 2;
		p.side[who].resets = 1 + mix(&r) % (p.side[who].len - 1);
	}
	return p;
}

/* Bytes at..at+n of what side `who` sends. */
static const unsigned char *numbered(uint64_t key, int who, uint64_t at, size_t n)
{
	uint64_t first = at / 8, last = (at + n + 7) / 8;

	for (uint64_t i = first; i < last; i++) {
		uint64_t word = (i + 1) * 0x9e3779b97f4a7c15ULL ^ (key * 2 + (uint64_t)who);

		memcpy(wanted_bytes + (i - first) * 8, &word, 8);
	}
	return wanted_bytes + at % 8;
}

/* ---- one connection ---- */

static struct side *mine(struct conn *c)
{
	return &c->plan.side[c->me];
}

static struct side *other(struct conn *c)
{
	return &c->plan.side[!c->me];
}

static void made(struct conn *c, uint64_t key)
{
	int on = 1, second = 1, count = 30;

	c->plan = plan_of(key);
	c->random = key * 2 + (uint64_t)c->me;
	if (!other(c)->resets)
		return;
	/* His reset may come while packets are dropped: only who asks hears of it. */
	zdtm_check(!setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)), "keepalive: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof(second));
	setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof(second));
	setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static void end(struct party *p, struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	p->ended++;
}

/* Both ends of it, as the kernel shows them: what waits where, and for which timer. */
static void show_ends(int fd)
{
	struct sockaddr_in a = { 0 }, b = { 0 };
	socklen_t len = sizeof(a);
	FILE *f = fopen("/proc/net/tcp", "re");
	char line[300], ports[2][8];

	getsockname(fd, (struct sockaddr *)&a, &len);
	len = sizeof(b);
	getpeername(fd, (struct sockaddr *)&b, &len);
	snprintf(ports[0], sizeof(ports[0]), ":%04X ", ntohs(a.sin_port));
	snprintf(ports[1], sizeof(ports[1]), ":%04X ", ntohs(b.sin_port));
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, ports[0]) && strstr(line, ports[1]))
			fputs(line, stdout);
	fflush(stdout);
	if (f)
		fclose(f);
}

static void wrong(struct party *p, struct conn *c, const char *what)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int err = errno;

	if (other(c)->resets && (err == ECONNRESET || err == EPIPE || err == ENOTCONN || err == ETIMEDOUT)) {
		end(p, c);
		return;
	}
	getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	show_ends(c->fd);
	zdtm_say("FAIL", __LINE__,
	         "%s: key %lx side %d: %s (%s); state %u, in %lu of %lu%s, out %lu of %lu%s, unacked %u, backoff %u",
	         p->name, (unsigned long)c->plan.key, c->me, what, err ? strerror(err) : "no error", info.tcpi_state,
	         (unsigned long)c->in, (unsigned long)other(c)->len, c->eof ? " eof" : "", (unsigned long)c->out,
	         (unsigned long)mine(c)->len, c->shut ? " shut" : "", info.tcpi_unacked, info.tcpi_backoff);
	end(p, c);
}

static void read_header(struct party *p, struct conn *c)
{
	ssize_t n = recv(c->fd, c->header + c->header_len, sizeof(c->header) - c->header_len, MSG_DONTWAIT);
	uint64_t key;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		wrong(p, c, "no header");
		return;
	}
	c->header_len += (size_t)n;
	if (c->header_len < sizeof(c->header))
		return;
	memcpy(&key, c->header, sizeof(key));
	made(c, key);
	p->accepted++;
}

static void take(struct party *p, struct conn *c, int64_t now)
{
	ssize_t n = recv(c->fd, bytes, 1 + mix(&c->random) % PART, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		wrong(p, c, "recv");
		return;
	}
	c->moved = now;
	errno = 0;
	if (!n) {
		c->eof = true;
		if (c->in != other(c)->len)
			wrong(p, c, "the end comes too early");
		return;
	}
	if ((uint64_t)n > other(c)->len - c->in)
		wrong(p, c, "more bytes than there are");
	else if (memcmp(bytes, numbered(c->plan.key, !c->me, c->in, (size_t)n), (size_t)n))
		wrong(p, c, "wrong bytes");
	c->in += (uint64_t)n;
	p->bytes += (uint64_t)n;
	if (mix(&c->random) % 100 == 0)
		c->read_at = now + (int64_t)(mix(&c->random) % 50);
}

static void give(struct party *p, struct conn *c, int64_t now)
{
	uint64_t len = mine(c)->resets ? mine(c)->resets : mine(c)->len;
	size_t n = mine(c)->part < len - c->out ? mine(c)->part : (size_t)(len - c->out);
	ssize_t sent = send(c->fd, numbered(c->plan.key, c->me, c->out, n), n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent < 0) {
		wrong(p, c, "send");
		return;
	}
	c->out += (uint64_t)sent;
	c->moved = now;
	c->write_at = now + mine(c)->pace;
}

static void reset(struct party *p, struct conn *c)
{
	struct linger at_once = { .l_onoff = 1 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	end(p, c);
}

/* What a connection does when it has sent all. */
static void finish(struct party *p, struct conn *c, int64_t now)
{
	if (mine(c)->resets && c->out >= mine(c)->resets) {
		reset(p, c);
		return;
	}
	if (c->out < mine(c)->len)
		return;
	c->fin_at = c->fin_at ? c->fin_at : now + (p->stop ? 0 : mine(c)->before_fin);
	if (mine(c)->how == HALF && !c->shut && now >= c->fin_at) {
		c->shut = true;
		if (shutdown(c->fd, SHUT_WR))
			wrong(p, c, "shutdown");
		c->moved = now;
	}
	if (c->fd < 0 || other(c)->resets || c->in < other(c)->len || (mine(c)->how == HALF && !(c->eof && c->shut)))
		return;
	c->close_at = c->close_at ? c->close_at : now + (p->stop ? 0 : mine(c)->before_close);
	if (now >= c->close_at)
		end(p, c);
}

static short wants(struct party *p, struct conn *c, int64_t now)
{
	uint64_t len = mine(c)->resets ? mine(c)->resets : mine(c)->len;
	short events = 0;

	if (!c->plan.key)
		return POLLIN;
	if (!c->eof && (p->stop || now >= c->read_at))
		events |= POLLIN;
	if (c->out < len && (p->stop || now >= c->write_at))
		events |= POLLOUT;
	return events;
}

static void work(struct party *p, struct conn *c, short events, int64_t now)
{
	if (!c->plan.key) {
		if (events)
			read_header(p, c);
		return;
	}
	/* POLLHUP and POLLERR come unasked. */
	if (wants(p, c, now) & POLLIN && events & (POLLIN | POLLERR | POLLHUP))
		take(p, c, now);
	if (c->fd >= 0 && wants(p, c, now) & POLLOUT && events & (POLLOUT | POLLERR))
		give(p, c, now);
	if (c->fd >= 0)
		finish(p, c, now);
	if (c->fd >= 0 && now - c->moved > HANGS_MS) {
		errno = 0;
		wrong(p, c, "it hangs");
	}
}

/* ---- a party ---- */

static struct conn *add(struct party *p, int fd, int me, int64_t now)
{
	struct conn *c = &p->conns[p->n++];

	*c = (struct conn) { .fd = fd, .me = me, .moved = now };
	return c;
}

static void connect_more(struct party *p, int64_t now)
{
	while (!p->gate_shut && !p->stop && (p->n < p->wanted || (p->extra && p->n < MAX_CONNS))) {
		uint64_t key = mix(&p->random) | 1;
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (!zdtm_check(fd >= 0 && !connect(fd, (struct sockaddr *)&p->to, sizeof(p->to)), "%s: connect: %s",
		                p->name, strerror(errno)) ||
		    !zdtm_check(send(fd, &key, sizeof(key), MSG_NOSIGNAL) == sizeof(key), "%s: header: %s", p->name,
		                strerror(errno)))
			_exit(1);
		made(add(p, fd, 0, now), key);
		p->opened++;
		p->extra = false; /* one more whenever the gate opens, however long the others live */
	}
}

static void accept_more(struct party *p, int64_t now)
{
	while (p->n < MAX_CONNS) {
		int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		add(p, fd, 1, now);
	}
}

static void tell(struct party *p, int64_t now)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "%12lu %12lu %12lu %12d %20lu %d\n", p->opened, p->accepted, p->ended,
	                 p->n, (unsigned long)p->bytes, p->gate_shut);

	p->told = now;
	zdtm_check(pwrite(p->status, text, (size_t)n, 0) == n, "%s: status: %s", p->name, strerror(errno));
}

/* Returns whether all is over. */
static bool look(struct party *p, int64_t now)
{
	bool shut = !there("gate");

	if (shut != p->gate_shut || now - p->told >= 3) {
		p->extra = p->gate_shut && !shut;
		p->gate_shut = shut;
		p->stop = there("stop");
		tell(p, now);
	}
	return !p->n && (p->listener >= 0 ? there("quit") : p->stop);
}

static int run(struct party *p)
{
	struct pollfd polled[MAX_CONNS + 1];

	while (!look(p, now_ms())) {
		int64_t now = now_ms();
		int n, left = 0;

		if (p->listener < 0)
			connect_more(p, now);
		n = p->n;
		for (int i = 0; i < n; i++)
			polled[i] = (struct pollfd) { .fd = p->conns[i].fd, .events = wants(p, &p->conns[i], now) };
		polled[n] = (struct pollfd) { .fd = p->listener, .events = POLLIN };
		for (int i = 0; i <= n; i++) /* an end that nobody asks for would keep us from sleeping */
			polled[i].fd = polled[i].events ? polled[i].fd : -1;
		if (poll(polled, (nfds_t)n + 1, 2) < 0 && errno != EINTR)
			zdtm_say("FAIL", __LINE__, "%s: poll: %s", p->name, strerror(errno));
		now = now_ms();
		for (int i = 0; i < n; i++)
			work(p, &p->conns[i], polled[i].revents, now);
		if (p->listener >= 0)
			accept_more(p, now);
		for (int i = 0; i < p->n; i++)
			if (p->conns[i].fd >= 0)
				p->conns[left++] = p->conns[i];
		p->n = left;
	}
	tell(p, now_ms());
	return 0;
}

static void named(struct party *p, const char *name)
{
	char file[100];

	snprintf(file, sizeof(file), "status.%s", name);
	p->name = name;
	p->status = open(zdtm_path(file), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	zdtm_must(p->status >= 0);
}

static int serve(const char *name)
{
	static struct party p;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	char file[100], new[100];
	int fd, reuse = strcmp(name, "in"); /* the tree's has no SO_REUSEADDR */

	named(&p, name);
	p.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	zdtm_must(!setsockopt(p.listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)));
	zdtm_must(!bind(p.listener, (struct sockaddr *)&at, sizeof(at)) && !listen(p.listener, 500));
	zdtm_must(!getsockname(p.listener, (struct sockaddr *)&at, &len));
	snprintf(file, sizeof(file), "port.%s", name);
	snprintf(new, sizeof(new), "new-port.%s", name);
	fd = open(zdtm_path(new), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	zdtm_must(fd >= 0);
	dprintf(fd, "%u\n", ntohs(at.sin_port));
	close(fd);
	zdtm_must(!rename(new, file));
	return run(&p);
}

static int connects(const char *name, const char *server, int n, uint64_t seed)
{
	static struct party p = { .listener = -1 };
	unsigned port = 0;
	char file[100];
	FILE *f;

	named(&p, name);
	snprintf(file, sizeof(file), "port.%s", server);
	while (!there(file))
		zdtm_nap();
	f = fopen(zdtm_path(file), "re");
	if (!f || fscanf(f, "%u", &port) != 1)
		_exit(1);
	fclose(f);
	p.to = (struct sockaddr_in) { .sin_family = AF_INET,
		                      .sin_port = htons((uint16_t)port),
		                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	p.wanted = n;
	p.random = seed;
	return run(&p);
}

static pid_t child(const char *name, const char *server, int n, uint64_t seed)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(server ? connects(name, server, n, seed) : serve(name));
	}
	return pid;
}

static void ended(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		;
	zdtm_check(!status, "pid %d ended with %x", pid, status);
}

/* opened, accepted, ended, live, bytes, gate shut */
static void status_of(const char *name, unsigned long v[6])
{
	char file[100];
	FILE *f;

	snprintf(file, sizeof(file), "status.%s", name);
	f = fopen(zdtm_path(file), "re");
	memset(v, 0, 6 * sizeof(v[0]));
	if (f && fscanf(f, "%lu %lu %lu %lu %lu %lu", v, v + 1, v + 2, v + 3, v + 4, v + 5) != 6)
		memset(v, 0, 6 * sizeof(v[0]));
	if (f)
		fclose(f);
}

/* Until so many have been opened, and accepted, and whether the gate is shut is known. */
static void await(unsigned long opened, unsigned long shut)
{
	unsigned long in[6], serving[6];

	do {
		zdtm_nap();
		status_of("in-in", in);
		status_of("in", serving);
	} while (in[0] < opened || in[0] != serving[1] || in[5] != shut);
}

static void alone(void)
{
	pid_t server = child("in", NULL, 0, 0), client = child("in-in", "in", 12, 1);
	unsigned long before[6];

	zdtm_touch("gate");
	await(12, 0);
	unlink(zdtm_path("gate"));
	await(12, 1);
	zdtm_ready();
	zdtm_wait();
	status_of("in-in", before);
	zdtm_touch("gate");
	await(before[0] + 1, 0);
	zdtm_touch("stop");
	ended(client);
	zdtm_touch("quit");
	ended(server);
	zdtm_pass();
}

int main(int argc, char **argv)
{
	if (argc == 1)
		alone();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "connect"))
		return connects(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 0));
	if (argc == 4 && !strcmp(argv[1], "tree")) {
		int n = atoi(argv[2]);
		uint64_t seed = strtoull(argv[3], NULL, 0);
		pid_t pids[3] = { child("in", NULL, 0, 0), child("in-in", "in", n, seed),
			          child("in-out", "out", n / 2, seed + 1) };

		for (int i = 1; i < 3; i++)
			ended(pids[i]);
		ended(pids[0]);
		return 0;
	}
	return 2;
}
