#!/bin/bash
# mutants.sh NN [NAME...]  breaks a copy of the code as each patch of tests/mutants says, one at a time, builds it for
#                          PostgreSQL NN and runs the test that must notice: killed when the test fails, survived when it
#                          passes, stale when the patch no longer applies or no longer compiles. With MINUTES=60 it begins
#                          nothing after an hour. What was found of the same code is kept: the next run goes on, and the last
#                          one puts all parts together. Mutants that are named are run anew.
# mutants.sh table         prints the table of docs/mutants.md.
# mutants.sh check         whether every patch applies, has its header and stands in that table.
set -euo pipefail
. "$(dirname "$0")/places.sh"

patches=$ROOT/tests/mutants
document=$ROOT/docs/mutants.md
# A test that a mutant keeps from ending has failed.
test_limit=300

# field NAME WORD: what the header of a patch says.
field() {
    sed -n "/^--- /q; s/^$2: //p" "$patches/$1.patch"
}

names() {
    (cd "$patches" && find . -name '*.patch' | sed 's|^\./||; s|\.patch$||' | LC_ALL=C sort)
}

table() {
    local name
    echo '| mutant | what it breaks | guarantee | killed by | seen |'
    echo '|---|---|---|---|---|'
    for name in $(names); do
        echo "| \`$name\` | $(field "$name" breaks) | $(field "$name" guarantee) | \`$(field "$name" 'killed by')\` | $(field "$name" seen) |"
    done
}

# names_a_test TEST: whether there is such a file, and in it such a function.
names_a_test() {
    local file=${1%%::*}
    [[ -f $ROOT/$file ]] || return 1
    [[ $1 != *::* ]] || grep -q "^fn ${1##*::}()" "$ROOT/$file"
}

check() {
    local name word bad=0
    complain() {
        echo "tests/mutants/$name.patch: $*"
        bad=1
    }
    cd "$ROOT"
    for name in $(names); do
        git apply --check "$patches/$name.patch" || complain "it no longer applies"
        for word in breaks guarantee 'killed by' seen; do
            [[ -n $(field "$name" "$word") ]] || complain "its header lacks \"$word:\""
        done
        names_a_test "$(field "$name" 'killed by')" || complain "there is no test $(field "$name" 'killed by')"
    done
    diff <(table) <(sed -n '/^| mutant /,/^$/{/^$/d;p}' "$document") || {
        echo "docs/mutants.md has another table than \"pgrx-config/mutants.sh table\" prints"
        bad=1
    }
    return "$bad"
}

# The scratch copy holds what is here, but for files that git does not know of. It has builds and a server of its own.
# The builds begin with what has been built here, and are made for the same pg_config, so that only the extension is
# compiled again.
prepare() {
    local home state
    scratch=$TARGET/mutants
    tree=$scratch/tree
    mkdir -p "$scratch"
    "$CONFIG/build_tools.sh"
    built_for=$("$CONFIG/pg_config.sh" "$major")
    case $built_for in
    "$PG_HOME/$major/"*) home=$PG_HOME/$major ;;
    *) home=$(dirname "$(dirname "$built_for")") ;;
    esac
    copy=$PG_HOME/mutants-$major
    [[ -d $copy ]] || cp -a "$home" "$copy"
    PGRX_HOME=$("$CONFIG/pgrx_home.sh" "$major")
    PG_CONFIG=$copy${built_for#"$home"}
    export PGRX_HOME PG_CONFIG "PG_CONFIG_$major=$PG_CONFIG"
    if [[ ! -d $scratch/build && -d $TARGET/debug ]]; then
        mkdir -p "$scratch/build"
        cp -a "$TARGET/debug" "$scratch/build/"
    fi
    state=$(git -C "$ROOT" stash create)
    state=${state:-HEAD}
    state=$(git -C "$ROOT" rev-parse "$state")
    git -C "$ROOT" worktree prune
    if [[ -d $tree ]]; then
        git -C "$tree" reset -q --hard
        git -C "$tree" checkout -q --detach "$state"
    else
        git -C "$ROOT" worktree add -q --detach "$tree" "$state"
    fi
    code=$(git -C "$ROOT" ls-tree -r "$state" -- src sql tests Cargo.toml Cargo.lock pg_once.control |
        grep -v 'tests/mutants/' | sha256sum)
    findings=$scratch/findings-$major
    touch "$findings"
    trap restore EXIT
    trap 'exit 130' INT TERM
    export CARGO_TARGET_DIR=$scratch/build
    unset RUST_BACKTRACE
    mkdir -p "$scratch/logs"
}

restore() {
    git -C "$tree" reset -q --hard
}

# in_tree COMMAND...: in the scratch copy, whose scripts find its places by themselves.
in_tree() {
    (cd "$tree" && "$@")
}

has_injection_points() {
    "$built_for" --configure | grep -q enable-injection-points
}

install() {
    local features=pg$major
    ! has_injection_points || features=$features,injection_points
    rm -rf "$scratch/package"
    in_tree cargo pgrx package --debug --pg-config "$built_for" --no-default-features --features "$features" \
        --out-dir "$scratch/package" >"$1" 2>&1 </dev/null || return
    find "$scratch/package" -name 'pg_once.so' -exec cp {} "$("$PG_CONFIG" --pkglibdir)/" \;
    find "$scratch/package" \( -name 'pg_once--*.sql' -o -name 'pg_once.control' \) \
        -exec cp {} "$("$PG_CONFIG" --sharedir)/extension/" \;
}

# passes TEST LOG
passes() {
    local file=${1%%::*} name
    name=$(basename "${file%.*}")
    case $file in
    tests/sessions/*)
        in_tree timeout -k 10 "$test_limit" cargo test --quiet --package pg_once_sessions --test "$name" -- --exact "${1##*::}"
        ;;
    tests/attacks/*)
        in_tree timeout -k 10 "$test_limit" cargo test --quiet --package pg_once_attacks --test attacks -- --exact "$name::${1##*::}"
        ;;
    tests/declarations/*)
        in_tree timeout -k 10 "$test_limit" cargo test --quiet --package pg_once_declarations --test "$name" -- --exact "${1##*::}"
        ;;
    tests/interleavings/*)
        in_tree timeout -k 10 "$test_limit" cargo test --quiet --package pg_once_interleavings --test "$name" -- --exact "${1##*::}"
        ;;
    tests/schedules/*)
        # From the same seed each time.
        in_tree env SCHEDULE_SEED=1 SCHEDULE_SECONDS=60 timeout -k 10 "$test_limit" \
            cargo test --quiet --package pg_once_schedules --test "$name" -- --exact "${1##*::}"
        ;;
    tests/isolation/*) in_tree timeout -k 10 "$test_limit" pgrx-config/suites/isolation.sh "$major" "$name" ;;
    tests/pg_regress/*) in_tree timeout -k 10 "$test_limit" pgrx-config/suites/regress.sh "$major" "$name" ;;
    esac >"$2" 2>&1 </dev/null
}

# The first thing that a failed test said.
complaint() {
    awk '/^thread .* panicked at / { getline; print; exit } /^[-+][^-+]/ { print; exit }' "$1" | cut -c 1-200
}

# key TEXT: what a finding is kept under: that text, and the code.
key() {
    printf '%s\n' "$code" "$1" | sha256sum | cut -d ' ' -f 1
}

# of_mutant NAME: the same of a mutant.
of_mutant() {
    key "$1 $(sha256sum <"$patches/$1.patch")"
}

# kept KEY: what was found.
kept() {
    sed -n "s/^$1 //p" "$findings" | tail -n 1
}

keep() {
    echo "$1 $2" >>"$findings"
}

is_over() {
    [[ -n ${MINUTES:-} ]] && ((SECONDS >= MINUTES * 60))
}

# What does not pass without a mutant proves nothing with one.
demand_that_all_pass() {
    local name test log=$scratch/logs/unbroken.log failed=0
    [[ $# -gt 0 ]] || return 0
    echo "building the code as it is; the first time takes minutes; log in $log"
    install "$log" || {
        tail -n 20 "$log" >&2
        die "the build failed"
    }
    in_tree cargo test --quiet --no-run --package pg_once_sessions --package pg_once_attacks \
        --package pg_once_declarations >>"$log" 2>&1
    for test in $(for name in "$@"; do field "$name" 'killed by'; done | sort -u); do
        [[ -z $(kept "$(key "$test")") ]] || continue
        ! is_over || {
            echo "not all tests have been run without a mutant yet: the same command goes on with them"
            exit 1
        }
        if passes "$test" "$log"; then
            keep "$(key "$test")" passes
        else
            echo "without a mutant, $test fails: $(complaint "$log")"
            failed=1
        fi
    done
    ((failed == 0)) || die "nothing was broken yet"
}

# can_run NAME: whether this server has what the test needs; says so where it has not.
can_run() {
    [[ $(field "$1" 'killed by') = tests/interleavings/* ]] && ! has_injection_points || return 0
    echo "NOT RUN  $1: this server is built without injection points" >&2
    return 1
}

# verdict NAME
verdict() {
    local log=$scratch/logs/$1.log
    restore
    if ! git -C "$tree" apply "$patches/$1.patch" 2>"$log" || ! install "$log"; then
        echo stale
    elif passes "$(field "$1" 'killed by')" "$log"; then
        echo survived
    else
        echo killed
    fi
}

run() {
    local name result killed=0 others=0 left=0 named=$(($# - 1)) missing=()
    major=$1
    shift
    # shellcheck disable=SC2046 # a list of words
    [[ $# -gt 0 ]] || set -- $(names)
    for name in "$@"; do
        [[ -f $patches/$name.patch ]] || die "there is no tests/mutants/$name.patch"
    done
    prepare
    # shellcheck disable=SC2046 # a list of words
    set -- $(for name in "$@"; do can_run "$name" && echo "$name"; done)
    [[ $# -gt 0 ]] || die "nothing can run"
    for name in "$@"; do
        ((named == 0)) && [[ -n $(kept "$(of_mutant "$name")") ]] || missing+=("$name")
    done
    demand_that_all_pass "${missing[@]}"
    for name in "$@"; do
        result=
        ((named > 0)) || result=$(kept "$(of_mutant "$name")")
        if [[ -z $result ]]; then
            if is_over; then
                left=$((left + 1))
                continue
            fi
            result=$(verdict "$name")
            keep "$(of_mutant "$name")" "$result"
        fi
        printf '%-9s%s\n' "$result" "$name"
        case $result in
        killed)
            killed=$((killed + 1))
            printf '         %s\n' "$(complaint "$scratch/logs/$name.log")"
            ;;
        *)
            others=$((others + 1))
            echo "         log: $scratch/logs/$name.log"
            ;;
        esac
    done
    echo "$killed killed, $others survived or stale"
    ((left == 0)) || echo "$left not run yet: the same command goes on with them"
    ((others == 0 && left == 0))
}

case ${1:-} in
table) table ;;
check) check ;;
[0-9]*) run "$@" ;;
*)
    sed -n '/^set /q; s/^# //p' "$0" >&2
    exit 1
    ;;
esac
