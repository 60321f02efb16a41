// ci.mjs notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT
import pg from "pg";

async function notify(db, build, repo) {
  const { rows } = await db.query("SELECT claim_once('ci_failure', $1, $2) AS won", [build, repo]);
  return rows[0].won ? `sent: build ${build} of ${repo} failed` : "not sent";
}

async function pay(db, service_id, line_item_id, amount) {
  await db.query("BEGIN");
  const key = { service_id, line_item_id };
  const { rows: [payment] } = await db.query("SELECT id FROM with_row_lock(NULL::payments, $1)", [key]);
  const { rows: [paid] } = await db.query(
    "UPDATE payments SET amount = amount + $1 WHERE id = $2 RETURNING amount", [amount, payment.id]);
  await db.query("COMMIT");
  return paid.amount;
}

const [command, ...parameters] = process.argv.slice(2);
const db = new pg.Client();
await db.connect();
console.log(await { notify, pay }[command](db, ...parameters));
await db.end();
