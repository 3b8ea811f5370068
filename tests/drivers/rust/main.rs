// SPDX-License-Identifier: ISC
//! tokio-postgres: every query is a named statement, and queries of one
//! connection are pipelined.

use bytes::Bytes;
use futures_util::{future, pin_mut, SinkExt, StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::env::var;
use std::time::Duration;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, IsolationLevel, NoTls};

type Seen = Result<String, Error>;

const SHOW: &str = "SELECT concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'), \
    current_setting('TimeZone'), current_setting('work_mem'))";

fn run() -> String {
    var("RUN_ID").unwrap()
}

async fn connect_with(options: &str) -> Result<(Client, UnboundedReceiver<String>), Error> {
    let mut config = Config::new();
    config.host(&var("PGHOST").unwrap()).port(var("PGPORT").unwrap().parse().unwrap());
    config.user(&var("PGUSER").unwrap()).dbname(&var("PGDATABASE").unwrap());
    let (client, mut connection) = config.application_name("drv").options(options).connect(NoTls).await?;
    let (tx, rx) = unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(m)) = messages.next().await {
            if let AsyncMessage::Notification(n) = m {
                let _ = tx.send(n.payload().to_string());
            }
        }
    });
    Ok((client, rx))
}

async fn connect() -> Result<Client, Error> {
    Ok(connect_with("").await?.0)
}

async fn number(c: &Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<i64, Error> {
    Ok(c.query_one(sql, args).await?.get(0))
}

async fn text(c: &Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Seen {
    Ok(c.query_one(sql, args).await?.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".into()))
}

fn code<T>(r: Result<T, Error>) -> String {
    match r {
        Ok(_) => "no error".into(),
        Err(e) => e.code().map_or_else(|| e.to_string(), |c| c.code().into()),
    }
}

fn join(seen: BTreeSet<String>) -> String {
    seen.into_iter().collect::<Vec<_>>().join(" / ")
}

async fn f_connect() -> Seen {
    let c = connect().await?;
    text(&c, "SELECT concat_ws('|', current_user, current_database(), current_setting('application_name'))", &[]).await
}

async fn f_options() -> Seen {
    let (c, _) = connect_with("-c work_mem=9MB -c statement_timeout=33s").await?;
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        seen.insert(text(&c, SHOW, &[]).await?);
    }
    Ok(join(seen))
}

async fn f_crud() -> Seen {
    let (c, t) = (connect().await?, format!("crud_{}", run()));
    c.batch_execute(&format!("CREATE TABLE {t} (id serial PRIMARY KEY, a text)")).await?;
    let mut out = String::new();
    for a in [Some("x"), None, Some("Grüße 🐘")] {
        let id: i32 = c.query_one(&format!("INSERT INTO {t} (a) VALUES ($1) RETURNING id"), &[&a]).await?.get(0);
        out += &format!("{id} ");
    }
    out += &format!("{} ", c.execute(&format!("UPDATE {t} SET a = upper(a) WHERE id <> $1"), &[&2]).await?);
    out += &format!("{} ", c.execute(&format!("DELETE FROM {t} WHERE a = 'X'"), &[]).await?);
    for r in c.query(&format!("SELECT * FROM {t} ORDER BY id"), &[]).await? {
        out += &format!("{}:{:?} ", r.get::<_, i32>(0), r.get::<_, Option<String>>(1));
    }
    c.batch_execute(&format!("DROP TABLE {t}")).await?;
    Ok(out)
}

async fn f_types() -> Seen {
    let c = connect().await?;
    let r = c
        .query_one(
            "SELECT $1::int, $2::int8, $3::text, $4::bytea, $5::int[], $6::text, $7::bool, $8::float8",
            &[&42i32, &9007199254740993i64, &"Grüße 🐘 日本", &&[0u8, 255, 16][..], &vec![Some(1i32), None, Some(3)],
                &None::<&str>, &true, &1.5f64],
        )
        .await?;
    Ok(format!(
        "{} {} {} {:?} {:?} {:?} {} {}",
        r.get::<_, i32>(0), r.get::<_, i64>(1), r.get::<_, String>(2), r.get::<_, Vec<u8>>(3),
        r.get::<_, Vec<Option<i32>>>(4), r.get::<_, Option<String>>(5), r.get::<_, bool>(6), r.get::<_, f64>(7)
    ))
}

async fn f_transactions() -> Seen {
    let (mut c, d, t) = (connect().await?, connect().await?, format!("tx_{}", run()));
    c.batch_execute(&format!("CREATE TABLE {t} (a int)")).await?;
    let mut out = String::new();
    for keep in [true, false] {
        let mut tx = c.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
        tx.execute(&format!("INSERT INTO {t} VALUES (1)"), &[]).await?;
        let sp = tx.savepoint("s").await?;
        out += &format!("{} ", code(sp.query("SELECT 1/0", &[]).await));
        sp.rollback().await?;
        let sp = tx.transaction().await?;
        sp.execute(&format!("INSERT INTO {t} VALUES (2)"), &[]).await?;
        sp.commit().await?;
        out += &format!("{} ", number(&d, &format!("SELECT count(*) FROM {t}"), &[]).await?);
        if keep {
            tx.commit().await?
        } else {
            drop(tx); // rolls back
        }
        // on its own connection: the rollback was only sent, not awaited
        out += &text(&c, &format!("SELECT string_agg(a::text, '|' ORDER BY a) FROM {t}"), &[]).await?;
        out += " ";
    }
    c.batch_execute(&format!("DROP TABLE {t}")).await?;
    Ok(out)
}

async fn f_prepared() -> Seen {
    let (c, d) = (connect().await?, connect().await?);
    let (p, q) = (c.prepare("SELECT $1::int8 * 2").await?, d.prepare("SELECT $1::int8 * 3").await?);
    let mut sum = 0i64;
    for i in 0..150i64 {
        let (a, b) = future::try_join(c.query_one(&p, &[&i]), d.query_one(&q, &[&i])).await?;
        sum += a.get::<_, i64>(0) + b.get::<_, i64>(0);
    }
    drop(p); // closes it
    Ok(format!("{sum} {}", number(&c, "SELECT 1::int8", &[]).await?))
}

async fn f_batch() -> Seen {
    let (c, d) = (connect().await?, connect().await?);
    let p = c.prepare("SELECT $1::int8").await?;
    let args: Vec<i64> = (0..200).collect();
    let queries = args.iter().map(|i| async { Ok::<i64, Error>(c.query_one(&p, &[i]).await?.get(0)) });
    let sum: i64 = future::try_join_all(queries).await?.iter().sum();
    let (a, b, e) = tokio::join!(d.query("SELECT 1", &[]), d.query("SELECT 1/0", &[]), d.query("SELECT 2", &[]));
    let many = c.simple_query("SELECT 1; SELECT 2, 3; CREATE TEMP TABLE x (i int) ON COMMIT DROP").await?.len();
    Ok(format!("{sum} {} {} {} {many}", code(a), code(b), code(e)))
}

async fn f_cursor() -> Seen {
    let (mut c, d) = (connect().await?, connect().await?);
    let mut sum = 0i64;
    let tx = c.transaction().await?;
    let portal = tx.bind("SELECT generate_series(1::int8, 1000)", &[]).await?;
    loop {
        let rows = tx.query_portal(&portal, 100).await?;
        if rows.is_empty() {
            break;
        }
        sum += rows.iter().map(|r| r.get::<_, i64>(0)).sum::<i64>();
        d.query("SELECT 1", &[]).await?;
    }
    tx.commit().await?;
    Ok(sum.to_string())
}

async fn f_copy() -> Seen {
    let (c, t) = (connect().await?, format!("copy_{}", run()));
    c.batch_execute(&format!("CREATE TABLE {t} (i int, a text)")).await?;
    let sink = c.copy_in(&format!("COPY {t} FROM STDIN")).await?;
    pin_mut!(sink);
    for i in 0..5000 {
        sink.send(Bytes::from(format!("{i}\tline {i}\n"))).await?;
    }
    let n = sink.finish().await?;
    let out: Vec<Bytes> = c.copy_out(&format!("COPY {t} TO STDOUT")).await?.try_collect().await?;
    let sink = c.copy_in(&format!("COPY {t} FROM STDIN")).await?;
    pin_mut!(sink);
    let _ = sink.send(Bytes::from_static(b"a\tb\n")).await;
    let bad = code(sink.finish().await);
    {
        let given_up = c.copy_in::<_, Bytes>(&format!("COPY {t} FROM STDIN")).await?;
        drop(given_up);
    }
    let got = format!("{n} {} {bad} {}", out.iter().map(|b| b.len()).sum::<usize>(),
        number(&c, &format!("SELECT count(*) FROM {t}"), &[]).await?);
    c.batch_execute(&format!("DROP TABLE {t}")).await?;
    Ok(got)
}

async fn f_cancel() -> Seen {
    let (c, d, sql) = (connect().await?, connect().await?, format!("SELECT pg_sleep(20), '{}'", run()));
    let canceller = async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1";
        while number(&d, asleep, &[&sql]).await? == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        c.cancel_token().cancel_query(NoTls).await
    };
    let (first, cancelled) = tokio::join!(c.simple_query(&sql), canceller);
    cancelled?;
    c.batch_execute("SET statement_timeout = '100ms'").await?;
    let second = c.simple_query(&sql).await;
    let late = second.as_ref().err().and_then(|e| e.code()) == Some(&SqlState::QUERY_CANCELED);
    Ok(format!("{} {late} {}", code(first), number(&c, "SELECT 1::int8", &[]).await?))
}

async fn f_notify() -> Seen {
    let ((a, mut heard), b) = (connect_with("").await?, connect().await?);
    a.batch_execute(&format!("LISTEN ch_{}", run())).await?;
    let mut out = String::new();
    for i in 0..3 {
        b.execute("SELECT pg_notify($1, $2)", &[&format!("ch_{}", run()), &format!("n{i}")]).await?;
        let n = timeout(Duration::from_secs(10), heard.recv()).await;
        out += &n.ok().flatten().unwrap_or_else(|| "nothing".into());
        out += " ";
    }
    a.batch_execute("UNLISTEN *").await?;
    b.batch_execute(&format!("NOTIFY ch_{}", run())).await?;
    a.batch_execute("SELECT 1").await?;
    Ok(format!("{out} {}", heard.try_recv().is_ok()))
}

async fn f_errors() -> Seen {
    let c = connect().await?;
    let mut out = String::new();
    for sql in ["SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO kv VALUES (1, 1)"] {
        out += &format!("{} {} {} ", code(c.query(sql, &[]).await), code(c.batch_execute(sql).await),
            number(&c, "SELECT $1::int8", &[&1i64]).await?);
    }
    Ok(out)
}

async fn f_settings() -> Seen {
    let cs = [connect().await?, connect().await?, connect().await?];
    let set = format!("SET search_path = schema_{}; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'", run());
    cs[0].batch_execute(&set).await?;
    text(&cs[1], "SELECT set_config('work_mem', $1, false)", &[&"6MB"]).await?;
    cs[1].batch_execute("SET statement_timeout = '32s'").await?;
    let mut seen = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for _ in 0..15 {
        for (c, s) in cs.iter().zip(seen.iter_mut()) {
            s.insert(text(c, SHOW, &[]).await?);
        }
    }
    Ok(seen.map(join).join("; "))
}

async fn f_temp() -> Seen {
    let (a, b, t) = (connect().await?, connect().await?, format!("temp_{}", run()));
    a.batch_execute(&format!("CREATE TEMP TABLE {t} (i int8)")).await?;
    let mut seen = BTreeSet::new();
    for i in 0..10i64 {
        a.execute(&format!("INSERT INTO {t} VALUES ($1)"), &[&i]).await?;
        seen.insert(text(&b, "SELECT to_regclass($1)::text", &[&t]).await?);
    }
    Ok(format!("{} other: {}", number(&a, &format!("SELECT sum(i)::int8 FROM {t}"), &[]).await?, join(seen)))
}

async fn f_locks() -> Seen {
    let (a, b) = (connect().await?, connect().await?);
    let attempt = "SELECT pg_try_advisory_xact_lock(hashtext($1))::text";
    a.execute("SELECT pg_advisory_lock(hashtext($1))", &[&run()]).await?;
    let mut out = String::new();
    for _ in 0..5 {
        out += &text(&b, attempt, &[&run()]).await?;
        out += " ";
    }
    out += &text(&a, "SELECT pg_advisory_unlock(hashtext($1))::text", &[&run()]).await?;
    Ok(format!("{out} {}", text(&b, attempt, &[&run()]).await?))
}

macro_rules! features {
    ($($name:literal $f:ident),*) => {$(
        let got = match timeout(Duration::from_secs(20), $f()).await {
            Ok(Ok(s)) => s,
            Ok(Err(e)) => format!("raised {e}"),
            Err(_) => "raised nothing for 20 s".into(),
        };
        let got = got.replace(&run(), "RUN");
        println!("{}\t{}", $name, got.split_whitespace().collect::<Vec<_>>().join(" "));
    )*};
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("driver\ttokio-postgres {}", var("DRIVER_VERSION").unwrap());
    features!("connect" f_connect, "options" f_options, "crud" f_crud, "types" f_types, "transactions" f_transactions,
        "prepared" f_prepared, "batch" f_batch, "cursor" f_cursor, "copy" f_copy, "cancel" f_cancel, "notify" f_notify,
        "errors" f_errors, "settings" f_settings, "temp" f_temp, "locks" f_locks);
}
