# shellcheck shell=sh
# Sourced: an apt that reads this machine's sources into lists of its own, needs no root and installs nothing.

APT=$PG_HOME/apt
mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"

private_apt() {
    apt-get -qq -o Dir::State::Lists="$APT/lists" -o Dir::Cache="$APT/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@" </dev/null >&2
}

# The archive that this machine's own Debian comes from.
debian_archive() {
    apt-get -o Dir::State::Lists="$APT/lists" indextargets \
        --format "\$(ORIGIN) \$(REPO_URI)" 'Created-By: Packages' "Codename: $1" |
        sed -n 's/^Debian //p' | head -n 1
}
