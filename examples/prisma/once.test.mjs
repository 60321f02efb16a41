// node once.test.mjs, with a database that migrate.sh has migrated in PGHOST, PGDATABASE...
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { prisma } from "./database.mjs";
import { claim, withLock } from "./once.mjs";

const patient = { timeout: 60_000, maxWait: 60_000 };

// What a process of its own can do.
const work = {
  fail: (buildId) => prisma.$transaction(async (tx) => {
    const won = await claim(tx, "ci_failure", buildId, "org/repo");
    if (won) await tx.buildFailure.create({ data: { buildId, repo: "org/repo" } });
    return won;
  }, patient),
  create: async (key) => {
    const [book, created] = await prisma.book.findOrCreate(key, { edition: 2 });
    return [String(book.id), created];
  },
  pay: async (key, times, amount) => {
    for (let time = 0; time < times; time++) {
      await prisma.payment.withRowLock(key, (payment, tx) => add(tx, payment, amount), { transaction: patient });
    }
  },
};

function add(tx, { id, amount }, more) {
  return tx.payment.update({ where: { id }, data: { amount: amount.add(more) } });
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
  await prisma.$queryRaw`SELECT 1`;
  process.on("message", async ([name, ...values]) => {
    process.send(await work[name](...values).then((value) => ({ value }), (error) => ({ error: String(error) })));
  });
  process.on("disconnect", () => prisma.$disconnect());
  process.send("ready");
}

// By a sequential scan: an index could be what is wrong.
function rows(model, where) {
  return prisma.$transaction(async (tx) => {
    for (const scan of ["indexscan", "indexonlyscan", "bitmapscan"]) {
      await tx.$executeRawUnsafe(`SET LOCAL enable_${scan} = off`);
    }
    return tx[model].findMany({ where, orderBy: { id: "asc" } });
  }, patient);
}

async function newKey() {
  const { id } = await prisma.service.create({ data: { name: "a service" } });
  return { serviceId: Number(id), lineItemId: "A" };
}

const number = () => randomInt(2 ** 47);

let processes;

function tests() {
  before(async () => {
    processes = await start(8);
  });
  after(() => {
    for (const process of processes) process.disconnect();
    return prisma.$disconnect();
  });

  test("one of eight processes sends the message", async () => {
    const buildId = number();
    const told = await atOnce(8, "fail", buildId);
    assert.equal(told.filter((won) => won).length, 1);
    assert.equal((await rows("buildFailure", { buildId })).length, 1);
  });

  test("eight processes create one book", async () => {
    const key = { title: `Dune ${number()}`, author: "Frank Herbert" };
    const told = await atOnce(8, "create", key);
    assert.equal(new Set(told.map(([id]) => id)).size, 1);
    assert.equal(told.filter(([, created]) => created).length, 1);
    assert.deepEqual((await rows("book", key)).map(({ edition, tags }) => [edition, tags]), [[2, []]]);
  });

  test("eight processes add up", async () => {
    const key = await newKey();
    await atOnce(8, "pay", key, 10, 1);
    assert.deepEqual((await rows("payment", key)).map(({ amount }) => Number(amount)), [80]);
  });

  test("a new row is as the schema would make it", async () => {
    const key = await newKey();
    const before = new Date();
    await prisma.payment.withRowLock(key, (payment) => {
      assert.deepEqual([payment.status, Number(payment.amount), payment.deletedAt], ["PENDING", 0, null]);
      assert.match(payment.publicId, /^[0-9a-f-]{36}$/);
      assert.ok(before <= payment.updatedAt && payment.updatedAt <= new Date());
    }, { transaction: patient });
    const defaults = { status: "PAID", amount: "1.50" };
    await prisma.payment.withRowLock({ ...key, lineItemId: "B" }, (payment) => {
      assert.deepEqual([payment.status, Number(payment.amount)], ["PAID", 1.5]);
    }, { defaults, transaction: patient });
  });

  // @updatedAt and @default(uuid()) make columns that are NOT NULL and have no default in the database.
  test("without what Prisma Client fills the row cannot be created", async () => {
    const key = JSON.stringify({ service_id: (await newKey()).serviceId, line_item_id: "A", deleted_at: null });
    await assert.rejects(prisma.$queryRaw`SELECT id FROM with_row_lock(NULL::payments, ${key}::jsonb)`, /23502|null value/i);
  });

  test("a deleted payment is not found", async () => {
    const key = await newKey();
    await prisma.payment.withRowLock(key, ({ id }, tx) =>
      tx.payment.update({ where: { id }, data: { deletedAt: new Date() } }), { transaction: patient });
    await atOnce(8, "pay", key, 1, 1);
    const found = await rows("payment", key);
    assert.deepEqual(found.map(({ deletedAt, amount }) => [deletedAt === null, Number(amount)]), [[false, 0], [true, 8]]);
  });

  // A process that loads the row, waits for the lock and then writes a sum made of its old values overwrites what others
  // have committed.
  test("a row that was loaded before the lock loses an update", async () => {
    const addTwice = async (which) => {
      const key = await newKey();
      await work.pay(key, 1, 0);
      const [loaded] = await rows("payment", key);
      await atOnce(1, "pay", key, 1, 10);
      await prisma.payment.withRowLock(key, (locked, tx) => add(tx, which(loaded, locked), 10), { transaction: patient });
      return (await rows("payment", key)).map(({ amount }) => Number(amount));
    };
    assert.deepEqual(await addTwice((loaded) => loaded), [10]);
    assert.deepEqual(await addTwice((_, locked) => locked), [20]);
  });

  test("a timeout is an answer", async () => {
    const key = await newKey();
    await prisma.payment.withRowLock(key, async () => {
      const asked = prisma.payment.withRowLock(key, () => assert.fail(), { timeout: 0.05, transaction: patient });
      assert.equal(await asked, null);
    }, { transaction: patient });
  });

  test("a named lock is one caller's", () => prisma.$transaction(async (tx) => {
    assert.equal(await withLock(tx, "nightly", "report"), true);
    await prisma.$transaction(async (other) => assert.equal(await withLock(other, "nightly", "report", 0.05), false), patient);
  }, patient));
}

if (process.send) await play();
else tests();
