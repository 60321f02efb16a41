// node once.test.mjs, with a database that `drizzle-kit migrate` has migrated in PGHOST, PGDATABASE...
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { and, asc, eq, sql } from "drizzle-orm";
import { db, pool } from "./database.mjs";
import { claim, findOrCreate, withLock, withRowLock } from "./once.mjs";
import { books, buildFailures, payments, services, webhookEvents } from "./schema.mjs";

// What a process of its own can do.
const work = {
  fail: (buildId) => db.transaction(async (tx) => {
    const won = await claim(tx, "ci_failure", buildId, "org/repo");
    if (won) await tx.insert(buildFailures).values({ buildId, repo: "org/repo" });
    return won;
  }),
  create: async (key) => {
    const [book, created] = await findOrCreate(db, books, key, { edition: 2 });
    return [book.id, created];
  },
  store: async (eventId) => (await findOrCreate(db, webhookEvents, { eventId }, { payload: { id: eventId } }))[1],
  pay: async (key, times, amount) => {
    for (let time = 0; time < times; time++) {
      await withRowLock(db, payments, key, (payment, tx) => add(tx, payment, amount));
    }
  },
};

function add(tx, payment, amount) {
  const sum = String(Number(payment.amount) + amount);
  return tx.update(payments).set({ amount: sum }).where(eq(payments.id, payment.id));
}

// Processes that are connected and wait for a message.
async function start(count) {
  const processes = Array.from({ length: count }, () => fork(new URL(import.meta.url)));
  await Promise.all(processes.map((process) => once(process, "message")));
  return processes;
}

// What work[name] returns in each of `count` processes, which all begin it at the same moment.
async function atOnce(count, name, ...values) {
  const chosen = processes.slice(0, count);
  const answers = chosen.map((process) => once(process, "message"));
  for (const process of chosen) process.send([name, ...values]);
  return (await Promise.all(answers)).map(([answer]) => {
    if (answer.error) throw new Error(answer.error);
    return answer.value;
  });
}

async function play() {
  await pool.query("SELECT 1");
  process.on("message", async ([name, ...values]) => {
    process.send(await work[name](...values).then((value) => ({ value }), (error) => ({ error: String(error.cause ?? error) })));
  });
  process.on("disconnect", () => pool.end());
  process.send("ready");
}

// By a sequential scan: an index could be what is wrong.
function rows(table, values) {
  return db.transaction(async (tx) => {
    for (const scan of ["indexscan", "indexonlyscan", "bitmapscan"]) {
      await tx.execute(sql.raw(`SET LOCAL enable_${scan} = off`));
    }
    const conditions = Object.entries(values).map(([name, value]) => eq(table[name], value));
    return tx.select().from(table).where(and(...conditions)).orderBy(asc(table.id));
  });
}

async function newKey() {
  const [service] = await db.insert(services).values({ name: "a service" }).returning();
  return { serviceId: service.id, lineItemId: "A" };
}

const living = { deletedAt: null };
const number = () => randomInt(2 ** 47);

let processes;

function tests() {
  before(async () => {
    processes = await start(8);
  });
  after(() => {
    for (const process of processes) process.disconnect();
    return pool.end();
  });

  test("one of eight processes sends the message", async () => {
    const buildId = number();
    const told = await atOnce(8, "fail", buildId);
    assert.equal(told.filter((won) => won).length, 1);
    assert.equal((await rows(buildFailures, { buildId })).length, 1);
  });

  test("eight processes create one book", async () => {
    const key = { title: `Dune ${number()}`, author: "Frank Herbert" };
    const told = await atOnce(8, "create", key);
    assert.equal(new Set(told.map(([id]) => id)).size, 1);
    assert.equal(told.filter(([, created]) => created).length, 1);
    assert.deepEqual((await rows(books, key)).map(({ edition, tags }) => [edition, tags]), [[2, []]]);
  });

  test("eight processes add up", async () => {
    const key = await newKey();
    await atOnce(8, "pay", { ...key, ...living }, 10, 1);
    assert.deepEqual((await rows(payments, key)).map(({ amount }) => amount), ["80.00"]);
  });

  test("a new row is as the model would make it", async () => {
    const key = { ...(await newKey()), ...living };
    const before = new Date();
    await withRowLock(db, payments, key, (payment) => {
      assert.deepEqual([payment.status, payment.amount, payment.cents, payment.deletedAt], ["pending", "0.00", "0", null]);
      assert.ok(before <= payment.createdAt && payment.createdAt <= new Date());
    });
    const defaults = { status: "paid", amount: "1.50" };
    await withRowLock(db, payments, { ...key, lineItemId: "B" }, (payment) => {
      assert.deepEqual([payment.status, payment.amount, payment.cents], ["paid", "1.50", "150"]);
    }, { defaults });
  });

  // $defaultFn and $onUpdateFn make columns that are NOT NULL and have no default in the database.
  test("without the defaults of the model the row cannot be created", async () => {
    const key = JSON.stringify({ service_id: (await newKey()).serviceId, line_item_id: "A", deleted_at: null });
    await assert.rejects(db.execute(sql`SELECT * FROM with_row_lock(NULL::payments, ${key})`), ({ cause }) => {
      assert.equal(cause.code, "23502");
      assert.match(cause.hint, /defaults/);
      return true;
    });
  });

  test("a deleted payment is not found", async () => {
    const key = await newKey();
    await withRowLock(db, payments, { ...key, ...living }, (payment, tx) =>
      tx.update(payments).set({ deletedAt: new Date() }).where(eq(payments.id, payment.id)));
    await atOnce(8, "pay", { ...key, ...living }, 1, 1);
    const found = await rows(payments, key);
    assert.deepEqual(found.map(({ deletedAt, amount }) => [deletedAt === null, amount]), [[false, "0.00"], [true, "8.00"]]);
  });

  test("eight processes store one event by its generated column", async () => {
    const eventId = `evt-${number()}`;
    const told = await atOnce(8, "store", eventId);
    assert.equal(told.filter((created) => created).length, 1);
    assert.deepEqual((await rows(webhookEvents, { eventId })).map(({ payload }) => payload), [{ id: eventId }]);
    const other = findOrCreate(db, webhookEvents, { eventId: `${eventId}-2` }, { payload: { id: `${eventId}-3` } });
    await assert.rejects(other, ({ cause }) => /does not have the key/.test(cause.message));
  });

  // A process that loads the row, waits for the lock and then writes a sum made of its old values overwrites what others
  // have committed.
  test("a row that was loaded before the lock loses an update", async () => {
    const addTwice = async (which) => {
      const key = await newKey();
      await work.pay({ ...key, ...living }, 1, 0);
      const [loaded] = await rows(payments, key);
      await atOnce(1, "pay", { ...key, ...living }, 1, 10);
      await withRowLock(db, payments, { ...key, ...living }, (locked, tx) => add(tx, which(loaded, locked), 10));
      return (await rows(payments, key)).map(({ amount }) => amount);
    };
    assert.deepEqual(await addTwice((loaded) => loaded), ["10.00"]);
    assert.deepEqual(await addTwice((_, locked) => locked), ["20.00"]);
  });

  test("a timeout is an answer", async () => {
    const key = { ...(await newKey()), ...living };
    await withRowLock(db, payments, key, async () => {
      assert.equal(await withRowLock(db, payments, key, () => assert.fail(), { timeout: 0.05 }), null);
    });
  });

  test("a named lock is one caller's", () => db.transaction(async (tx) => {
    assert.equal(await withLock(tx, "nightly", "report"), true);
    await db.transaction(async (other) => assert.equal(await withLock(other, "nightly", "report", 0.05), false));
  }));
}

if (process.send) await play();
else tests();
