// node pg: named statements, while the table changes, beside core's own SELECT.

import { readFileSync } from "node:fs";
import pg from "pg";
import { check } from "./report.mjs";

const cases = JSON.parse(readFileSync(new URL("plans.json", import.meta.url)));

async function connect() {
  const db = new pg.Client({ database: process.env.PGDATABASE });
  await db.connect();
  return db;
}

// The rows as arrays, or what was raised.
async function outcome(db, text) {
  try {
    return (await db.query({ name: "kept", text, rowMode: "array" })).rows;
  } catch (error) {
    return `${error.code} ${error.message} ${error.routine}`;
  }
}

const owner = await connect();
for (const [change, statements] of Object.entries(cases.changes)) {
  for (const [form, [ours, cores]] of Object.entries(cases.forms)) {
    if (form === "defined" && change.startsWith("swap of tables")) continue;
    await owner.query(cases.table.join("; "));
    const [one, other] = [await connect(), await connect()];
    for (let call = 0; call < 2; call++)
      check(`${change}: ${form} before`, await outcome(other, cores), await outcome(one, ours));
    await owner.query(`BEGIN; ${statements.join("; ")}; COMMIT`);
    for (let call = 1; call <= 3; call++)
      check(`${change}: ${form}, call ${call}`, await outcome(other, cores), await outcome(one, ours));
    await Promise.all([one.end(), other.end()]);
  }
}
await owner.end();
