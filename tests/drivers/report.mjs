// One line a check: run.sh counts them.

import { isDeepStrictEqual } from "node:util";

export function check(name, wanted, got) {
  if (isDeepStrictEqual(got, wanted)) console.log(`ok ${name}`);
  else console.log(`FAILED ${name}: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
}
