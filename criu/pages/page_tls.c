/* SPDX-License-Identifier: GPL-2.0-only */
/* By gnutls, which is loaded when it is asked for: to load it takes longer than criu needs to start. */
#include "pages/page_tls.h"

#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "options/options.h"

/* CRIU's. */
#define DEFAULT_CA   "/etc/pki/CA/cacert.pem"
#define DEFAULT_CRL  "/etc/pki/CA/cacrl.pem"
#define DEFAULT_CERT "/etc/pki/criu/cert.pem"
#define DEFAULT_KEY  "/etc/pki/criu/private/key.pem"

#define LIBRARY      "libgnutls.so.30"

#define FUNCTIONS(X)                                                                                                   \
	X(gnutls_certificate_allocate_credentials)                                                                     \
	X(gnutls_certificate_free_credentials)                                                                         \
	X(gnutls_certificate_set_x509_system_trust)                                                                    \
	X(gnutls_certificate_set_x509_trust_file)                                                                      \
	X(gnutls_certificate_set_x509_crl_file)                                                                        \
	X(gnutls_certificate_set_x509_key_file)                                                                        \
	X(gnutls_certificate_server_set_request)                                                                       \
	X(gnutls_certificate_verification_status_print)                                                                \
	X(gnutls_init)                                                                                                 \
	X(gnutls_deinit)                                                                                               \
	X(gnutls_set_default_priority)                                                                                 \
	X(gnutls_credentials_set)                                                                                      \
	X(gnutls_session_set_verify_cert)                                                                              \
	X(gnutls_session_get_verify_cert_status)                                                                       \
	X(gnutls_transport_set_push_function)                                                                          \
	X(gnutls_transport_set_pull_function)                                                                          \
	X(gnutls_transport_set_ptr)                                                                                    \
	X(gnutls_handshake)                                                                                            \
	X(gnutls_record_get_direction)                                                                                 \
	X(gnutls_record_recv)                                                                                          \
	X(gnutls_record_send)                                                                                          \
	X(gnutls_bye)                                                                                                  \
	X(gnutls_alert_get)                                                                                            \
	X(gnutls_alert_get_name)                                                                                       \
	X(gnutls_alert_send_appropriate)                                                                               \
	X(gnutls_error_is_fatal)                                                                                       \
	X(gnutls_strerror)

struct page_tls {
#define POINTER(name) __typeof__(name) *name;
	FUNCTIONS(POINTER)
#undef POINTER
	gnutls_certificate_credentials_t keys; /* NULL: none yet, as the next */
	gnutls_session_t session;
	int fd;
	bool broken; /* nothing can be sent any more */
};

/* ---- the library and the keys ---- */

static int load_library(struct page_tls *t)
{
	static const char *const names[] = {
#define NAME(name) #name,
		FUNCTIONS(NAME)
#undef NAME
	};
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL), **functions = (void **)t;

	if (!library)
		return log_errno(-ENOENT, "--tls: dlopen: %s: install gnutls", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		functions[i] = dlsym(library, names[i]);
		if (!functions[i])
			return log_errno(-ENOENT, "--tls: dlsym: %s", dlerror());
	}
	return 0;
}

static int key_error(const struct page_tls *t, int code, const char *option, const char *path)
{
	return log_errno(-EINVAL, "--%s: %s: %s", option, path, t->gnutls_strerror(code));
}

/* With --tls-cacert that one alone. */
static int load_trust(struct page_tls *t, const struct options *o)
{
	const char *ca = o->tls_cacert ?: DEFAULT_CA, *crl = o->tls_cacrl ?: DEFAULT_CRL;
	int n = o->tls_cacert ? 0 : t->gnutls_certificate_set_x509_system_trust(t->keys);

	if (n < 0)
		log_warn("--tls: the certificates that this system trusts: %s", t->gnutls_strerror(n));
	if (o->tls_cacert || !access(ca, F_OK)) {
		n = t->gnutls_certificate_set_x509_trust_file(t->keys, ca, GNUTLS_X509_FMT_PEM);
		if (n <= 0)
			return key_error(t, n ?: GNUTLS_E_NO_CERTIFICATE_FOUND, "tls-cacert", ca);
	}
	if (o->tls_cacrl || !access(crl, F_OK)) {
		n = t->gnutls_certificate_set_x509_crl_file(t->keys, crl, GNUTLS_X509_FMT_PEM);
		if (n <= 0)
			return key_error(t, n ?: GNUTLS_E_NO_CERTIFICATE_FOUND, "tls-cacrl", crl);
	}
	return 0;
}

static int load_keys(struct page_tls *t, const struct options *o)
{
	const char *cert = o->tls_cert ?: DEFAULT_CERT, *key = o->tls_key ?: DEFAULT_KEY;
	int code = t->gnutls_certificate_allocate_credentials(&t->keys), err;

	if (code < 0)
		return log_errno(-ENOMEM, "--tls: %s", t->gnutls_strerror(code));
	err = load_trust(t, o);
	if (err)
		return err;
	if (access(cert, R_OK))
		return log_errno(-errno, "--tls-cert: access to %s", cert);
	if (access(key, R_OK))
		return log_errno(-errno, "--tls-key: access to %s", key);
	code = t->gnutls_certificate_set_x509_key_file(t->keys, cert, key, GNUTLS_X509_FMT_PEM);
	return code < 0 ? key_error(t, code, "tls-cert, --tls-key", cert) : 0;
}

static int make_keys(const struct options *o, struct page_tls **tlsp)
{
	struct page_tls *t = calloc(1, sizeof(*t));
	int err;

	*tlsp = t;
	if (!t)
		return log_errno(-ENOMEM, "out of memory for --tls");
	t->fd = -1;
	err = load_library(t);
	return err ?: load_keys(t, o);
}

void page_tls_end(struct page_tls *t)
{
	if (!t)
		return;
	if (t->session && t->fd >= 0 && !t->broken)
		t->gnutls_bye(t->session, GNUTLS_SHUT_WR);
	if (t->session)
		t->gnutls_deinit(t->session);
	if (t->keys)
		t->gnutls_certificate_free_credentials(t->keys);
	free(t); /* the library stays: it is not made for being unloaded */
}

int page_tls_check(const struct options *o)
{
	struct page_tls *t;
	int err = make_keys(o, &t);

	page_tls_end(t);
	return err;
}

/* ---- the session ---- */

static ssize_t push(gnutls_transport_ptr_t arg, const void *buf, size_t len)
{
	struct page_tls *t = arg;
	ssize_t n = send(t->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* For the library it is not over: why the peer has gone may lie there to be read. */
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
		t->broken = true;
		errno = EAGAIN;
	}
	return n;
}

static ssize_t pull(gnutls_transport_ptr_t arg, void *buf, size_t len)
{
	return recv(((struct page_tls *)arg)->fd, buf, len, MSG_DONTWAIT);
}

/* The client looks at the server's name; the server wants a certificate that it trusts. */
static int set_up_session(struct page_tls *t, const struct options *o, bool server)
{
	const char *name = server || o->tls_no_cn_verify ? NULL : o->address ?: "localhost";
	int code = t->gnutls_init(&t->session, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK);

	if (!code)
		code = t->gnutls_set_default_priority(t->session);
	if (!code)
		code = t->gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->keys);
	if (code < 0)
		return log_errno(-ENOMEM, "--tls: %s", t->gnutls_strerror(code));
	if (server)
		t->gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	t->gnutls_session_set_verify_cert(t->session, name, 0);
	t->gnutls_transport_set_ptr(t->session, t);
	t->gnutls_transport_set_push_function(t->session, push);
	t->gnutls_transport_set_pull_function(t->session, pull);
	return 0;
}

/* What is wrong with the peer's certificate, or what it says is wrong with ours. */
static int name_error(struct page_tls *t, int code, const char *what)
{
	gnutls_datum_t text = { 0 };

	if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
	    !t->gnutls_certificate_verification_status_print(t->gnutls_session_get_verify_cert_status(t->session),
	                                                     GNUTLS_CRT_X509, &text, 0))
		log_errno(0, "--tls: the peer's certificate is refused: %s", (const char *)text.data);
	else if (code == GNUTLS_E_CERTIFICATE_REQUIRED || code == GNUTLS_E_NO_CERTIFICATE_FOUND)
		log_errno(0,
		          "--tls: the peer's certificate is refused: it has none of an authority that is trusted here "
		          "(--tls-cacert)");
	else if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
		log_errno(0, "--tls: the peer refuses: %s", t->gnutls_alert_get_name(t->gnutls_alert_get(t->session)));
	else
		log_errno(0, "--tls: %s: %s", what, t->gnutls_strerror(code));
	free(text.data); /* gnutls_free is free(3) */
	return -EPROTO;
}

static int wait_for_handshake(const struct page_tls *t, uint64_t until)
{
	struct pollfd p = { .fd = t->fd, .events = t->gnutls_record_get_direction(t->session) ? POLLOUT : POLLIN };
	uint64_t now = clock_now_us();

	if (now >= until)
		return log_errno(-ETIMEDOUT, "--tls: the peer does not finish the handshake (is it without --tls?)");
	return poll(&p, 1, (int)((until - now) / 1000 + 1)) < 0 && errno != EINTR ? log_errno(-errno, "poll") : 0;
}

static int shake_hands(struct page_tls *t, unsigned limit)
{
	uint64_t until = clock_now_us() + (uint64_t)limit * 1000;
	int code, err = 0;

	while (!err && (code = t->gnutls_handshake(t->session)) < 0) {
		if (t->broken) {
			err = log_errno(-EPIPE, "--tls: the peer has ended the connection in the handshake");
		} else if (t->gnutls_error_is_fatal(code)) {
			err = name_error(t, code, "the handshake fails (is the peer without --tls?)");
			t->gnutls_alert_send_appropriate(t->session, code);
		} else {
			err = wait_for_handshake(t, until);
		}
	}
	return err;
}

int page_tls_begin(const struct options *o, int fd, bool server, unsigned limit, struct page_tls **tlsp)
{
	struct page_tls *t;
	int err = make_keys(o, &t);

	if (!err)
		err = set_up_session(t, o, server);
	if (!err) {
		t->fd = fd;
		err = shake_hands(t, limit);
	}
	*tlsp = err ? NULL : t;
	if (!err)
		return 0;
	if (t)
		t->fd = -1;
	page_tls_end(t);
	return err;
}

/* ---- bytes ---- */

static ssize_t result_of(struct page_tls *t, ssize_t n, const char *what)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED || !t->gnutls_error_is_fatal((int)n))
		return -EAGAIN;
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	return n == GNUTLS_E_PULL_ERROR || n == GNUTLS_E_PUSH_ERROR ? -EPIPE : name_error(t, (int)n, what);
}

ssize_t page_tls_receive(struct page_tls *t, void *buf, size_t len)
{
	return result_of(t, t->gnutls_record_recv(t->session, buf, len), "receiving");
}

ssize_t page_tls_send(struct page_tls *t, const void *buf, size_t len)
{
	ssize_t n = result_of(t, t->gnutls_record_send(t->session, buf, len), "sending");
	char byte;

	if (!t->broken)
		return n;
	return page_tls_receive(t, &byte, 1) == -EPROTO ? -EPROTO : -EPIPE;
}
