// SPDX-License-Identifier: ISC
// postgres.js: named statements and pipelining for everything.
import fs from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import postgres from 'postgres';
import { ASLEEP, RUN, SHOW, SLEEP, TYPES, VALUES, canon, code, distinct, main, range, row, rows, until }
  from './features.js';

const version = JSON.parse(fs.readFileSync('node_modules/postgres/package.json')).version;
const onnotice = () => {};

async function connections(n, work, options) {
  const cs = range(n).map(() => postgres({ max: 1, onnotice, connection: { application_name: 'drv' }, ...options }));
  try {
    return await work(...cs);
  } finally {
    await Promise.all(cs.map(c => c.end({ timeout: 1 })));
  }
}
const table = name => postgres({ onnotice })(`${name}_${RUN}`);

main(`postgres ${version} (postgres.js)`, {
  connect: () => connections(1, async sql =>
    row((await sql`SELECT current_user, current_database(), current_setting('application_name') AS a`)[0])),

  options: () => connections(1, async sql => distinct((await Promise.all(range(10).map(() => sql.unsafe(SHOW))))
    .map(r => row(r[0]))), { connection: { work_mem: '9MB', statement_timeout: 33000 } }),

  crud: () => connections(1, async sql => {
    const t = table('crud');
    await sql`CREATE TABLE ${t} (id serial PRIMARY KEY, a text, n int)`;
    const ids = await sql`INSERT INTO ${t} ${sql([{ a: 'x', n: 1 }, { a: null, n: 2 }, { a: 'Grüße 🐘', n: null }])}
      RETURNING id`;
    const seen = [rows(ids), (await sql`UPDATE ${t} SET ${sql({ n: 7 })} WHERE id IN ${sql([2, 3])}`).count];
    seen.push(rows(await sql`SELECT * FROM ${t} ORDER BY id`), (await sql`DELETE FROM ${t}`).count);
    await sql`DROP TABLE ${t}`;
    return row(seen);
  }),

  types: () => connections(1, async sql => row((await sql.unsafe(TYPES, VALUES.map((v, i) =>
    i === 6 ? sql.json(v) : v)))[0])),

  transactions: () => connections(2, async (sql, other) => {
    const t = table('tx');
    await sql`CREATE TABLE ${t} (a int)`;
    const seen = [];
    await sql.begin('ISOLATION LEVEL REPEATABLE READ', async sql => {
      await sql`INSERT INTO ${t} VALUES (1)`;
      seen.push(await code(sql.savepoint(async sql => {
        await sql`INSERT INTO ${t} VALUES (2)`;
        await sql`SELECT 1/0`;
      })));
      await sql.savepoint(sql => sql`INSERT INTO ${t} VALUES (3)`);
      seen.push((await sql`SHOW transaction_isolation`)[0].transaction_isolation);
      seen.push((await other`SELECT count(*)::int AS n FROM ${t}`)[0].n);
    });
    seen.push(await code(sql.begin(async sql => {
      await sql`INSERT INTO ${t} VALUES (4)`;
      throw Object.assign(new Error(), { code: 'gave up' });
    })));
    seen.push(await code(sql.begin(sql => [sql`INSERT INTO ${t} VALUES (5)`, sql`SELECT 1/0`])));
    seen.push(rows(await sql`SELECT a FROM ${t} ORDER BY a`));
    await sql`DROP TABLE ${t}`;
    return row(seen);
  }),

  prepared: () => connections(2, async (a, b) => {
    let sum = 0;
    for (const i of range(100)) {
      sum += (await a`SELECT ${i}::int * 2 AS n`)[0].n;
      sum += (await b.unsafe(`SELECT $1::int + ${i % 30} AS n`, [i], { prepare: true }))[0].n;
    }
    return sum;
  }),

  unprepared: () => connections(1, async sql =>
    (await Promise.all(range(50).map(i => sql`SELECT ${i}::int AS n`))).reduce((s, r) => s + r[0].n, 0),
    { prepare: false }),

  // many on one connection without waiting: they are in flight together
  batch: () => connections(2, async (a, b) => {
    const got = await Promise.all(range(400).map(i => (i % 2 ? a : b)`SELECT ${i}::int AS n`));
    const mixed = await Promise.all(range(20).map(i => code(a`SELECT 1 / ${i % 2}::int`)));
    const simple = await a`SELECT 1 AS a; SELECT 2 AS b`.simple();
    return row([got.reduce((s, r) => s + r[0].n, 0), distinct(mixed), mixed.length, rows(simple.flat())]);
  }),

  cursor: () => connections(2, async (sql, other) => {
    let sum = 0;
    for await (const part of sql`SELECT i FROM generate_series(1, 1000) i`.cursor(100)) {
      sum += part.reduce((s, r) => s + r.i, 0);
      await other`SELECT 1`;
    }
    await sql`SELECT i FROM generate_series(1, 1000) i`.cursor(10, () => sql.CLOSE);
    await sql`SELECT i FROM generate_series(1, 100) i`.forEach(r => { sum += r.i; });
    return sum;
  }),

  copy: () => connections(1, async sql => {
    const t = table('copy');
    await sql`CREATE TABLE ${t} (i int, a text)`;
    await pipeline(Readable.from(range(5000).map(i => `${i}\tline ${i}\n`)),
      await sql`COPY ${t} FROM STDIN`.writable());
    let size = 0;
    // little: this version may pause its socket for good at more than a stream's buffer
    for await (const part of await sql`COPY (SELECT * FROM ${t} WHERE i < 500) TO STDOUT`.readable()) size += part.length;
    const n = (await sql`SELECT count(*)::int AS n FROM ${t}`)[0].n;
    await sql`DROP TABLE ${t}`;
    return row([size, n]);
  }),

  cancel: () => connections(2, async (sql, other) => {
    const query = sql.unsafe(SLEEP);
    const asleep = code(query);
    await until(async () => (await other.unsafe(ASLEEP))[0].n);
    query.cancel();
    return row([await asleep, (await sql`SELECT 1 AS n`)[0].n]);
  }),

  notify: () => connections(1, async sql => {
    const heard = [];
    let wake;
    const sub = await sql.listen(`ch_${RUN}`, payload => { heard.push(payload); wake?.(); });
    for (const i of range(3)) {
      const next = new Promise(done => { wake = done; });
      await sql.notify(`ch_${RUN}`, `n${i}`);
      await next;
    }
    await sub.unlisten();
    await sql.notify(`ch_${RUN}`, 'late');
    await sql`SELECT 1`;
    return row(heard);
  }),

  errors: () => connections(1, async sql => {
    const seen = [];
    for (const text of ['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)']) {
      seen.push(await code(sql.unsafe(text)), await code(sql.unsafe(text, [], { prepare: true })));
      seen.push((await sql`SELECT 1 AS n`)[0].n);
    }
    return row(seen);
  }),

  settings: () => connections(3, async (a, b, c) => {
    await a.unsafe(`SET search_path = schema_${RUN}; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'`);
    await b`SELECT set_config('work_mem', ${'6MB'}, false)`;
    await b`SET statement_timeout = '32s'`;
    const got = [];
    for (const _ of range(15)) {
      got.push(await Promise.all([a, b, c].map(async x => row((await x.unsafe(SHOW))[0]))));
    }
    return range(3).map(i => distinct(got.map(g => g[i]))).join('; ');
  }),

  temp: () => connections(2, async (a, b) => {
    const t = table('temp');
    await a`CREATE TEMP TABLE ${t} (i int)`;
    const seen = [];
    for (const i of range(10)) {
      await a`INSERT INTO ${t} VALUES (${i})`;
      seen.push(canon((await b`SELECT to_regclass(${`temp_${RUN}`}) AS r`)[0].r));
    }
    return `${(await a`SELECT sum(i) AS s FROM ${t}`)[0].s} other: ${distinct(seen)}`;
  }),

  locks: () => connections(2, async (a, b) => {
    const attempt = async () => (await b`SELECT pg_try_advisory_xact_lock(hashtext(${RUN})) AS r`)[0].r;
    await a`SELECT pg_advisory_lock(hashtext(${RUN}))`;
    const seen = [];
    for (const _ of range(5)) seen.push(await attempt());
    seen.push((await a`SELECT pg_advisory_unlock(hashtext(${RUN})) AS r`)[0].r, await attempt());
    return row(seen);
  }),

  pool: () => connections(1, async sql => {
    const got = await Promise.all(range(200).map(i => sql`SELECT ${i}::int AS n`));
    const held = await sql.reserve();
    const r = (await held`SELECT 1 AS n`)[0].n;
    held.release();
    return got.reduce((s, x) => s + x[0].n, r);
  }, { max: 4 }),
});
