use std::env;

use crate::database;

/// How to go on by hand. PSQL says where psql is, if it is not on the PATH.
pub fn print() {
    println!(
        "
The server is still running. Connect, in two terminals:

  {psql} -h {host} -p {port} -U {user} {name}

  first:   BEGIN; SELECT claim_once('ci_failure', 4711, 'org/repo');  -- true
  second:  SELECT claim_once('ci_failure', 4711, 'org/repo');         -- waits
  first:   COMMIT;   -- the second is told false; after ROLLBACK it is told true

The same with a payment: SELECT * FROM with_payment_lock(1, 'LI-00000');
Stop the server: make stop",
        psql = env::var("PSQL").unwrap_or_else(|_| "psql".into()),
        host = database::host(),
        port = database::port(),
        user = database::user(),
        name = database::NAME,
    );
}
