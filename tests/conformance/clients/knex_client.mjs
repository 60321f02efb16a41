// Knex on pg: raw statements; a transaction by its own means.
import knex from "knex";
import { serve } from "./session.mjs";

const db = knex({
  client: "pg",
  connection: { application_name: process.env.PGAPPNAME },
  pool: { min: 1, max: 1 },
});
let transaction;
await serve(async (sql, parameters) => {
  try {
    if (sql.startsWith("BEGIN")) {
      transaction = await db.transaction();
      if (sql !== "BEGIN") await transaction.raw(sql.replace("BEGIN", "SET TRANSACTION"));
      return { rows: [] };
    }
    if (sql === "COMMIT" || sql === "ROLLBACK") {
      await (sql === "COMMIT" ? transaction.commit() : transaction.rollback());
      transaction = undefined;
      return { rows: [] };
    }
    const text = sql.replaceAll("?", "\\?").replaceAll(/\$\d+/g, "?");
    const { rows } = await (transaction ?? db).raw(text, parameters);
    return { rows: rows.map((row) => Object.values(row)) };
  } catch (error) {
    return { raises: error.code };
  }
});
