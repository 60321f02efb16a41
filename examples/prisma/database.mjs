import { randomUUID } from "node:crypto";
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./generated/index.js";
import { once } from "./once.mjs";

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const adapter = new PrismaPg({ connectionString: `postgres://${PGUSER}@${PGHOST}:${PGPORT}/${PGDATABASE}`, max: 4 });
const updatedAt = () => ({ updatedAt: new Date() });

export const prisma = new PrismaClient({ adapter }).$extends(once({
  defaults: {
    Payment: () => ({ publicId: randomUUID(), ...updatedAt() }),
    Book: updatedAt,
  },
  conditions: { Payment: { deletedAt: null } },
}));
