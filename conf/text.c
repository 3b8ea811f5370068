/* conf/text.c - see text.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


/* No configuration is this large; a mistaken path to something else may be. */
#define SLURP_MAX ((size_t)1 << 30)

/* realloc() would leave the old copy, secrets included, in the heap. */
static int text_reserve(struct text_buf *b, size_t cap)
{
	char *data;

	if (cap <= b->cap)
		return 0;
	data = malloc(cap);
	if (!data)
		return -1;
	if (b->data) {
		memcpy(data, b->data, b->len + 1);
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	data[b->len] = '\0';
	b->data = data;
	b->cap = cap;
	return 0;
}

int text_add(struct text_buf *b, const void *bytes, size_t n)
{
	size_t want;

	if (n >= SIZE_MAX / 4 - b->len)
		return -1;
	want = b->len + n + 1;
	if (want > b->cap && text_reserve(b, want < 32 ? 64 : want * 2) < 0)
		return -1;
	if (n > 0)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

void text_clear(struct text_buf *b)
{
	if (b->data) {
		explicit_bzero(b->data, b->len);
		b->data[0] = '\0';
	}
	b->len = 0;
}

void text_free(struct text_buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	free(b->data);
	b->data = NULL;
	b->len = 0;
	b->cap = 0;
}

void text_wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void *text_grow(void *array, size_t *cap, size_t n, size_t element)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *fresh;

	if (n < *cap)
		return array;
	if (want > SIZE_MAX / 4 / element)
		return NULL;
	fresh = calloc(want, element);
	if (!fresh)
		return NULL;
	if (array) {
		memcpy(fresh, array, n * element);
		explicit_bzero(array, *cap * element);
		free(array);
	}
	*cap = want;
	return fresh;
}

static int slurp_size(const char *path, size_t max, struct err *e)
{
	static const char *const unit[] = {"bytes", "kB", "MB", "GB"};
	int i;

	for (i = 0; i < 3 && max % 1024 == 0; i++)
		max /= 1024;
	return err_set(e, "cannot read \"%s\": it is larger than %zu %s", path, max, unit[i]);
}

static int slurp_fd(int fd, const char *path, const struct text_rule *rule, struct text_buf *out,
		    struct err *e)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return err_set(e, "cannot read \"%s\": %s", path, strerror(errno));
	/* A pipe or terminal would block the control thread. */
	if (!S_ISREG(st.st_mode) && rule->is_optional)
		return 0;
	if (!S_ISREG(st.st_mode))
		return err_set(e, "cannot read \"%s\": it is not a regular file", path);
	if (rule->is_private && (st.st_mode & (S_IRWXG | S_IRWXO)))
		return err_set(e, "\"%s\" is open to its group or to everybody: chmod 0600 it", path);
	if ((uint64_t)st.st_size > rule->max)
		return slurp_size(path, rule->max, e);
	if (text_reserve(out, (size_t)st.st_size + 4096) < 0)
		return err_set(e, "cannot read \"%s\": out of memory", path);
	/* The file may grow while it is read: the size is a hint, not a bound. */
	for (;;) {
		if (out->cap - out->len < 2 && text_reserve(out, out->cap * 2) < 0)
			return err_set(e, "cannot read \"%s\": out of memory", path);
		n = read(fd, out->data + out->len, out->cap - out->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, "cannot read \"%s\": %s", path, strerror(errno));
		if (n == 0)
			return 0;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len > rule->max)
			return slurp_size(path, rule->max, e);
	}
}

int text_slurp_as(const char *path, const struct text_rule *rule, struct text_buf *out,
		  struct err *e)
{
	int fd, ret;

	text_free(out);
	/* O_NONBLOCK: opening a FIFO without a writer must not hang. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && rule->is_optional)
		return 0;
	if (fd < 0)
		return err_set(e, "cannot read \"%s\": %s", path, strerror(errno));
	ret = slurp_fd(fd, path, rule, out, e);
	close(fd);
	if (ret < 0)
		text_free(out);
	return ret;
}

int text_slurp(const char *path, struct text_buf *out, struct err *e)
{
	const struct text_rule any = {.max = SLURP_MAX};

	return text_slurp_as(path, &any, out, e);
}

bool text_is_public(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH);
}
