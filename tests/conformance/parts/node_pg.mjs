import pg from "pg";
import { play } from "./part.mjs";

const db = new pg.Client();
await db.connect();
await play(async (ns, value, cast) => {
  const { rows } = await db.query(`SELECT claim_once($1, $2${cast}) AS won`, [ns, value]);
  return rows[0].won;
});
