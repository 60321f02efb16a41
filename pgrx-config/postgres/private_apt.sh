# shellcheck shell=sh
# Sourced: an apt that reads this machine's sources into lists of its own, needs no root and installs nothing.

APT=$PG_HOME/apt
mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"

# One at a time: what others read is not rewritten meanwhile.
private_apt() {
    flock "$APT/lock" apt-get -qq -o Dir::State::Lists="$APT/lists" -o Dir::Cache="$APT/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@" </dev/null >&2
}

# The archive that this machine's own Debian comes from.
debian_archive() {
    flock "$APT/lock" apt-get -o Dir::State::Lists="$APT/lists" -o Dir::Cache="$APT/cache" indextargets \
        --format "\$(ORIGIN) \$(REPO_URI)" 'Created-By: Packages' "Codename: $1" |
        sed -n 's/^Debian //p' | head -n 1
}

# libraries_of FILE.deb...: the packages of libraries that these packages need, the first of each choice.
libraries_of() {
    for package in "$@"; do
        dpkg-deb -f "$package" Depends Pre-Depends
    done | tr ,: '\n' | sed -n 's/^ *\(lib[^ |]*\).*/\1/p' | grep -v -e '-dev$' -e perl | sort -u
}
