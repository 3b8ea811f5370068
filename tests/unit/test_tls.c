/* tests/unit/test_tls.c - TLS on a stream, against a peer that is OpenSSL in the hands of
 * the test: what is left inside the library, ends behind bytes, new keys without end, and
 * streams that go to another worker.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io/stream.h"
#include "proxy/io/worker.h"

static const struct log quiet = {.fd = -1};
static char cert_file[] = "/tmp/test_tls.crt.XXXXXX", key_file[] = "/tmp/test_tls.key.XXXXXX";

/* ---- a certificate ---- */

static FILE *new_file(char *name)
{
	int fd = mkstemp(name);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	assert_non_null(f);
	return f;
}

static int make_files(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f;

	(void)state;
	assert_true(key && x && X509_set_version(x, 2) && X509_set_pubkey(x, key));
	assert_true(ASN1_INTEGER_set(X509_get_serialNumber(x), 1));
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
	assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
					       (const unsigned char *)"localhost", -1, -1, 0));
	assert_true(X509_set_issuer_name(x, X509_get_subject_name(x)));
	assert_true(X509_sign(x, key, EVP_sha256()));
	f = new_file(cert_file);
	assert_true(PEM_write_X509(f, x));
	fclose(f);
	f = new_file(key_file);
	assert_true(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
	return 0;
}

static int drop_files(void **state)
{
	(void)state;
	unlink(cert_file);
	unlink(key_file);
	return 0;
}

/* ---- a stream and its peer ---- */

struct end {
	struct stream s;
	size_t got;
	unsigned readables, secured;
	int error;
	enum io last;
	/* what the next calls of readable() do */
	enum { TAKE, FILL_ONLY, STOP } how;
};

static void on_readable(struct stream *s)
{
	struct end *e = (struct end *)(void *)s;

	e->readables++;
	if (e->how == STOP) {
		stream_want(s, false);
		return;
	}
	e->last = stream_fill(s, 0);
	if (e->how == FILL_ONLY) {
		e->how = STOP;
		return;
	}
	e->got += stream_have(s);
	stream_consume(s, stream_have(s));
	if (e->last == IO_EOF || e->last == IO_FAIL)
		stream_close(s);
}

static void on_drained(struct stream *s)
{
	(void)s;
}

static void on_secured(struct stream *s, int error)
{
	struct end *e = (struct end *)(void *)s;

	e->secured++;
	e->error = error;
}

static const struct stream_ops ops = {on_readable, on_drained, NULL, on_secured};

struct pair {
	struct worker w;
	struct end e;
	struct tls_ctx *ctx;
	SSL_CTX *peer_ctx;
	SSL *peer;
	int fd;
};

static void spin(struct worker *w)
{
	unsigned i;

	for (i = 0; i < 6; i++) {
		event_base_loop(w->base, EVLOOP_NONBLOCK);
		worker_turn(w);
	}
}

static void open_worker(struct worker *w)
{
	struct err e;

	if (worker_init(w, 0, &quiet, NULL, NULL, &e))
		fail_msg("%s", e.text);
}

/* accepts: the stream is the one that accepts. */
static void open_tls(struct pair *p, bool accepts, int sndbuf)
{
	const struct tls_settings set = {.server = accepts,
					 .cert = accepts ? cert_file : NULL,
					 .key = accepts ? key_file : NULL};
	const struct tls_peer to = {.host = "localhost", .sni = true, .session = "one",
				    .cache = &p->w.tls_sessions};
	struct err e;
	int fd[2], i;

	memset(p, 0, sizeof(*p));
	open_worker(&p->w);
	p->ctx = tls_ctx_new(&set, &e);
	if (!p->ctx)
		fail_msg("%s", e.text);
	p->peer_ctx = SSL_CTX_new(accepts ? TLS_client_method() : TLS_server_method());
	assert_non_null(p->peer_ctx);
	if (!accepts) {
		assert_int_equal(SSL_CTX_use_certificate_file(p->peer_ctx, cert_file, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(p->peer_ctx, key_file, SSL_FILETYPE_PEM), 1);
		SSL_CTX_set_num_tickets(p->peer_ctx, 0);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	p->fd = fd[1];
	if (sndbuf)
		assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
	p->peer = SSL_new(p->peer_ctx);
	assert_non_null(p->peer);
	SSL_set_fd(p->peer, p->fd);
	if (accepts)
		SSL_set_connect_state(p->peer);
	else
		SSL_set_accept_state(p->peer);
	stream_open(&p->e.s, &p->w, fd[0], &ops);
	assert_int_equal(stream_tls(&p->e.s, p->ctx, accepts ? NULL : &to), 0);
	for (i = 0; i < 50 && !(p->e.secured && SSL_is_init_finished(p->peer)); i++) {
		(void)SSL_do_handshake(p->peer);
		spin(&p->w);
	}
	assert_int_equal(p->e.secured, 1);
	assert_int_equal(p->e.error, 0);
	p->e.readables = 0;
}

static void close_tls(struct pair *p)
{
	stream_close(&p->e.s);
	assert_int_equal(p->w.buf_bytes, 0);
	worker_free(&p->w);
	tls_ctx_drop(p->ctx);
	SSL_free(p->peer);
	SSL_CTX_free(p->peer_ctx);
	close(p->fd);
}

static uint8_t zeros[SSL3_RT_MAX_PLAIN_LENGTH];

/* ---- tests ---- */

/* The last of a record does not fit the buffer, and stays inside: no loop tells of it. The
 * owner stops reading in the turn that it is told in, and begins again later. */
static void test_what_is_left_inside(void **state)
{
	struct pair p;

	(void)state;
	open_tls(&p, true, 0);
	p.e.how = FILL_ONLY;
	assert_int_equal(SSL_write(p.peer, zeros, sizeof(zeros)), sizeof(zeros));
	spin(&p.w);
	assert_int_equal(p.e.how, STOP);
	assert_int_equal(p.e.readables, 2);
	assert_false(p.e.s.wants);
	p.e.how = TAKE;
	p.e.got = stream_have(&p.e.s);
	assert_true(p.e.got < sizeof(zeros));
	stream_consume(&p.e.s, p.e.got);
	stream_want(&p.e.s, true);
	spin(&p.w);
	assert_int_equal(p.e.got, sizeof(zeros));
	close_tls(&p);
}

/* ... and it is told once in a turn, not for ever. */
static void test_nothing_left_is_quiet(void **state)
{
	struct pair p;

	(void)state;
	open_tls(&p, true, 0);
	assert_int_equal(SSL_write(p.peer, zeros, sizeof(zeros)), sizeof(zeros));
	spin(&p.w);
	assert_int_equal(p.e.got, sizeof(zeros));
	p.e.readables = 0;
	stream_want(&p.e.s, true);
	spin(&p.w);
	assert_int_equal(p.e.readables, 0);
	assert_true(stream_quiet(&p.e.s));
	close_tls(&p);
}

/* The other end says its last word and goodbye in one piece, and waits. */
static void test_goodbye_behind_bytes(void **state)
{
	struct pair p;

	(void)state;
	open_tls(&p, true, 0);
	assert_int_equal(SSL_write(p.peer, "bye", 3), 3);
	assert_int_equal(SSL_shutdown(p.peer), 0);
	spin(&p.w);
	assert_int_equal(p.e.got, 3);
	assert_int_equal(p.e.last, IO_EOF);
	assert_int_equal(p.e.s.fd, -1);
	close_tls(&p);
}

static void test_nonsense_behind_bytes(void **state)
{
	static const char junk[] = "\x17\x03\x03\x00\x20 thirty-two bytes that are nothing";
	struct pair p;

	(void)state;
	open_tls(&p, true, 0);
	p.e.how = FILL_ONLY;
	assert_int_equal(SSL_write(p.peer, "good", 4), 4);
	assert_int_equal(write(p.fd, junk, 37), 37);
	spin(&p.w);
	/* stopped in the turn that was to tell of it */
	assert_int_equal(stream_have(&p.e.s), 4);
	assert_false(stream_quiet(&p.e.s));
	p.e.how = TAKE;
	stream_want(&p.e.s, true);
	/* a write says what went wrong, and not "Success" */
	assert_int_equal(stream_send(&p.e.s, "x", 1), IO_FAIL);
	assert_int_equal(p.e.s.error, EPROTO);
	assert_non_null(strstr(stream_why(&p.e.s), "bad record mac"));
	spin(&p.w);
	assert_int_equal(p.e.last, IO_FAIL);
	close_tls(&p);
}

/* Each asks for an answer. */
static bool new_keys(struct pair *p, unsigned n, bool read)
{
	char c;

	while (n--) {
		if (SSL_key_update(p->peer, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(p->peer) != 1)
			return false;
		if (n % 20 == 0)
			spin(&p->w);
		if (read)
			(void)SSL_read(p->peer, &c, 1);
	}
	return true;
}

static void test_new_keys_that_are_read(void **state)
{
	struct pair p;
	unsigned i;
	char c;

	(void)state;
	open_tls(&p, true, 4608);
	assert_true(new_keys(&p, 3000, true));
	for (i = 0; i < 1000 && p.e.s.out_len; i++) {
		(void)SSL_read(p.peer, &c, 1);
		spin(&p.w);
	}
	assert_int_equal(p.e.s.out_len, 0);
	assert_int_equal(stream_send(&p.e.s, "x", 1), IO_OK);
	assert_int_equal(SSL_read(p.peer, &c, 1), 1);
	assert_int_equal(SSL_write(p.peer, "y", 1), 1);
	spin(&p.w);
	assert_int_equal(p.e.got, 1);
	close_tls(&p);
}

/* They come faster than they are looked at, and others want to be served. */
static void test_new_keys_take_turns(void **state)
{
	BIO *own, *mem = BIO_new(BIO_s_mem());
	struct pair p;
	unsigned i;
	int size = 1 << 20;
	char *all;
	long n;

	(void)state;
	open_tls(&p, true, 0);
	assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	own = SSL_get_wbio(p.peer);
	assert_non_null(mem);
	assert_true(BIO_up_ref(own));
	SSL_set0_wbio(p.peer, mem);
	for (i = 0; i < 4000; i++)
		assert_true(SSL_key_update(p.peer, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
			    SSL_do_handshake(p.peer) == 1);
	assert_int_equal(SSL_write(p.peer, "y", 1), 1);
	n = BIO_get_mem_data(mem, &all);
	assert_true(n > 80000 && n <= size);
	assert_int_equal(write(p.fd, all, (size_t)n), n);
	SSL_set0_wbio(p.peer, own);
	spin(&p.w);
	/* one buffer of TLS for each time that it is asked to read */
	assert_in_range(p.e.readables, (uintmax_t)n / 16800, (uintmax_t)n / 1024);
	assert_int_equal(p.e.got, 1);
	close_tls(&p);
}

static void test_new_keys_that_are_not_read(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	open_tls(&p, true, 4608);
	for (i = 0; i < 300 && p.e.s.fd >= 0; i++) {
		if (!new_keys(&p, 20, false))
			break;
		spin(&p.w);
		assert_true(p.e.s.out_len < 20000);
		assert_true(!p.e.s.out_len || p.e.s.wr); /* what waits goes when it can */
	}
	assert_int_equal(p.e.last, IO_FAIL);
	assert_int_equal(p.e.s.error, ENOBUFS);
	close_tls(&p);
}

/* What a server sends to be resumed by is kept where the stream is now. */
static void test_ticket_after_a_move(void **state)
{
	struct pair p;
	struct worker other;
	char c;

	(void)state;
	open_tls(&p, false, 0);
	open_worker(&other);
	assert_int_equal(p.w.tls_sessions.n, 0);
	stream_detach(&p.e.s);
	stream_attach(&p.e.s, &other);
	assert_int_equal(SSL_new_session_ticket(p.peer), 1);
	assert_int_equal(SSL_write(p.peer, "x", 1), 1);
	spin(&other);
	assert_int_equal(p.e.got, 1);
	assert_int_equal(p.w.tls_sessions.n, 0);
	assert_int_equal(other.tls_sessions.n, 1);
	assert_int_equal(stream_send(&p.e.s, "y", 1), IO_OK);
	assert_int_equal(SSL_read(p.peer, &c, 1), 1);
	stream_close(&p.e.s);
	worker_free(&other);
	close_tls(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_left_inside),
		cmocka_unit_test(test_nothing_left_is_quiet),
		cmocka_unit_test(test_goodbye_behind_bytes),
		cmocka_unit_test(test_nonsense_behind_bytes),
		cmocka_unit_test(test_new_keys_that_are_read),
		cmocka_unit_test(test_new_keys_take_turns),
		cmocka_unit_test(test_new_keys_that_are_not_read),
		cmocka_unit_test(test_ticket_after_a_move),
	};

	return cmocka_run_group_tests(tests, make_files, drop_files);
}
