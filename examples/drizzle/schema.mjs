import { sql } from "drizzle-orm";
import { bigint, integer, jsonb, numeric, pgEnum, pgTable, text, timestamp, uniqueIndex } from "drizzle-orm/pg-core";

const id = () => bigint({ mode: "number" }).primaryKey().generatedAlwaysAsIdentity();

// The model knows these defaults; in the database the columns are NOT NULL and have none.
const timestamps = {
  createdAt: timestamp("created_at", { withTimezone: true }).notNull().$defaultFn(() => new Date()),
  updatedAt: timestamp("updated_at", { withTimezone: true }).notNull().$onUpdateFn(() => new Date()),
};

export const paymentStatus = pgEnum("payment_status", ["pending", "paid"]);

export const services = pgTable("services", { id: id(), name: text().notNull(), ...timestamps });

export const payments = pgTable("payments", {
  id: id(),
  serviceId: bigint("service_id", { mode: "number" }).notNull().references(() => services.id),
  lineItemId: text("line_item_id").notNull(),
  amount: numeric({ precision: 12, scale: 2 }).notNull().$defaultFn(() => "0"),
  cents: numeric({ precision: 14, scale: 0 }).generatedAlwaysAs(sql`amount * 100`),
  status: paymentStatus().notNull().default("pending"),
  deletedAt: timestamp("deleted_at", { withTimezone: true }),
  ...timestamps,
}, (table) => [
  uniqueIndex("one_living_payment").on(table.serviceId, table.lineItemId).where(sql`deleted_at IS NULL`),
]);

// No unique index.
export const books = pgTable("books", {
  id: id(),
  title: text().notNull(),
  author: text().notNull(),
  edition: integer().notNull().$defaultFn(() => 1),
  tags: jsonb().notNull().$defaultFn(() => []),
  ...timestamps,
});

export const buildFailures = pgTable("build_failures", {
  id: id(),
  buildId: bigint("build_id", { mode: "number" }).notNull(),
  repo: text().notNull(),
  ...timestamps,
});

export const webhookEvents = pgTable("webhook_events", {
  id: id(),
  payload: jsonb().notNull(),
  eventId: text("event_id").generatedAlwaysAs(sql`payload ->> 'id'`).unique(),
  ...timestamps,
});
