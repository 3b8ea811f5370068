// SPDX-License-Identifier: ISC
// Sequelize on node-postgres.
import { DataTypes, Model, Op, Sequelize } from 'sequelize';
import { RUN, SHOW, VALUES, code, distinct, env, main, range, row, rows } from './features.js';

const open = more => new Sequelize(env.database, env.user, null, { host: env.host, port: env.port, dialect: 'postgres',
  logging: false, pool: { max: 3 }, dialectOptions: { application_name: 'drv' }, ...more });
const db = open();

class Author extends Model {}
Author.init({ name: { type: DataTypes.TEXT, unique: true } },
  { sequelize: db, tableName: `author_${RUN}`, timestamps: false });
class Book extends Model {}
Book.init({ title: DataTypes.TEXT, pages: DataTypes.INTEGER, price: DataTypes.DECIMAL(40, 10), raw: DataTypes.BLOB,
  at: DataTypes.DATE, doc: DataTypes.JSONB, ints: DataTypes.ARRAY(DataTypes.INTEGER), yes: DataTypes.BOOLEAN },
{ sequelize: db, tableName: `book_${RUN}`, timestamps: false });
Author.hasMany(Book, { onDelete: 'CASCADE' });
Book.belongsTo(Author);

main(`Sequelize ${Sequelize.version}`, {
  connect: async () => row((await db.query("SELECT current_user, current_setting('application_name') AS a"))[0][0]),

  crud: async () => {
    await db.sync();
    const ada = await Author.create({ name: 'Ada', Books: [{ title: 'One', pages: 10 }, { title: 'Zwö 🐘' }] },
      { include: Book });
    await Author.create({ name: null });
    const seen = [(await Book.update({ pages: 11 }, { where: { pages: { [Op.gt]: 5 } } }))[0]];
    seen.push(rows((await Book.findAll({ include: Author, order: ['id'] })).map(b => [b.title, b.pages, b.Author.name])));
    seen.push((await Author.findOrCreate({ where: { name: 'Ada' } }))[1]);
    await ada.destroy();
    seen.push(await Book.count());
    return row(seen);
  },

  types: async () => {
    const b = await Book.create({ title: VALUES[3], price: VALUES[2], raw: VALUES[4], at: VALUES[5], doc: VALUES[6],
      ints: VALUES[7], yes: true });
    await b.reload();
    return row([b.title, b.pages, b.price, b.raw, b.at, b.doc, b.ints, b.yes]);
  },

  transactions: async () => {
    const seen = [];
    await db.transaction(async transaction => {
      await Author.create({ name: 'kept' }, { transaction });
      seen.push(await code(db.transaction({ transaction }, async inner => {
        await Author.create({ name: 'kept' }, { transaction: inner });
      })));
      await db.transaction({ transaction }, inner => Author.create({ name: 'kept too' }, { transaction: inner }));
    });
    seen.push(await code(db.transaction({ isolationLevel: 'SERIALIZABLE' }, async transaction => {
      await Author.create({ name: 'lost' }, { transaction });
      throw Object.assign(new Error(), { code: 'gave up' });
    })));
    seen.push(rows((await Author.findAll({ order: ['name'] })).map(a => [a.name])));
    return row(seen);
  },

  prepared: async () => {
    let sum = 0;
    for (const i of range(50)) sum += (await db.query('SELECT $1::int * 2 AS n', { bind: [i] }))[0][0].n;
    return sum;
  },

  batch: async () => {
    await Book.bulkCreate(range(500).map(i => ({ title: `t${i}`, pages: i })));
    return row([await Book.count(), await Book.sum('pages'), await Book.destroy({ where: { pages: { [Op.gte]: 100 } } })]);
  },

  errors: async () => {
    const seen = [];
    for (const text of ['SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)']) {
      seen.push(await code(db.query(text)), (await db.query('SELECT 1 AS n'))[0][0].n);
    }
    return row(seen);
  },

  settings: async () => {
    const a = open({ timezone: '+09:00', dialectOptions: { statement_timeout: 31000 },
      hooks: { afterConnect: c => c.query(`SET search_path = schema_${RUN}`) } });
    const got = [];
    for (const _ of range(10)) {
      got.push(await Promise.all([a, db].map(async x => row((await x.query(SHOW))[0][0]))));
    }
    await a.close();
    return [0, 1].map(i => distinct(got.map(g => g[i]))).join('; ');
  },

  pool: async () => {
    const got = await Promise.all(range(100).map(i => db.query('SELECT $1::int AS n', { bind: [i] })));
    await Book.drop();
    await Author.drop();
    await db.close();
    return got.reduce((s, r) => s + r[0][0].n, 0);
  },
});
