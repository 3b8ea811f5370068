// SPDX-License-Identifier: ISC
// node-postgres.
import fs from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Readable, Writable } from 'node:stream';
import pg from 'pg';
import Cursor from 'pg-cursor';
import copy from 'pg-copy-streams';
import { ASLEEP, RUN, SHOW, SLEEP, TYPES, VALUES, code, distinct, main, range, row, rows, until } from './features.js';

const version = JSON.parse(fs.readFileSync('node_modules/pg/package.json')).version;

async function clients(n, work, config) {
  const cs = range(n).map(() => new pg.Client({ application_name: 'drv', ...config }));
  await Promise.all(cs.map(c => c.connect()));
  try {
    return await work(...cs);
  } finally {
    await Promise.all(cs.map(c => c.end()));
  }
}
const one = async (c, text, values) => Object.values((await c.query(text, values)).rows[0])[0];

main(`pg ${version} (node-postgres)`, {
  connect: () => clients(1, async c => row((await c.query(
    "SELECT current_user, current_database(), current_setting('application_name') AS a")).rows[0])),

  options: () => clients(1, async c => distinct(await Promise.all(range(10).map(async () =>
    row((await c.query(SHOW)).rows[0])))), { options: '-c work_mem=9MB', statement_timeout: 33000 }),

  crud: () => clients(1, async c => {
    await c.query(`CREATE TABLE crud_${RUN} (id serial PRIMARY KEY, a text)`);
    const seen = [];
    for (const a of ['x', null, 'Grüße 🐘']) {
      seen.push(await one(c, `INSERT INTO crud_${RUN} (a) VALUES ($1) RETURNING id`, [a]));
    }
    seen.push((await c.query(`UPDATE crud_${RUN} SET a = upper(a) WHERE id <> $1`, [2])).rowCount);
    seen.push((await c.query(`DELETE FROM crud_${RUN} WHERE a = 'X'`)).rowCount);
    seen.push(rows((await c.query({ text: `SELECT * FROM crud_${RUN} ORDER BY id`, rowMode: 'array' })).rows));
    await c.query(`DROP TABLE crud_${RUN}`);
    return row(seen);
  }),

  types: () => clients(1, async c => row((await c.query(TYPES, VALUES)).rows[0])),
  binary: () => clients(1, async c => row((await c.query({ text: 'SELECT $1::int AS a, $2::text AS b',
    values: [7, 'ü'], binary: true })).rows[0])),

  transactions: () => clients(2, async (c, d) => {
    const t = `tx_${RUN}`;
    await c.query(`CREATE TABLE ${t} (a int)`);
    const seen = [];
    for (const end of ['COMMIT', 'ROLLBACK']) {
      await c.query('BEGIN');
      await c.query(`INSERT INTO ${t} VALUES (1)`);
      await c.query('SAVEPOINT s');
      seen.push(await code(c.query('SELECT 1/0')));
      seen.push(await code(c.query('SELECT 1')));
      await c.query('ROLLBACK TO SAVEPOINT s');
      await c.query(`INSERT INTO ${t} VALUES (2)`);
      seen.push(await one(d, `SELECT count(*) FROM ${t}`));
      await c.query(end);
      seen.push(rows((await d.query(`SELECT a FROM ${t} ORDER BY a`)).rows));
    }
    await c.query(`DROP TABLE ${t}`);
    return row(seen);
  }),

  prepared: () => clients(2, async (c, d) => {
    let sum = 0;
    for (const i of range(100)) {
      sum += await one(c, { name: 'twice', text: 'SELECT $1::int * 2', values: [i] });
      sum += await one(d, { name: `n${i % 7}`, text: `SELECT $1::int + ${i % 7}`, values: [i] });
    }
    return sum;
  }),

  // queries queued without waiting: node-postgres sends them one after the other
  batch: () => clients(2, async (...cs) => {
    const got = await Promise.all(range(200).map(i => one(cs[i % 2], 'SELECT $1::int', [i])));
    const many = await cs[0].query('SELECT 1 AS a; SELECT 2 AS a, 3 AS b');
    return `${got.reduce((a, b) => a + b)} ${many.map(m => rows(m.rows))}`;
  }),

  cursor: () => clients(2, async (c, d) => {
    const cursor = c.query(new Cursor('SELECT i FROM generate_series(1, $1::int) i', [1000]));
    let sum = 0;
    for (let got; (got = await cursor.read(150)).length;) {
      sum += got.reduce((a, r) => a + r.i, 0);
      await d.query('SELECT 1');
    }
    await cursor.close();
    const half = c.query(new Cursor('SELECT i FROM generate_series(1, 1000) i'));
    sum += (await half.read(10)).length;
    await half.close();
    return `${sum} ${await one(c, 'SELECT 1')}`;
  }),

  copy: () => clients(1, async c => {
    await c.query(`CREATE TABLE copy_${RUN} (i int, a text)`);
    await pipeline(Readable.from(range(5000).map(i => `${i}\tline ${i}\n`)),
      c.query(copy.from(`COPY copy_${RUN} FROM STDIN`)));
    let size = 0;
    await pipeline(c.query(copy.to(`COPY copy_${RUN} TO STDOUT`)),
      new Writable({ write(data, _, done) { size += data.length; done(); } }));
    const bad = await code(pipeline(Readable.from(['a\tb\n']), c.query(copy.from(`COPY copy_${RUN} FROM STDIN`))));
    const n = await one(c, `SELECT count(*) FROM copy_${RUN}`);
    await c.query(`DROP TABLE copy_${RUN}`);
    return row([size, bad, n]);
  }),

  cancel: () => clients(2, async (c, d) => {
    const seen = [];
    const asleep = code(c.query(SLEEP));
    await until(async () => await one(d, ASLEEP));
    await d.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active'
      AND query = '${SLEEP.replaceAll("'", "''")}'`);
    seen.push(await asleep);
    await c.query("BEGIN; SET LOCAL statement_timeout = '100ms'");
    seen.push(await code(c.query(SLEEP)));
    await c.query('ROLLBACK');
    seen.push(await one(c, 'SELECT 1'));
    return row(seen);
  }),

  notify: () => clients(2, async (a, b) => {
    await a.query(`LISTEN ch_${RUN}`);
    const seen = [];
    for (const i of range(3)) {
      const heard = new Promise(done => a.once('notification', n => done(n.payload)));
      await b.query('SELECT pg_notify($1, $2)', [`ch_${RUN}`, `n${i}`]);
      seen.push(await heard);
    }
    a.once('notification', () => seen.push('late'));
    await a.query(`UNLISTEN ch_${RUN}`);
    await b.query(`NOTIFY ch_${RUN}`);
    await a.query('SELECT 1');
    return row(seen);
  }),

  errors: () => clients(1, async c => {
    const seen = [];
    for (const text of ['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)']) {
      seen.push(await code(c.query(text)), await code(c.query(text, [])), await one(c, 'SELECT $1::int', [1]));
    }
    return row(seen);
  }),

  settings: () => clients(3, async (a, b, c) => {
    await a.query(`SET search_path = schema_${RUN}; SET statement_timeout = '31s'; SET TimeZone = 'Asia/Tokyo'`);
    await b.query("SELECT set_config('work_mem', $1, false)", ['6MB']);
    await b.query("SET statement_timeout = '32s'");
    const got = [];
    for (const _ of range(15)) {
      got.push(await Promise.all([a, b, c].map(async x => row((await x.query(SHOW)).rows[0]))));
    }
    return range(3).map(i => distinct(got.map(g => g[i]))).join('; ');
  }),

  temp: () => clients(2, async (a, b) => {
    await a.query(`CREATE TEMP TABLE temp_${RUN} (i int)`);
    const seen = [];
    for (const i of range(10)) {
      await a.query(`INSERT INTO temp_${RUN} VALUES ($1)`, [i]);
      seen.push(row([await one(b, `SELECT to_regclass('temp_${RUN}')`)]));
    }
    return `${await one(a, `SELECT sum(i) FROM temp_${RUN}`)} other: ${distinct(seen)}`;
  }),

  locks: () => clients(2, async (a, b) => {
    const key = `hashtext('${RUN}')`;
    await a.query(`SELECT pg_advisory_lock(${key})`);
    const seen = [];
    for (const _ of range(5)) seen.push(await one(b, `SELECT pg_try_advisory_xact_lock(${key})`));
    seen.push(await one(a, `SELECT pg_advisory_unlock(${key})`));
    seen.push(await one(b, `SELECT pg_try_advisory_xact_lock(${key})`));
    return row(seen);
  }),

  pool: async () => {
    const pool = new pg.Pool({ max: 4, application_name: 'drv' });
    const got = await Promise.all(range(100).map(i => one(pool, 'SELECT $1::int', [i])));
    await pool.end();
    return got.reduce((a, b) => a + b);
  },
});
