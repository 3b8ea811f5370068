#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# DBD::Pg.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types :async);
use Time::HiRes ();

binmode STDOUT, ':encoding(UTF-8)';
$| = 1;
my $run = $ENV{RUN_ID};
my $show = "SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('TimeZone'), "
    . "current_setting('work_mem')";

sub db {
    my ($more, %attr) = @_;
    return DBI->connect('dbi:Pg:application_name=drv' . ($more // ''), $ENV{PGUSER}, '',
        { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1, %attr });
}

sub row { return join '|', map { defined $_ ? ref $_ ? row(@$_) : $_ : 'NULL' } @_ }
sub rows { return join ' ', map { row(@$_) } @{ $_[0] } }
sub distinct { my %seen = map { $_ => 1 } @_; return join ' / ', sort keys %seen }
sub one { my ($db, @q) = @_; return ($db->selectrow_array(shift @q, undef, @q))[0] }
sub code { my ($f) = @_; return eval { $f->(); 1 } ? 'no error' : $DBI::state }

sub until_true {
    my ($what) = @_;
    Time::HiRes::sleep(0.01) until $what->();
    return;
}

my @features = (
    connect => sub {
        my $db = db();
        return row($db->selectrow_array("SELECT current_user, current_database(), current_setting('application_name'), "
            . "current_setting('client_encoding')"), $db->ping, substr $db->{pg_server_version}, 0, 2);
    },
    options => sub {
        my $db = db(";options='-c work_mem=9MB -c statement_timeout=33s'");
        return distinct(map { row($db->selectrow_array($show)) } 1 .. 10);
    },
    crud => sub {
        my $db = db();
        $db->do("CREATE TABLE crud_$run (id serial PRIMARY KEY, a text)");
        my @seen = map { one($db, "INSERT INTO crud_$run (a) VALUES (?) RETURNING id", $_) } 'x', undef, 'Grüße 🐘';
        push @seen, $db->do("UPDATE crud_$run SET a = upper(a) WHERE id <> ?", undef, 2);
        push @seen, $db->do("DELETE FROM crud_$run WHERE a = ?", undef, 'X');
        push @seen, rows($db->selectall_arrayref("SELECT * FROM crud_$run ORDER BY id"));
        $db->do("DROP TABLE crud_$run");
        return row(@seen);
    },
    types => sub {
        my $db = db();
        my $st = $db->prepare('SELECT ?::int, ?::int8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::jsonb, ?::int[], '
            . '?::text, ?::bool');
        my @v = (42, '9007199254740993', '12345678901234567890.123456789', 'Grüße 🐘 日本', "\x00\xff\x10",
            '2024-02-29T12:34:56.789Z', '{"a": [1, null]}', [1, undef, 3], undef, 1);
        $st->bind_param($_ + 1, $v[$_], $_ == 4 ? { pg_type => PG_BYTEA } : undef) for 0 .. $#v;
        $st->execute;
        my @got = $st->fetchrow_array;
        $got[4] = unpack 'H*', $got[4];
        return row(@got);
    },
    transactions => sub {
        my ($db, $other) = (db(), db());
        $db->do("CREATE TABLE tx_$run (a int)");
        my @seen;
        for my $end ('commit', 'rollback') {
            $db->begin_work;
            $db->do("INSERT INTO tx_$run VALUES (1)");
            $db->pg_savepoint('s');
            push @seen, code(sub { $db->do('SELECT 1/0') }), code(sub { $db->do('SELECT 1') });
            $db->pg_rollback_to('s');
            $db->do("INSERT INTO tx_$run VALUES (2)");
            push @seen, one($other, "SELECT count(*) FROM tx_$run");
            $db->$end;
            push @seen, rows($other->selectall_arrayref("SELECT a FROM tx_$run ORDER BY a"));
        }
        $db->do("DROP TABLE tx_$run");
        return row(@seen);
    },
    prepared => sub {
        my ($db, $other) = (db(), db());
        my ($twice, $direct) = ($db->prepare('SELECT ?::int * 2'), $other->prepare('SELECT ?::int + 1', { pg_switch_prepared => 1 }));
        my $sum = 0;
        for my $i (0 .. 149) {
            $twice->execute($i);
            $direct->execute($i);
            $sum += $twice->fetchall_arrayref->[0][0] + $direct->fetchall_arrayref->[0][0];
        }
        undef $twice;       # deallocates it
        return $sum . ' ' . one($db, 'SELECT ?::int', 5);
    },
    batch => sub {
        my $db = db();
        $db->do("CREATE TABLE batch_$run (i int, a text)");
        my $st = $db->prepare("INSERT INTO batch_$run VALUES (?, ?)");
        my $n = $st->execute_array({}, [0 .. 199], [map { "v$_" } 0 .. 199]);
        my $sum = one($db, "SELECT sum(i) FROM batch_$run");
        $db->do("DROP TABLE batch_$run");
        return row($n, $sum);
    },
    copy => sub {
        my $db = db();
        $db->do("CREATE TABLE copy_$run (i int, a text)");
        $db->do("COPY copy_$run FROM STDIN");
        $db->pg_putcopydata("$_\tline $_\n") for 0 .. 4999;
        $db->pg_putcopyend;
        $db->do("COPY copy_$run TO STDOUT");
        my ($all, $line) = ('', '');
        $all .= $line while $db->pg_getcopydata($line) >= 0;
        my $bad = code(sub {
            $db->do("COPY copy_$run FROM STDIN");
            $db->pg_putcopydata("a\tb\n");
            $db->pg_putcopyend;
        });
        my $n = one($db, "SELECT count(*) FROM copy_$run");
        $db->do("DROP TABLE copy_$run");
        return row(length $all, $bad, $n);
    },
    cancel => sub {
        my ($db, $other) = (db(), db());
        my $sleep = "SELECT pg_sleep(20), '$run'";
        $db->do($sleep, { pg_async => PG_ASYNC });
        until_true(sub { one($other, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = ?", $sleep) });
        my @seen = ($db->pg_cancel ? 1 : 0, $DBI::state);
        $db->do("SET statement_timeout = '100ms'");
        push @seen, code(sub { $db->do($sleep) });
        $db->do('RESET statement_timeout');
        return row(@seen, one($db, 'SELECT 1'));
    },
    notify => sub {
        my ($listener, $db) = (db(), db());
        $listener->do("LISTEN ch_$run");
        my @seen;
        for my $i (0 .. 2) {
            $db->do('SELECT pg_notify(?, ?)', undef, "ch_$run", "n$i");
            my $n;
            until_true(sub { $n = $listener->pg_notifies });
            push @seen, $n->[2];
        }
        $listener->do('UNLISTEN *');
        $db->do("NOTIFY ch_$run");
        $listener->do('SELECT 1');
        return row(@seen, $listener->pg_notifies ? 'late' : 'no more');
    },
    errors => sub {
        my $db = db();
        my @seen;
        for my $q ('SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)') {
            push @seen, code(sub { $db->do($q) }), code(sub { $db->selectall_arrayref($q) }), one($db, 'SELECT ?::int', 1);
        }
        return row(@seen);
    },
    settings => sub {
        my @dbs = (db(), db(), db(undef, AutoCommit => 0));
        $dbs[0]->do("SET search_path = schema_$run; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'");
        one($dbs[1], "SELECT set_config('work_mem', ?, false)", '6MB');
        $dbs[1]->do("SET statement_timeout = '32s'");
        my @seen = ([], [], []);
        for (1 .. 15) {
            push @{ $seen[$_] }, row($dbs[$_]->selectrow_array($show)) for 0 .. 2;
            $dbs[2]->commit;
        }
        return join '; ', map { distinct(@$_) } @seen;
    },
    temp => sub {
        my ($db, $other) = (db(), db());
        $db->do("CREATE TEMP TABLE temp_$run (i int)");
        my @seen;
        for my $i (0 .. 9) {
            $db->do("INSERT INTO temp_$run VALUES (?)", undef, $i);
            push @seen, row(one($other, "SELECT to_regclass('temp_$run')"));
        }
        return one($db, "SELECT sum(i) FROM temp_$run") . ' other: ' . distinct(@seen);
    },
    locks => sub {
        my ($db, $other) = (db(), db());
        my $try = sub { one($other, 'SELECT pg_try_advisory_xact_lock(hashtext(?))', $run) };
        $db->do('SELECT pg_advisory_lock(hashtext(?))', undef, $run);
        my @seen = map { $try->() } 1 .. 5;
        return row(@seen, one($db, 'SELECT pg_advisory_unlock(hashtext(?))', $run), $try->());
    },
    catalog => sub {
        my $db = db();
        return rows($db->column_info(undef, 'public', 'kv', '%')->fetchall_arrayref([3, 5])) . ' '
            . row($db->primary_key(undef, 'public', 'kv'));
    },
);

print "driver\tDBD::Pg $DBD::Pg::VERSION\n";
while (my ($name, $f) = splice @features, 0, 2) {
    local $SIG{ALRM} = sub { die "nothing for 20 s\n" };
    alarm 20;
    my $got = eval { $f->() } // "raised $@";
    alarm 0;
    $got =~ s/$run/RUN/g;
    print "$name\t", join(' ', split ' ', $got), "\n";
}
