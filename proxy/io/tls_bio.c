/* proxy/io/tls_bio.c - see tls_bio.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/tls_bio.h"

#include <errno.h>

static int bio_read(BIO *b, char *p, int n)
{
	struct tls_pipe *t = BIO_get_data(b);
	ssize_t got;

	BIO_clear_retry_flags(b);
	if (n <= 0)
		return 0;
	if (t->dry) {
		BIO_set_retry_read(b);
		return -1;
	}
	got = t->io->recv(t->arg, p, (size_t)n);
	t->dry = got < n || t->turns <= 1;
	t->turns--;
	if (got > 0 && t->bounded) {
		if ((size_t)got > t->left) {
			t->error = EMSGSIZE;
			return -1;
		}
		t->left -= (size_t)got;
	}
	if (got > 0)
		return (int)got;
	if (got == 0)
		BIO_set_flags(b, BIO_FLAGS_IN_EOF);
	else if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_read(b);
	else
		t->error = errno;
	return (int)got;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct tls_pipe *t = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (n <= 0)
		return 0;
	if (t->io->send(t->arg, p, (size_t)n) < 0) {
		t->error = errno;
		return -1;
	}
	return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *p)
{
	(void)num;
	(void)p;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgweir stream");

	if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

BIO *tls_bio_new(BIO_METHOD *m, struct tls_pipe *p)
{
	BIO *b = BIO_new(m);

	if (!b)
		return NULL;
	BIO_set_data(b, p);
	BIO_set_init(b, 1);
	return b;
}
