// Claims by parts of JavaScript's types. What a program of parts does is said in parts.py.
// By default, and beside a cast: a Date is an instant, and has no date without a time zone.
const values = [
  ["integer", 4711],
  ["bigint", 9007199254740993n],
  ["text", "é, org/repo"],
  ["boolean", true],
  ["date", new Date(2026, 11, 1), "2026-12-01"],
  ["timestamptz", new Date("2026-12-01T12:34:56.789Z")],
  ["timestamp", "2026-12-01 12:34:56.789"],
  ["numeric", "12.5"],
  ["uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
  ["bytea", Buffer.from("fffe", "hex")],
  ["float8", 0.1 + 0.2],
  ["array", ["a", "b"]],
];

function typeOf(value) {
  return typeof value === "object" ? value.constructor.name : typeof value;
}

// claim(ns, value, cast) says whether it won.
export async function play(claim) {
  const [mode, ...namespaces] = process.argv.slice(2);
  for (const ns of namespaces) {
    for (const [kind, value, besideCast = value] of values) {
      const answer = { ns, kind, as: typeOf(value) };
      if (mode === "default") {
        await claim(`${ns} ${kind} ${answer.as}`, value, "").catch((error) => {
          answer.refused = /^[0-9A-Z]{5}$/.test(error.code) ? error.code : "driver";
        });
      } else if (kind === "array") continue;
      else answer.won = await claim(ns, besideCast, `::${kind}`);
      console.log(JSON.stringify(answer));
    }
  }
  process.exit(0);
}
