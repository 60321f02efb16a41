// postgres.js: number and string are sent without a type, the server names it; bigint is sent as int8.

import postgres from "postgres";
import { check } from "./report.mjs";

const sql = postgres({
  path: `${process.env.PGHOST}/.s.PGSQL.${process.env.PGPORT}`,
  database: process.env.PGDATABASE,
  max: 1,
});

// The first row as an array, its value if it has one column, or the SQLSTATE that was raised.
async function first(query) {
  try {
    const [row] = await query.values();
    return row?.length === 1 ? row[0] : row && [...row];
  } catch (error) {
    return error.code ?? String(error);
  }
}

for (const [name, [a, b]] of Object.entries({
  "text, text": ["build", "org/repo"],
  "number, text": [4711, "org/repo"],
  "text, number": ["org/repo", 4711],
  "number, number": [4711, 9_000_000_000],
  "bigint, text": [4712n, "org/repo"],
  "text, bigint": ["org/repo", 4712n],
})) {
  check(`claim_once(${name}) first`, true, await first(sql`SELECT claim_once('two', ${a}, ${b})`));
  check(`claim_once(${name}) again`, false, await first(sql`SELECT claim_once('two', ${a}, ${b})`));
  check(`is_claimed(${name})`, true, await first(sql`SELECT is_claimed('two', ${a}, ${b})`));
  check(`unclaim(${name})`, true, await first(sql`SELECT unclaim('two', ${a}, ${b})`));
  check(`claim_once_per(${name})`, true, await first(sql`SELECT claim_once_per('1 hour', 'per', ${a}, ${b})`));
  const asText = await first(sql`SELECT once_key(${a}::text, ${b}::text)`);
  check(`once_key(${name})`, asText, await first(sql`SELECT once_key(${a}, ${b})`));
}

for (const [name, part] of Object.entries({ text: "build", number: 4711, bigint: 4712n })) {
  check(`claim_once(one ${name}) first`, true, await first(sql`SELECT claim_once('one', ${part})`));
  check(`claim_once(one ${name}) again`, false, await first(sql`SELECT claim_once('one', ${part})`));
  check(`is_claimed(one ${name})`, true, await first(sql`SELECT is_claimed('one', ${part})`));
  check(`unclaim(one ${name})`, true, await first(sql`SELECT unclaim('one', ${part})`));
  check(`claim_once_per(one ${name})`, true, await first(sql`SELECT claim_once_per('1 hour', 'per', ${part})`));
  check(`once_key(one ${name})`, String(part), await first(sql`SELECT once_key(${part})`));
}

check("namespace as a parameter", true, await first(sql`SELECT claim_once(${"all"}, ${4711}, ${"org/repo"})`));
check("the same key in SQL", false, await first(sql`SELECT claim_once('all', 4711, 'org/repo')`));
check("period as text", true, await first(sql`SELECT claim_once_per(${"1 hour"}, ${"period"}, ${"text"})`));

check("three parts, all without a type", true,
  await first(sql`SELECT claim_once('three', ${4711}, ${"org/repo"}, ${"linux"})`));
check("three mixed parts need ::text", "42P18",
  await first(sql`SELECT claim_once('three', ${4711n}, ${"org/repo"}, ${"linux"})`));
check("three mixed parts with ::text", false,
  await first(sql`SELECT claim_once('three', ${4711n}, ${"org/repo"}::text, ${"linux"}::text)`));

// A customer and an order where a key and a lease belong: of order 31 nothing is answered that belongs to order 30.
for (const order of [30, 31]) {
  check(`begin_once(customer, order ${order})`, "22023",
    await first(sql`SELECT outcome FROM begin_once('charge', ${7}, ${order})`));
  check(`begin_once(once_key(customer, order ${order}))`, "run",
    await first(sql`SELECT outcome FROM begin_once('charge', once_key(${7}, ${order}))`));
}

check("with_payment_lock(number, text) first", true,
  await first(sql`SELECT created FROM with_payment_lock(${7}, ${"A"})`));
check("with_payment_lock(number, text) again", false,
  await first(sql`SELECT created FROM with_payment_lock(${7}, ${"A"})`));
check("with_payment_lock(bigint, text)", false, await first(sql`SELECT created FROM with_payment_lock(${7n}, ${"A"})`));
check("with_payment_lock(text, text) for a bigint", false,
  await first(sql`SELECT created FROM with_payment_lock(${"7"}, ${"A"})`));
check("with_payment_lock(number, number)", true, await first(sql`SELECT created FROM with_payment_lock(${7}, ${1})`));
check("with_payment_lock(timeout)", false,
  await first(sql`SELECT created FROM with_payment_lock(${7}, ${"A"}, ${"1 second"})`));
await sql`SET pg_once.payment_table = 'payments_of_named_services'`;
check("with_payment_lock(text, text)", true,
  await first(sql`SELECT created FROM with_payment_lock(${"card"}, ${"A"})`));

const key = { service_id: 8, line_item_id: "A" };
const defaults = { amount: "12.30", currency: "EUR" };
check("with_row_lock(object), amount", "12.30",
  await first(sql`SELECT amount FROM with_row_lock(NULL::payments, ${key}, ${defaults})`));
check("with_row_lock(sql.json), amount", "12.30",
  await first(sql`SELECT amount FROM with_row_lock(NULL::payments, ${sql.json(key)}, ${sql.json(defaults)})`));
check("with_row_lock(key)", "8", await first(sql`SELECT service_id FROM with_row_lock(NULL::payments, ${key})`));
check("with_row_lock(timeout)", "8",
  await first(sql`SELECT service_id FROM with_row_lock(NULL::payments, ${key}, timeout => ${"1 second"})`));

const dune = { title: "Dune", author: "Frank Herbert" };
check("find_or_create(object) first", [true, "Dune", "9.90"],
  await first(sql`SELECT created, (entity).title, (entity).price FROM find_or_create(NULL::books, ${dune}, ${{ price: "9.90" }})`));
check("find_or_create(object) again", [false, "Dune", "9.90"],
  await first(sql`SELECT created, (entity).title, (entity).price FROM find_or_create(NULL::books, ${dune}, ${{}})`));
check("find_or_create(lock, timeout)", false,
  await first(sql`SELECT created FROM find_or_create(NULL::books, ${dune}, lock => ${true}, timeout => ${"1 second"})`));

await sql.end();
