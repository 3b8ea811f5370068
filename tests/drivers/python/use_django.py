"""The ORM of Django.

SPDX-License-Identifier: ISC
"""
import os

import django
from django.conf import settings as conf
from django.db import connection, connections, models, transaction
from django.db.utils import DataError, Error

import features
from features import RUN, VALUES, distinct, row, rows


def database(**options):
    return {'ENGINE': 'django.db.backends.postgresql', 'HOST': os.environ['PGHOST'], 'PORT': os.environ['PGPORT'],
            'USER': os.environ['PGUSER'], 'NAME': os.environ['PGDATABASE'], 'CONN_MAX_AGE': 600,
            'OPTIONS': {'application_name': 'drv', **options}}


conf.configure(USE_TZ=True, TIME_ZONE='UTC', INSTALLED_APPS=[], DEFAULT_AUTO_FIELD='django.db.models.AutoField',
               DATABASES={'default': database(),
                          'other': {**database(options='-c search_path=schema_%s,public' % RUN),
                                    'TIME_ZONE': 'Asia/Tokyo'}})
django.setup()


class Author(models.Model):
    name = models.TextField(null=True, unique=True)

    class Meta:
        app_label, db_table = 'drv', 'author_' + RUN


class Book(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name='books')
    title = models.TextField()
    pages = models.IntegerField(null=True)
    price = models.DecimalField(max_digits=40, decimal_places=10, null=True)
    raw = models.BinaryField(null=True)
    at = models.DateTimeField(null=True)
    doc = models.JSONField(null=True)

    class Meta:
        app_label, db_table = 'drv', 'book_' + RUN


def sql(text, using=connection):
    with using.cursor() as k:
        k.execute(text)
        return k.fetchall() if k.description else k.rowcount


def f_connect():
    return row(sql("SELECT current_user, current_setting('application_name'), current_setting('TimeZone')")[0])


def f_crud():
    with connection.schema_editor() as e:
        e.create_model(Author)
        e.create_model(Book)
    ada = Author.objects.create(name='Ada')
    Author.objects.create(name=None)
    ada.books.create(title='One', pages=10)
    ada.books.create(title='Zwö 🐘')
    seen = [rows(Book.objects.order_by('id').values_list('title', 'pages', 'author__name'))]
    seen.append(Book.objects.filter(pages__gt=5).update(pages=models.F('pages') + 1))
    seen.append(Book.objects.get(title='One').pages)
    seen.append(Author.objects.get_or_create(name='Ada')[1])
    seen.append(ada.books.all().delete()[0])
    seen.append(ada.delete()[0])
    seen.append(Book.objects.count())
    return row(seen)


def f_types():
    a = Author.objects.create(name='typed')
    b = Book.objects.create(author=a, title=VALUES[3], price=VALUES[2], raw=VALUES[4], at=VALUES[5], doc=VALUES[6])
    b.refresh_from_db()
    return row((b.title, b.price, b.raw, b.at, b.doc, b.pages))


def f_transactions():
    seen = []
    with transaction.atomic():
        Author.objects.create(name='kept')
        try:
            with transaction.atomic():
                Author.objects.create(name='typed')
        except Error as e:
            seen.append(e.__cause__.pgcode)
        transaction.on_commit(lambda: seen.append('committed'))
        Author.objects.select_for_update().get(name='kept')
    try:
        with transaction.atomic():
            Author.objects.create(name='lost')
            raise ValueError
    except ValueError:
        pass
    seen.append(rows(Author.objects.order_by('name').values_list('name')))
    return row(seen)


def f_batch():
    a = Author.objects.get(name='kept')
    Book.objects.bulk_create([Book(author=a, title='t%d' % i, pages=i) for i in range(500)], batch_size=100)
    return row(Book.objects.filter(author=a).aggregate(n=models.Count('id'), s=models.Sum('pages')).values())


def f_cursor():
    """A server-side cursor: WITH HOLD outside a transaction."""
    n = 0
    for b in Book.objects.filter(pages__isnull=False).order_by('pages').iterator(chunk_size=50):
        n += b.pages
    with transaction.atomic():
        for b in Book.objects.filter(pages__isnull=False).iterator(chunk_size=50):
            n += b.pages
    return n


def f_errors():
    seen = []
    for t in 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)':
        try:
            sql(t)
        except (Error, DataError) as e:
            seen.append('%s %s' % (type(e).__name__, e.__cause__.pgcode))
        seen.append(sql('SELECT 1')[0][0])
    return row(seen)


def f_cancel():
    seen = []
    try:
        with transaction.atomic():
            sql("SET LOCAL statement_timeout = '100ms'")
            sql('SELECT pg_sleep(20)')
    except Error as e:
        seen.append(e.__cause__.pgcode)
    seen.append(sql('SELECT 1')[0][0])
    return row(seen)


def f_settings():
    """Two databases, which are the same server with other settings."""
    show = "SELECT current_setting('search_path'), current_setting('TimeZone'), current_setting('statement_timeout')"
    sql("SET statement_timeout = '31s'")
    got = [row(sql(show, connections[n])[0]) for n in ('default', 'other') * 10]
    sql('RESET statement_timeout')
    return '%s; other: %s' % (distinct(got[::2]), distinct(got[1::2]))


def f_pool():
    """Connections that are kept between requests."""
    total = 0
    for i in range(30):
        connection.close_if_unusable_or_obsolete()
        total += sql('SELECT %d' % i)[0][0]
    with connection.schema_editor() as e:
        e.delete_model(Book)
        e.delete_model(Author)
    connections.close_all()
    return total


if __name__ == '__main__':
    features.main('Django ' + django.get_version(), globals())
