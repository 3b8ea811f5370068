// SPDX-License-Identifier: ISC
// Knex, the query builder, on node-postgres.
import fs from 'node:fs';
import knex from 'knex';
import { RUN, SHOW, VALUES, code, distinct, env, main, range, row, rows } from './features.js';

const version = JSON.parse(fs.readFileSync('node_modules/knex/package.json')).version;
const open = more => knex({ client: 'pg', connection: { ...env, application_name: 'drv' }, pool: { min: 0, max: 3 },
  ...more });
const db = open();
const t = `knex_${RUN}`;

main(`Knex ${version}`, {
  connect: async () => row((await db.raw("SELECT current_user, current_setting('application_name') AS a")).rows[0]),

  crud: async () => {
    await db.schema.createTable(t, x => {
      x.increments('id');
      x.text('a').unique();
      x.integer('n');
      x.specificType('raw', 'bytea');
      x.timestamp('at');
      x.jsonb('doc');
      x.specificType('ints', 'int[]');
      x.boolean('yes');
    });
    const seen = [rows(await db(t).insert([{ a: 'x', n: 1 }, { a: null, n: 2 }, { a: 'ü🐘' }]).returning('id'))];
    seen.push(await db(t).where('n', '>', 1).update({ n: 7 }), await db(t).where({ a: 'x' }).del());
    seen.push(rows(await db(t).select('id', 'a', 'n').orderBy('id')));
    seen.push(rows(await db(t).insert({ a: 'ü🐘', n: 9 }).onConflict('a').merge().returning(['id', 'n'])));
    return row(seen);
  },

  types: async () => row((await db(t).insert({ a: VALUES[3], raw: VALUES[4], at: VALUES[5], doc: VALUES[6],
    ints: VALUES[7], yes: true }).returning(['a', 'n', 'raw', 'at', 'doc', 'ints', 'yes']))[0]),

  transactions: async () => {
    const seen = [];
    await db.transaction(async trx => {
      await trx(t).insert({ a: 'kept' });
      seen.push(await code(trx.transaction(inner => inner(t).insert({ a: 'kept' }))));
      await trx.transaction(inner => inner(t).insert({ a: 'kept too' }));
    }, { isolationLevel: 'serializable' });
    seen.push(await code(db.transaction(async trx => {
      await trx(t).insert({ a: 'lost' });
      await trx.raw('SELECT 1/0');
    })));
    seen.push(rows(await db(t).where('a', 'like', '%o%').orWhere('a', 'like', 'kept%').select('a').orderBy('a')));
    return row(seen);
  },

  batch: async () => {
    await db.batchInsert(t, range(500).map(i => ({ a: `b${i}`, n: i })), 100);
    return row((await db(t).where('a', 'like', 'b%').sum('n').count('n'))[0]);
  },

  cursor: async () => {
    let n = 0;
    await db.transaction(async trx => {
      for (const r of (await trx.raw("DECLARE k CURSOR FOR SELECT generate_series(1, 100) i")).rows) n += r.i;
      for (const _ of range(4)) for (const r of (await trx.raw('FETCH 25 FROM k')).rows) n += r.i;
    });
    return n;
  },

  cancel: async () => row([await db.raw('SELECT pg_sleep(20)').timeout(300, { cancel: true })
    .then(() => 'no error', e => e.name), (await db.raw('SELECT 1 AS n')).rows[0].n]),

  errors: async () => {
    const seen = [];
    for (const text of ['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)']) {
      seen.push(await code(db.raw(text)), (await db.raw('SELECT 1 AS n')).rows[0].n);
    }
    return row(seen);
  },

  // searchPath is a SET at the begin of each connection
  settings: async () => {
    const a = open({ searchPath: [`schema_${RUN}`, 'public'] });
    const got = [];
    for (const _ of range(10)) {
      got.push(await Promise.all([a, db].map(async x => row((await x.raw(SHOW)).rows[0]))));
    }
    await a.destroy();
    return [0, 1].map(i => distinct(got.map(g => g[i]))).join('; ');
  },

  pool: async () => {
    const got = await Promise.all(range(100).map(i => db.raw('SELECT ?::int AS n', [i])));
    await db.schema.dropTable(t);
    await db.destroy();
    return got.reduce((s, r) => s + r.rows[0].n, 0);
  },
});
