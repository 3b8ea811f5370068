<?php
// SPDX-License-Identifier: ISC
// PHP: PDO, and the pgsql functions where PDO has none.
declare(strict_types=1);
$run = getenv('RUN_ID');
$show = "SELECT concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'), "
    . "current_setting('TimeZone'), current_setting('work_mem'))";

function db(string $more = '', array $attributes = []): PDO
{
    return new PDO('pgsql:host=' . getenv('PGHOST') . ';port=' . getenv('PGPORT') . ';dbname=' . getenv('PGDATABASE')
        . ';application_name=drv' . $more, getenv('PGUSER'), null,
        $attributes + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_NUM]);
}

function ask(PDO $db, string $sql, array $args = []): array
{
    $st = $db->prepare($sql);
    $st->execute($args);
    return $st->columnCount() ? $st->fetchAll() : [[$st->rowCount()]];
}

function one(PDO $db, string $sql, array $args = []): mixed
{
    return ask($db, $sql, $args)[0][0];
}

function canon(mixed $v): string
{
    return match (true) {
        $v === null => 'NULL', is_bool($v) => $v ? 'true' : 'false', is_resource($v) => bin2hex(stream_get_contents($v)),
        is_array($v) => implode('|', array_map('canon', $v)), default => (string) $v,
    };
}

function distinct(array $seen): string
{
    $seen = array_unique($seen);
    sort($seen);
    return implode(' / ', $seen);
}

function code(callable $f): string
{
    try {
        $f();
        return 'no error';
    } catch (PDOException $e) {
        return (string) $e->getCode();
    }
}

$features = [
    'connect' => fn () => canon(ask(db(), "SELECT current_user, current_database(), current_setting('application_name')")[0]),
    'options' => function () use ($show) {
        $db = db(";options='-c work_mem=9MB -c statement_timeout=33s'");
        return distinct(array_map(fn () => one($db, $show), range(1, 10)));
    },
    'crud' => function () use ($run) {
        $db = db();
        $db->exec("CREATE TABLE crud_$run (id serial PRIMARY KEY, a text)");
        $seen = [];
        foreach (['x', null, 'Grüße 🐘'] as $a) {
            $db->beginTransaction();
            ask($db, "INSERT INTO crud_$run (a) VALUES (:a)", ['a' => $a]);
            $seen[] = $db->lastInsertId();
            $db->commit();
        }
        $seen[] = one($db, "UPDATE crud_$run SET a = upper(a) WHERE id <> ?", [2]);
        $seen[] = $db->exec("DELETE FROM crud_$run WHERE a = 'X'");
        $seen[] = ask($db, "SELECT * FROM crud_$run ORDER BY id");
        $db->exec("DROP TABLE crud_$run");
        return canon($seen);
    },
    // lastInsertId() asks lastval(): outside a transaction that is another server's
    'lastval' => function () use ($run) {
        $db = db();
        $db->exec("CREATE TABLE lastval_$run (id serial, a int)");
        $seen = [];
        foreach (range(1, 5) as $a) {
            $db->exec("INSERT INTO lastval_$run (a) VALUES ($a)");
            $seen[] = code(function () use ($db, &$seen) { $seen[] = $db->lastInsertId(); });
        }
        $db->exec("DROP TABLE lastval_$run");
        return canon($seen);
    },
    'types' => function () {
        $st = db()->prepare('SELECT ?::int, ?::int8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::jsonb, ?::int[], ?::text, ?::bool');
        foreach ([42, 9007199254740993, '12345678901234567890.123456789', 'Grüße 🐘 日本', "\x00\xff\x10",
            '2024-02-29T12:34:56.789Z', '{"a": [1, null]}', '{1,NULL,3}', null, true] as $i => $v) {
            $st->bindValue($i + 1, $v, match (true) {
                is_int($v) => PDO::PARAM_INT, is_bool($v) => PDO::PARAM_BOOL, $v === null => PDO::PARAM_NULL,
                $i === 4 => PDO::PARAM_LOB, default => PDO::PARAM_STR,
            });
        }
        $st->execute();
        return canon($st->fetch());
    },
    'transactions' => function () use ($run) {
        [$db, $other] = [db(), db()];
        $db->exec("CREATE TABLE tx_$run (a int)");
        $seen = [];
        foreach (['commit', 'rollBack'] as $end) {
            $db->beginTransaction();
            $db->exec("INSERT INTO tx_$run VALUES (1)");
            $db->exec('SAVEPOINT s');
            $seen[] = code(fn () => $db->exec('SELECT 1/0'));
            $seen[] = code(fn () => one($db, 'SELECT 1'));
            $db->exec('ROLLBACK TO SAVEPOINT s');
            $db->exec("INSERT INTO tx_$run VALUES (2)");
            $seen[] = [$db->inTransaction(), one($other, "SELECT count(*) FROM tx_$run")];
            $db->$end();
            $seen[] = ask($other, "SELECT a FROM tx_$run ORDER BY a");
        }
        $db->exec("DROP TABLE tx_$run");
        return canon($seen);
    },
    // each prepare is one of its own on the server, closed by DEALLOCATE
    'prepared' => function () {
        [$db, $other] = [db(), db('', [PDO::ATTR_EMULATE_PREPARES => true])];
        $none = db('', [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]);
        $st = $db->prepare('SELECT ?::int * 2');
        $sum = 0;
        for ($i = 0; $i < 100; $i++) {
            $st->execute([$i]);
            $sum += $st->fetchColumn() + one($db, 'SELECT ?::int + ' . $i % 7, [$i]);
            $sum += one($other, 'SELECT ?::int', [$i]) + one($none, 'SELECT ?::int', [$i]);
        }
        return $sum;
    },
    'batch' => function () use ($run) {
        $db = db();
        $db->exec("CREATE TABLE batch_$run (i int); INSERT INTO batch_$run VALUES (1); INSERT INTO batch_$run VALUES (2)");
        $st = $db->prepare("INSERT INTO batch_$run VALUES (?)");
        $db->beginTransaction();
        foreach (range(1, 200) as $i) {
            $st->execute([$i]);
        }
        $db->commit();
        $got = ask($db, "SELECT count(*), sum(i) FROM batch_$run");
        $db->exec("DROP TABLE batch_$run");
        return canon($got);
    },
    'cursor' => function () {
        [$db, $other] = [db(), db()];
        $db->beginTransaction();
        $st = $db->prepare('SELECT generate_series(1, 20)', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
        $st->execute();
        $sum = 0;
        while (($r = $st->fetch()) !== false) {
            $sum += $r[0];
            one($other, 'SELECT 1');
        }
        $last = $st->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 7)[0];
        $st = null;
        $db->commit();
        return "$sum $last";
    },
    'copy' => function () use ($run) {
        $db = db();
        $db->exec("CREATE TABLE copy_$run (i int, a text)");
        $db->pgsqlCopyFromArray("copy_$run", array_map(fn ($i) => "$i\tline $i", range(0, 4999)));
        $size = strlen(implode('', $db->pgsqlCopyToArray("copy_$run")));
        $bad = code(fn () => $db->pgsqlCopyFromArray("copy_$run", ["a\tb"]));
        $n = one($db, "SELECT count(*) FROM copy_$run");
        $db->exec("DROP TABLE copy_$run");
        return "$size $bad $n";
    },
    'blob' => function () {
        $db = db();
        $db->beginTransaction();
        $oid = $db->pgsqlLOBCreate();
        $f = $db->pgsqlLOBOpen($oid, 'w');
        fwrite($f, str_repeat('large object ', 10000));
        fclose($f);
        $db->commit();
        $db->beginTransaction();
        $n = strlen(stream_get_contents($db->pgsqlLOBOpen($oid, 'r')));
        $db->pgsqlLOBUnlink($oid);
        $db->commit();
        return $n;
    },
    'cancel' => function () use ($run) {
        $c = pg_connect('application_name=drv', PGSQL_CONNECT_FORCE_NEW);
        $other = db();
        $sleep = "SELECT pg_sleep(20), '$run'";
        pg_send_query($c, $sleep);
        while (!one($other, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = ?", [$sleep])) {
            usleep(10000);
        }
        $done = pg_cancel_query($c);
        $db = db();
        $db->exec("SET statement_timeout = '100ms'");
        return canon([$done, pg_fetch_result(pg_query($c, 'SELECT 1'), 0), code(fn () => $db->exec($sleep)), one($db, 'SELECT 2')]);
    },
    'notify' => function () use ($run) {
        [$listener, $db] = [db(), db()];
        $listener->exec("LISTEN ch_$run");
        $seen = [];
        foreach (range(0, 2) as $i) {
            one($db, 'SELECT pg_notify(?, ?)', ["ch_$run", "n$i"]);
            $n = $listener->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
            $seen[] = $n ? $n['payload'] : 'nothing';
        }
        $listener->exec("UNLISTEN ch_$run");
        $db->exec("NOTIFY ch_$run");
        one($listener, 'SELECT 1');
        return canon([$seen, (bool) $listener->pgsqlGetNotify()]);
    },
    'errors' => function () {
        $db = db();
        $seen = [];
        foreach (['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)'] as $sql) {
            array_push($seen, code(fn () => $db->exec($sql)), code(fn () => ask($db, $sql)), one($db, 'SELECT ?::int', [1]));
        }
        return canon($seen);
    },
    'settings' => function () use ($run, $show) {
        $dbs = [db(), db(), db()];
        $dbs[0]->exec("SET search_path = schema_$run; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'");
        one($dbs[1], "SELECT set_config('work_mem', ?, false)", ['6MB']);
        $dbs[1]->exec("SET statement_timeout = '32s'");
        $seen = [[], [], []];
        foreach (range(1, 15) as $_) {
            foreach ($dbs as $i => $db) {
                $seen[$i][] = one($db, $show);
            }
        }
        return implode('; ', array_map('distinct', $seen));
    },
    'temp' => function () use ($run) {
        [$db, $other] = [db(), db()];
        $db->exec("CREATE TEMP TABLE temp_$run (i int)");
        $seen = [];
        foreach (range(0, 9) as $i) {
            ask($db, "INSERT INTO temp_$run VALUES (?)", [$i]);
            $seen[] = canon(one($other, "SELECT to_regclass('temp_$run')"));
        }
        return one($db, "SELECT sum(i) FROM temp_$run") . ' other: ' . distinct($seen);
    },
    'locks' => function () use ($run) {
        [$db, $other] = [db(), db()];
        $try = fn () => one($other, 'SELECT pg_try_advisory_xact_lock(hashtext(?))', [$run]);
        one($db, 'SELECT pg_advisory_lock(hashtext(?))', [$run]);
        $seen = array_map($try, range(1, 5));
        return canon([$seen, one($db, 'SELECT pg_advisory_unlock(hashtext(?))', [$run]), $try()]);
    },
    // connections that live on in the process, as in a web server
    'pool' => function () {
        $sum = 0;
        foreach (range(1, 30) as $i) {
            $db = db('', [PDO::ATTR_PERSISTENT => true]);
            $sum += one($db, 'SELECT ?::int', [$i]);
            $db = null;
        }
        return $sum;
    },
];

echo "driver\tPHP PDO ", explode('-', phpversion('pdo_pgsql'))[0], "\n";
foreach ($features as $name => $f) {
    try {
        $got = $f();
    } catch (Throwable $e) {
        $got = 'raised ' . $e->getMessage();
    }
    echo "$name\t", trim(preg_replace('/\s+/', ' ', str_replace($run, 'RUN', (string) $got))), "\n";
}
