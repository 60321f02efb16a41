// node pg: every parameter is text without a type, objects become JSON; int8 and numeric come back as text.

import pg from "pg";
import { check } from "./report.mjs";

const db = new pg.Client({ database: process.env.PGDATABASE });
await db.connect();

// The first row as an array, its value if it has one column, or the SQLSTATE that was raised.
async function first(text, ...values) {
  try {
    const { rows } = await db.query({ text, values, rowMode: "array" });
    return rows[0]?.length === 1 ? rows[0][0] : rows[0];
  } catch (error) {
    return error.code ?? String(error);
  }
}

for (const [name, parts] of Object.entries({
  "text, text": ["build", "org/repo"],
  "number, text": [4711, "org/repo"],
  "text, number": ["org/repo", 4711],
  "number, number": [4711, 9_000_000_000],
})) {
  check(`claim_once(${name}) first`, true, await first("SELECT claim_once('two', $1, $2)", ...parts));
  check(`claim_once(${name}) again`, false, await first("SELECT claim_once('two', $1, $2)", ...parts));
  check(`is_claimed(${name})`, true, await first("SELECT is_claimed('two', $1, $2)", ...parts));
  check(`unclaim(${name})`, true, await first("SELECT unclaim('two', $1, $2)", ...parts));
  check(`claim_once_per(${name})`, true, await first("SELECT claim_once_per('1 hour', 'per', $1, $2)", ...parts));
  const asText = await first("SELECT once_key($1::text, $2::text)", ...parts);
  check(`once_key(${name})`, asText, await first("SELECT once_key($1, $2)", ...parts));
}

for (const [name, part] of Object.entries({ text: "build", number: 4711 })) {
  check(`claim_once(one ${name}) first`, true, await first("SELECT claim_once('one', $1)", part));
  check(`claim_once(one ${name}) again`, false, await first("SELECT claim_once('one', $1)", part));
  check(`is_claimed(one ${name})`, true, await first("SELECT is_claimed('one', $1)", part));
  check(`unclaim(one ${name})`, true, await first("SELECT unclaim('one', $1)", part));
  check(`claim_once_per(one ${name})`, true, await first("SELECT claim_once_per('1 hour', 'per', $1)", part));
  check(`once_key(one ${name})`, String(part), await first("SELECT once_key($1)", part));
}

check("namespace as a parameter", true, await first("SELECT claim_once($1, $2, $3)", "all", 4711, "org/repo"));
check("the same key in SQL", false, await first("SELECT claim_once('all', 4711, 'org/repo')"));
check("period as text", true, await first("SELECT claim_once_per($1, $2, $3)", "1 hour", "period", "text"));

const mixed = [4711, "org/repo", "linux"];
check("three parts, all without a type", true, await first("SELECT claim_once('three', $1, $2, $3)", ...mixed));
const untyped = "SELECT claim_once('three', $1::bigint, $2, $3)";
check("three mixed parts need ::text", "42P18", await first(untyped, ...mixed));
const typed = "SELECT claim_once('three', $1::bigint, $2::text, $3::text)";
check("three mixed parts with ::text", false, await first(typed, ...mixed));

// A customer and an order where a key and a lease belong: of order 31 nothing is answered that belongs to order 30.
for (const order of [30, 31]) {
  const charge = "SELECT outcome FROM begin_once('charge', $1, $2)";
  check(`begin_once(customer, order ${order})`, "22023", await first(charge, 7, order));
  const keyed = "SELECT outcome FROM begin_once('charge', once_key($1, $2))";
  check(`begin_once(once_key(customer, order ${order}))`, "run", await first(keyed, 7, order));
}

const created = "SELECT created FROM with_payment_lock($1, $2)";
check("with_payment_lock(number, text) first", true, await first(created, 7, "A"));
check("with_payment_lock(number, text) again", false, await first(created, 7, "A"));
check("with_payment_lock(text, text) for a bigint", false, await first(created, "7", "A"));
check("with_payment_lock(number, number)", true, await first(created, 7, 1));
check("with_payment_lock(timeout)", false, await first("SELECT created FROM with_payment_lock($1, $2, $3)", 7, "A", "1 second"));
await db.query("SET pg_once.payment_table = 'payments_of_named_services'");
check("with_payment_lock(text, text)", true, await first(created, "card", "A"));

const key = { service_id: 8, line_item_id: "A" };
const defaults = { amount: "12.30", currency: "EUR" };
const row = "SELECT amount FROM with_row_lock(NULL::payments, $1, $2)";
check("with_row_lock(object), amount", "12.30", await first(row, key, defaults));
check("with_row_lock(text), amount", "12.30", await first(row, JSON.stringify(key), JSON.stringify(defaults)));
check("with_row_lock(key)", "8", await first("SELECT service_id FROM with_row_lock(NULL::payments, $1)", key));
const timed = "SELECT service_id FROM with_row_lock(NULL::payments, $1, timeout => $2)";
check("with_row_lock(timeout)", "8", await first(timed, key, "1 second"));

const dune = { title: "Dune", author: "Frank Herbert" };
const book = "SELECT created, (entity).title, (entity).price FROM find_or_create(NULL::books, $1, $2)";
check("find_or_create(object) first", [true, "Dune", "9.90"], await first(book, dune, { price: "9.90" }));
check("find_or_create(text) again", [false, "Dune", "9.90"], await first(book, JSON.stringify(dune), "{}"));
const locked = "SELECT created FROM find_or_create(NULL::books, $1, lock => $2, timeout => $3)";
check("find_or_create(lock, timeout)", false, await first(locked, dune, true, "1 second"));

await db.end();
