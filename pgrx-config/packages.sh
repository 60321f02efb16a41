#!/bin/sh
# packages.sh PACKAGE[:COMMAND]... installs the Debian packages that are missing.
# A package with a command counts as present when the command is, wherever it came from.
set -eu
. "$(dirname "$0")/places.sh"

present() {
    case $1 in
    *:*) command -v "${1#*:}" >/dev/null ;;
    *) dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed ;;
    esac
}

missing=
for wanted in "$@"; do
    present "$wanted" || missing="$missing ${wanted%%:*}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    die "missing here:$missing (names of Debian packages; install their equivalents)"
elif is_root; then
    apt='env DEBIAN_FRONTEND=noninteractive apt-get'
elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
    apt='sudo env DEBIAN_FRONTEND=noninteractive apt-get'
else
    die "missing here, and neither root nor sudo to install them: apt-get install$missing"
fi

# Suites run side by side; apt-get is for one at a time.
exec 9>"$TARGET/packages.lock"
flock 9
echo "installing$missing" >&2
log=$LOGS/packages.log
# shellcheck disable=SC2086 # both are lists of words
{
    $apt -o DPkg::Lock::Timeout=300 update || echo "apt-get update failed; trying with the lists that are here"
    $apt -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing
} >"$log" 2>&1 </dev/null || {
    tail -n 20 "$log" >&2
    die "could not install$missing (whole log: $log)"
}
