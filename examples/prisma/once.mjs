// pg_once for Prisma, an extension of its client.
//
//   const prisma = new PrismaClient({ adapter }).$extends(once({ defaults, conditions }));
//   await prisma.$transaction(async (tx) => { if (await claim(tx, "ci_failure", build, repo)) ... });
//   const [book, created] = await prisma.book.findOrCreate({ title: "Dune", author: "Frank Herbert" });
//   await prisma.payment.withRowLock({ serviceId: 1, lineItemId: "A" }, async (payment, tx) => { ... });
//
// defaults    what Prisma Client would fill: @updatedAt, @default(uuid()). At run time it does not say which those are.
// conditions  values that belong to every key of a model: { Payment: { deletedAt: null } } where rows are deleted softly.
import { Prisma } from "./generated/index.js";

// True in exactly one committed transaction for these parts.
export async function claim(tx, ns, ...parts) {
  const [{ won }] = await tx.$queryRaw`SELECT claim_once(${ns}, VARIADIC ${parts.map(String)}::text[]) AS won`;
  return won;
}

// Whether the lock is held, until the transaction has ended.
export async function withLock(tx, ns, key, timeout = null) {
  const [{ held }] = await tx.$queryRaw`SELECT with_lock(${ns}, ${key}, ${interval(timeout)}::interval) AS held`;
  return held;
}

export function once({ defaults: ofModels = {}, conditions = {} } = {}) {
  return Prisma.defineExtension((client) => {
    const request = (name, key, defaults) => {
      const whole = { ...conditions[name], ...key };
      const made = Object.entries({ ...ofModels[name]?.(), ...defaults }).filter(([field]) => !(field in whole));
      return [target(name), json(name, Object.entries(whole)), json(name, made)];
    };
    // The row with the names and types of the schema, as it is now.
    const read = (db, name, id) => db[name[0].toLowerCase() + name.slice(1)].findUniqueOrThrow({ where: { id } });

    return client.$extends({
      model: {
        $allModels: {
          // The one row with this key and whether it was created; without a unique index too.
          async findOrCreate(key, defaults = {}) {
            const name = Prisma.getExtensionContext(this).$name;
            const [table, whole, made] = request(name, key, defaults);
            const [{ created, id }] = await client.$queryRaw`
              SELECT created, (entity).id FROM find_or_create(${table}, ${whole}::jsonb, ${made}::jsonb)`;
            return [await read(client, name, id), created];
          },

          // Calls `work` with the one row with this key, found or created in turn, locked until `work` has ended, and
          // with the transaction that holds it. Null, and no call, when it could not be had within `timeout` seconds.
          // Prisma ends a transaction after 5 seconds, waiting included, where `transaction` does not say otherwise.
          withRowLock(key, work, { defaults = {}, timeout = null, transaction = {} } = {}) {
            const name = Prisma.getExtensionContext(this).$name;
            return client.$transaction(async (tx) => {
              const [table, whole, made] = request(name, key, defaults);
              const [row] = await tx.$queryRaw`
                SELECT id FROM with_row_lock(${table}, ${whole}::jsonb, ${made}::jsonb, ${interval(timeout)}::interval)`;
              return row ? work(await read(tx, name, row.id), tx) : null;
            }, transaction);
          },
        },
      },
    });
  });
}

function target(name) {
  const { dbName } = model(name);
  return Prisma.raw(`NULL::"${(dbName ?? name).replaceAll('"', '""')}"`);
}

function json(name, values) {
  const { fields } = model(name);
  const columns = values.map(([field, value]) => {
    const known = fields.find((one) => one.name === field);
    if (!known) throw new Error(`${name} has no ${field}`);
    return [known.dbName ?? field, value];
  });
  return JSON.stringify(Object.fromEntries(columns), (_, value) => (typeof value === "bigint" ? String(value) : value));
}

function model(name) {
  return Prisma.dmmf.datamodel.models.find((one) => one.name === name);
}

function interval(seconds) {
  return seconds === null ? null : `${seconds} seconds`;
}
