/* proxy/io/tls_bio.h - where OpenSSL's bytes come from and go to: functions of the
 * stream's, so that all that touches the kernel stays in kernel.c.
 *
 * Owner: struct tls holds the pipe, its SSL the BIO. Threads: the stream's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_TLS_BIO_H
#define PGWEIR_IO_TLS_BIO_H

#include <openssl/bio.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How bytes come and go: recv(2)'s and send(2)'s results and errno; send takes all or
 * fails. */
struct tls_io {
	ssize_t (*recv)(void *arg, void *p, size_t n);
	ssize_t (*send)(void *arg, const void *p, size_t n);
};

/* One recv for each time that `dry` was cleared, more only after a full one, and no more than
 * `turns`. */
struct tls_pipe {
	const struct tls_io *io;
	void *arg;
	int error;               /* errno of the last failure */
	bool dry;
	unsigned turns;
	bool bounded;            /* no more than `left` bytes may come */
	size_t left;
};

/* NULL: out of memory. Freed with BIO_meth_free, after the last BIO made from it. */
BIO_METHOD *tls_bio_method(void);
/* A BIO over p, which must outlive it. NULL: out of memory. */
BIO *tls_bio_new(BIO_METHOD *m, struct tls_pipe *p);

#endif
