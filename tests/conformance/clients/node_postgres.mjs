// postgres.js, with its defaults; behind a pooler without prepared statements of its own.
import postgres from "postgres";
import { serve } from "./session.mjs";

const db = postgres({
  host: process.env.PGHOST,
  max: 1,
  prepare: !process.env.POOLED,
  onnotice: () => {},
  connection: { application_name: process.env.PGAPPNAME },
});
const one = await db.reserve();
await serve(async (sql, parameters) => {
  try {
    const query = parameters.length ? one.unsafe(sql, parameters) : one.unsafe(sql);
    return { rows: await query.values() };
  } catch (error) {
    return { raises: error.code };
  }
});
