import { defineConfig } from "drizzle-kit";

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;

export default defineConfig({
  dialect: "postgresql",
  schema: "./schema.mjs",
  out: "./migrations",
  dbCredentials: { url: `postgres://${PGUSER}@${PGHOST}:${PGPORT}/${PGDATABASE}` },
});
