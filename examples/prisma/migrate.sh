#!/bin/sh
# Generates the client and runs `prisma migrate deploy` for the database in PGHOST, PGDATABASE..., with prisma in PATH.
#
# With the JavaScript engine, see prisma.config.mjs, no binary is needed. The CLI would download them all the same, unless
# their paths are given: these are never run.
set -eu
export PRISMA_QUERY_ENGINE_LIBRARY=/bin/true PRISMA_SCHEMA_ENGINE_BINARY=/bin/true PRISMA_HIDE_UPDATE_MESSAGE=1
export DATABASE_URL="postgres://$PGUSER@$PGHOST:$PGPORT/$PGDATABASE"
prisma generate
prisma migrate deploy
