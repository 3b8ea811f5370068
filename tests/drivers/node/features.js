// SPDX-License-Identifier: ISC
// What every program of the matrix does: a feature at a time, each with fresh
// connections, and one line `feature<TAB>what was seen` for each.
export const RUN = process.env.RUN_ID;
export const env = {
  host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER,
  database: process.env.PGDATABASE,
};
export const SLEEP = `SELECT pg_sleep(20), '${RUN}'`;
export const ASLEEP = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query = '" +
  SLEEP.replaceAll("'", "''") + "'";
export const SHOW = 'SELECT ' + ['search_path', 'statement_timeout', 'TimeZone', 'work_mem']
  .map(s => `current_setting('${s}') AS "${s}"`).join(', ');
export const TYPES = 'SELECT $1::int AS a, $2::int8 AS b, $3::numeric AS c, $4::text AS d, $5::bytea AS e, ' +
  '$6::timestamptz AS f, $7::jsonb AS g, $8::int[] AS h, $9::text AS i, $10::bool AS j';
export const VALUES = [42, '9007199254740993', '12345678901234567890.123456789', 'Grüße 🐘 日本',
  Buffer.from([0, 255, 16, 39]), new Date('2024-02-29T12:34:56.789Z'), { a: [1, null] }, [1, null, 3], null, true];

export function canon(v) {
  if (v === null || v === undefined) return 'NULL';
  if (Buffer.isBuffer(v)) return v.toString('hex');
  if (v instanceof Date) return v.toISOString();
  if (typeof v === 'object') return JSON.stringify(v);
  return String(v);
}
export const row = r => (Array.isArray(r) ? r : Object.values(r)).map(canon).join('|');
export const rows = rs => [...rs].map(row).join(' ');
export const distinct = seen => [...new Set(seen)].sort().join(' / ');
export const range = n => [...Array(n).keys()];

export async function until(what) {
  const end = Date.now() + 20000;
  while (!await what()) {
    if (Date.now() > end) throw new Error('what was waited for did not come');
    await new Promise(done => setTimeout(done, 10));
  }
}

// the code of what a promise is rejected with
export const code = p => p.then(() => 'no error', e => (e.original ?? e.cause ?? e).code ?? String(e));

export async function main(driver, features) {
  console.log(`driver\t${driver}`);
  for (const [name, f] of Object.entries(features)) {
    let timer;
    const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error('nothing for 20 s')), 20000); });
    const got = await Promise.race([f(), late]).catch(e => `raised ${e}`);
    clearTimeout(timer);
    console.log(`${name}\t${String(got).replaceAll(RUN, 'RUN').split(/\s+/).join(' ')}`);
  }
  process.exit(0);
}
