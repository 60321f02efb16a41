import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";

export const pool = new pg.Pool({ max: 4 });
export const db = drizzle(pool);
