// pg, with its defaults.
import pg from "pg";
import { serve } from "./session.mjs";

const db = new pg.Client();
await db.connect();
await serve(async (sql, parameters) => {
  try {
    const { rows } = await db.query({ text: sql, values: parameters, rowMode: "array" });
    return { rows };
  } catch (error) {
    return { raises: error.code };
  }
});
