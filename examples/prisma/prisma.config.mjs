// The engine of `prisma migrate` that needs no binary: JavaScript and a driver adapter, that of Prisma 7, since the one
// of 6.19 does not know the type name.
import { PrismaPg } from "adapter-pg-of-migrate";
import { defineConfig } from "prisma/config";

export default defineConfig({
  engine: "js",
  experimental: { adapter: true },
  schema: "prisma/schema.prisma",
  adapter: async () => new PrismaPg({ connectionString: process.env.DATABASE_URL }),
});
