#!/bin/sh
# archive.sh looks at the archive for PGXN: META.json by PGXN's own validator, and that what it names is there; and that
# the workflow tests the versions that are tested here.
set -eu
. "$(dirname "$0")/suite.sh"

tools=$TARGET/tools/pgxn_meta-$PGXN_META
[ -x "$tools/bin/pgxn_meta" ] ||
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$tools" "pgxn_meta@$PGXN_META" ||
    die "pgxn_meta could not be built"
"$CONFIG/packages.sh" unzip:unzip
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
"$CONFIG/package.sh"
unpacked=$TARGET/package/archive
rm -rf "$unpacked"
unzip -q "$TARGET/package/pg_once-$version.zip" -d "$unpacked"
cd "$unpacked/pg_once-$version"

passed=0 failed=0
expect() {
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "not so: $*"
    fi
}
field() {
    sed -n "s/^ *\"$1\": \"\([^\"]*\)\",\{0,1\}\$/\1/p" META.json
}
expect "$tools/bin/pgxn_meta" META.json
expect [ "$(field version | sort -u)" = "$(printf '1.0.0\n%s' "$version" | sort -u)" ]
for file in $(field file) $(field docfile) Makefile LICENSE; do
    expect [ -f "$file" ]
done
tested=$(sed -n 's/^ *postgresql: \[\(.*\)\]$/\1/p' "$ROOT/.github/workflows/test.yml" | tr -d ,)
expect [ "$tested" = "$PG_VERSIONS" ]

outcome $passed $failed
