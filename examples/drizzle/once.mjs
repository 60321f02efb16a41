// pg_once for Drizzle on node-postgres.
//
//   await db.transaction(async (tx) => { if (await claim(tx, "ci_failure", build, repo)) ... });
//   const [book, created] = await findOrCreate(db, books, { title: "Dune", author: "Frank Herbert" });
//   await withRowLock(db, payments, { serviceId: 1, lineItemId: "A" }, async (payment, tx) => { ... });
//
// A key names the columns as the schema does. Where rows are deleted softly it has `deletedAt: null`.
import { getTableColumns, getTableName, is, SQL, sql } from "drizzle-orm";

// True in exactly one committed transaction for these parts.
export async function claim(tx, ns, ...parts) {
  const { rows } = await tx.execute(sql`SELECT claim_once(${ns}, VARIADIC ${sql.param(parts.map(String))}::text[]) AS won`);
  return rows[0].won;
}

// The one row with this key and whether it was created; without a unique index too.
export async function findOrCreate(db, table, key, defaults = {}) {
  const found = sql`(SELECT created AS once_created, (entity).* FROM
    find_or_create(NULL::${table}, ${json(table, key)}::jsonb, ${await newRow(db, table, key, defaults)}::jsonb))`;
  const [{ created, ...row }] = await rowsOf(db, table, found, { created: sql`once_created` });
  return [row, created];
}

// Calls `work` with the one row with this key, found or created in turn, locked until `work` has ended, and with the
// transaction that holds it. Null, and no call, when it could not be had within `timeout` seconds.
export function withRowLock(db, table, key, work, { defaults = {}, timeout = null } = {}) {
  return db.transaction(async (tx) => {
    const taken = sql`with_row_lock(NULL::${table}, ${json(table, key)}::jsonb,
      ${await newRow(tx, table, key, defaults)}::jsonb, ${timeout && `${timeout} seconds`}::interval)`;
    const [row] = await rowsOf(tx, table, taken);
    return row ? work(row, tx) : null;
  });
}

// Whether the lock is held, until the transaction has ended.
export async function withLock(tx, ns, key, timeout = null) {
  const { rows } = await tx.execute(sql`SELECT with_lock(${ns}, ${key}, ${timeout && `${timeout} seconds`}::interval) AS held`);
  return rows[0].held;
}

// Rows with the names and types of the schema.
function rowsOf(db, table, source, more = {}) {
  const columns = Object.entries(getTableColumns(table));
  const fields = columns.map(([name, column]) => [name, sql`${sql.identifier(column.name)}`.mapWith(column)]);
  return db.select({ ...Object.fromEntries(fields), ...more }).from(sql`${source} AS found`);
}

// What Drizzle would insert: $defaultFn and $onUpdateFn are not in the database.
async function newRow(db, table, key, given) {
  const values = {};
  for (const [name, column] of Object.entries(getTableColumns(table))) {
    if (name in key || name in given) continue;
    const make = column.defaultFn ?? (column.default === undefined ? column.onUpdateFn : undefined);
    if (!make) continue;
    const value = make();
    values[name] = is(value, SQL) ? (await db.select({ value }).from(sql`(SELECT) AS nothing`))[0].value : value;
  }
  return json(table, { ...values, ...given });
}

// Columns with values as their types write them to the database.
function json(table, values) {
  const columns = getTableColumns(table);
  const entries = Object.entries(values).map(([name, value]) => {
    const column = columns[name];
    if (!column) throw new Error(`${getTableName(table)} has no ${name}`);
    const asIs = value === null || column.dataType === "json";
    return [column.name, asIs ? value : column.mapToDriverValue(value)];
  });
  return JSON.stringify(Object.fromEntries(entries), (_, value) => (typeof value === "bigint" ? String(value) : value));
}
