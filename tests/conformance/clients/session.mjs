// One session: a statement a line comes in as JSON, its outcome goes out as a line of JSON.
import { createInterface } from "node:readline";

export async function serve(run) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { sql, with: parameters = [] } = JSON.parse(line);
    console.log(JSON.stringify(await run(sql, parameters)));
  }
  process.exit(0);
}
