/* proxy/session/door.c - see door.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/door.h"

#include <stdlib.h>
#include <string.h>

int door_init(struct door *d)
{
	memset(d, 0, sizeof(*d));
	list_init(&d->list);
	return pthread_mutex_init(&d->lock, NULL) ? -1 : 0;
}

void door_free(struct door *d)
{
	pthread_mutex_destroy(&d->lock);
}

struct knock *door_enter(struct door *d, struct hall *h, int fd, const struct listen_from *from,
			 bool spoken)
{
	struct knock *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->h = h;
	k->fd = fd;
	k->spoken = spoken;
	k->from = *from;
	pthread_mutex_lock(&d->lock);
	list_push_back(&d->list, &k->link);
	d->n++;
	d->all++;
	pthread_mutex_unlock(&d->lock);
	return k;
}

void door_leave(struct door *d, struct knock *k)
{
	bool told;

	pthread_mutex_lock(&d->lock);
	told = k->told;
	if (!told) {
		list_del(&k->link);
		d->n--;
	}
	d->all--;
	pthread_mutex_unlock(&d->lock);
	k->c = NULL;
	if (!told)
		free(k);
}

struct knock *door_oldest(struct door *d, unsigned max)
{
	struct knock *k = NULL;

	pthread_mutex_lock(&d->lock);
	if (d->n > max) {
		k = LIST_ITEM(d->list.next, struct knock, link);
		list_del(&k->link);
		k->told = true;
		d->n--;
	}
	pthread_mutex_unlock(&d->lock);
	return k;
}

void door_told(struct knock *k)
{
	free(k);
}

unsigned door_n(struct door *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->n;
	pthread_mutex_unlock(&d->lock);
	return n;
}

unsigned door_all(struct door *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->all;
	pthread_mutex_unlock(&d->lock);
	return n;
}
