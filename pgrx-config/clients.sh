#!/bin/sh
# clients.sh installs what the clients in tests/conformance and examples need, with the packages of
# Node and Python in target/clients and target/venv. It prints the path of that Python.
set -eu
. "$(dirname "$0")/places.sh"

"$CONFIG/packages.sh" pgbouncer:pgbouncer nodejs:node npm:npm default-jdk-headless:javac \
    libpostgresql-jdbc-java libgoogle-gson-java ruby:ruby ruby-pg ruby-activerecord ruby-minitest \
    golang-go:go golang-github-lib-pq-dev php-cli:php php-pgsql libdbd-pg-perl >&2

python=$("$CONFIG/pip.sh" --requirement "$ROOT/tests/conformance/requirements.txt" \
    --requirement "$ROOT/examples/powertools/requirements.txt" \
    --requirement "$ROOT/examples/sqlalchemy/requirements.txt")

mkdir -p "$TARGET/clients"
one_at_a_time "$TARGET/clients.lock"
cd "$ROOT"
node -p 'JSON.stringify({
    private: true,
    type: "module",
    dependencies: Object.assign({}, ...process.argv.slice(1).map((file) => require(file).dependencies)),
})' ./tests/conformance/package.json ./examples/drizzle/package.json ./examples/prisma/package.json \
    >"$TARGET/clients/package.json"
# No install scripts: Prisma's would download its engines.
npm install --prefix "$TARGET/clients" --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error \
    >"$LOGS/npm.log" 2>&1 || {
    cat "$LOGS/npm.log" >&2
    exit 1
}
echo "$python"
