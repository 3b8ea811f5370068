// SPDX-License-Identifier: ISC
// Drizzle ORM on postgres.js.
import fs from 'node:fs';
import postgres from 'postgres';
import { asc, count, eq, gt, sql, sum } from 'drizzle-orm';
import { boolean, integer, jsonb, numeric, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core';
import { drizzle } from 'drizzle-orm/postgres-js';
import { RUN, VALUES, code, main, range, row, rows } from './features.js';

const version = JSON.parse(fs.readFileSync('node_modules/drizzle-orm/package.json')).version;
const client = postgres({ max: 3, onnotice() {}, connection: { application_name: 'drv' } });
const db = drizzle(client);
const t = pgTable(`drizzle_${RUN}`, {
  id: serial().primaryKey(), a: text().unique(), n: integer(), price: numeric({ precision: 40, scale: 10 }),
  at: timestamp({ withTimezone: true }), doc: jsonb(), ints: integer().array(), yes: boolean(),
});

main(`Drizzle ${version}`, {
  connect: async () => row((await db.execute(sql`SELECT current_user, current_setting('application_name') AS a`))[0]),

  crud: async () => {
    await db.execute(sql`CREATE TABLE ${t} (id serial PRIMARY KEY, a text UNIQUE, n int, price numeric(40, 10),
      at timestamptz, doc jsonb, ints int[], yes bool)`);
    const seen = [rows(await db.insert(t).values([{ a: 'x', n: 1 }, { a: null, n: 2 }, { a: 'ü🐘' }])
      .returning({ id: t.id }))];
    await db.update(t).set({ n: sql`${t.n} + 5` }).where(gt(t.n, 1));
    await db.delete(t).where(eq(t.a, 'x'));
    seen.push(rows(await db.select({ id: t.id, a: t.a, n: t.n }).from(t).orderBy(asc(t.id))));
    seen.push(rows(await db.insert(t).values({ a: 'ü🐘', n: 9 }).onConflictDoUpdate({ target: t.a, set: { n: 9 } })
      .returning({ n: t.n })));
    return row(seen);
  },

  types: async () => row((await db.insert(t).values({ a: VALUES[3], price: VALUES[2], at: VALUES[5], doc: VALUES[6],
    ints: VALUES[7].map(i => i ?? 2), yes: true }).returning())[0]),

  transactions: async () => {
    const seen = [];
    await db.transaction(async tx => {
      await tx.insert(t).values({ a: 'kept' });
      seen.push(await code(tx.transaction(inner => inner.insert(t).values({ a: 'kept' }))));
      await tx.transaction(inner => inner.insert(t).values({ a: 'kept too' }));
    }, { isolationLevel: 'serializable' });
    seen.push(await code(db.transaction(async tx => {
      await tx.insert(t).values({ a: 'lost' });
      await tx.execute(sql`SELECT 1/0`);
    })));
    seen.push(rows(await db.select({ a: t.a }).from(t).where(sql`${t.a} LIKE 'kept%' OR ${t.a} = 'lost'`).orderBy(t.a)));
    return row(seen);
  },

  prepared: async () => {
    const p = db.select({ n: sql`${sql.placeholder('i')}::int * 2` }).from(t).limit(1).prepare('twice');
    let s = 0;
    for (const i of range(60)) s += (await p.execute({ i }))[0].n;
    return s;
  },

  batch: async () => {
    await db.insert(t).values(range(500).map(i => ({ a: `b${i}`, n: i })));
    return row((await db.select({ s: sum(t.n), c: count() }).from(t).where(sql`${t.a} LIKE 'b%'`))[0]);
  },

  errors: async () => {
    const seen = [];
    for (const x of ['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)']) {
      seen.push(await code(db.execute(sql.raw(x))), (await db.execute(sql`SELECT 1 AS n`))[0].n);
    }
    return row(seen);
  },

  pool: async () => {
    const got = await Promise.all(range(100).map(i => db.execute(sql`SELECT ${i}::int AS n`)));
    await db.execute(sql`DROP TABLE ${t}`);
    await client.end();
    return got.reduce((s, r) => s + r[0].n, 0);
  },
});
