#!/bin/sh
# webhooks.sh makes sure that GitHub's example payloads are in target/demo/webhooks-examples.
set -eu
. "$(dirname "$0")/places.sh"

examples=$TARGET/demo/webhooks-examples
[ ! -d "$examples/package" ] || exit 0

"$CONFIG/packages.sh" npm:npm
echo "downloading $WEBHOOKS_EXAMPLES" >&2
fresh=$examples.$$
mkdir -p "$fresh"
cd "$fresh"
npm pack --silent "$WEBHOOKS_EXAMPLES" >/dev/null || die "npm could not download $WEBHOOKS_EXAMPLES"
tar -xzf ./*.tgz
rm ./*.tgz
rm -rf "$examples"
mv "$fresh" "$examples"
