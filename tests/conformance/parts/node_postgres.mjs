import postgres from "postgres";
import { play } from "./part.mjs";

const db = postgres({ host: process.env.PGHOST, max: 1, onnotice: () => {} });
await play(async (ns, value, cast) => {
  // It reads the text of a timestamp in the zone of this process, unless the parameter is a text.
  if (cast === "::timestamp") cast = "::text::timestamp";
  const [row] = await db.unsafe(`SELECT claim_once($1, $2${cast}) AS won`, [ns, value]);
  return row.won;
});
