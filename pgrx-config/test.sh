#!/bin/bash
# test.sh [NN...] runs the suites on these versions of PostgreSQL, by default all on the newest stable one, and ends with
# "N passed, N failed". A suite that fails does not keep the others from running. Beside a stable version, a candidate
# for a release that cannot be provisioned here is NOT RUN, which is no failure.
#
# Three run side by side, since one suite leaves a part of two cores idle: one provides each version and builds for it,
# two test what is built.
set -euo pipefail
. "$(dirname "$0")/places.sh"

versions=${*:-$PG_NEWEST}
# The suites in SQL run on every version; those with random orders of events on the oldest, and where the server has
# assertions; those with sessions too on the newest stable version and on candidates. Crashes, attacks and clients depend
# little on the version: their suites run on the newest that there is. One version alone gets all.
oldest=${versions%% *}
complete=
stable=
for version in $versions; do
    if is_candidate "$version"; then complete="$complete $version"; else stable=$version; fi
done
complete=" $(xargs <<<"$stable $complete") "
# Those with the most suites come first, so that the testers are never without work.
# shellcheck disable=SC2086 # lists of words
in_order=$(printf '%s\n' $oldest $complete $PG_ASSERTING $versions | awk -v all=" $versions " \
    '!seen[$0]++ && index(all, " " $0 " ")' | xargs)
# The version that this machine's Debian has packages of.
packaged=$(sed -n "s/^DEBIAN_SUITE_\([0-9]*\)=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)\$/\1/p" "$CONFIG/versions.env")
suite_limit=1800
heartbeat=60
results=$LOGS/results
turns=$LOGS/turns
rm -rf "$turns"
mkdir "$turns"
: >"$results"
running=
workers=
trap '[[ -z $workers ]] || kill $workers 2>/dev/null' EXIT
trap 'exit 130' INT TERM

clock() {
    printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
}

tests_so_far() {
    grep -cE '^(test .* \.\.\. |ok |not ok )' "$1" || true
}

# Waits for a suite, says now and then how far it is, and ends it when it takes too long.
watch_over() {
    local name=$1 log=$2 started=$3 elapsed
    while kill -0 "$running" 2>/dev/null; do
        sleep 1
        elapsed=$((SECONDS - started))
        if ((elapsed % heartbeat == 0)); then
            printf '%s: %s, %s tests so far\n' "$name" "$(clock $elapsed)" "$(tests_so_far "$log")"
        fi
        if ((elapsed > suite_limit)); then
            echo "ended after $(clock $suite_limit), which is too long" >>"$log"
            kill -- "-$running" 2>/dev/null || true
        fi
    done
}

# run VERSION SUITE: VERSION is "once" for what does not depend on one.
run() {
    local version=$1 suite=$2 started=$SECONDS status=0 passed=0 failed=1
    local log=$LOGS/$version-$suite.log name="[$version] $suite"
    local arguments=()
    [[ $version = once ]] || arguments=("$version")
    echo "$name begins at $(clock $SECONDS)"

    set -m
    "$CONFIG/suites/$suite.sh" ${arguments[@]+"${arguments[@]}"} >"$log" 2>&1 </dev/null &
    running=$!
    set +m
    watch_over "$name" "$log" "$started"
    wait "$running" || status=$?
    running=

    if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}
        ((failed > 0 || (status == 0 && passed > 0))) || failed=1
    fi
    record "$version" "$suite" "$passed" "$failed" $((SECONDS - started))
    if ((failed > 0)); then
        tail -n 60 "$log" | sed 's/^/      | /'
        echo "      the whole log: $log"
    fi
    ((failed == 0))
}

record() {
    echo "$*" >>"$results"
    printf '[%s] %s: %d passed, %d failed, %s\n' "$1" "$2" "$3" "$4" "$(clock "$5")"
}

prepare_tools() {
    local started=$SECONDS
    echo "[once] tools"
    "$CONFIG/build_tools.sh" || {
        echo "0 passed, 1 failed" | tee "$LOGS/outcome"
        exit 1
    }
    echo "      $(cargo --version), $(cargo pgrx --version), $(clock $((SECONDS - started)))"
}

provision() {
    local version=$1 started=$SECONDS found status=0
    echo "[$version] postgres begins at $(clock $SECONDS)"
    found=$("$CONFIG/pg_config.sh" "$version") || status=$?
    if ((status == 0)); then
        echo "[$version] postgres: $("$found" --version) in $(dirname "$(dirname "$found")"), $(clock $((SECONDS - started)))"
    elif ((status == 3)) && is_candidate "$version" && [[ -n $stable ]]; then
        echo "[$version] NOT RUN: it cannot be provisioned here"
        touch "$turns/$version.not-run"
        return 1
    else
        record "$version" postgres 0 1 $((SECONDS - started))
        return 1
    fi
}

# What pgrx has installed holds its test functions too, so the extension is installed once more. What nothing waits for
# comes last.
build() {
    local version newest
    run once format || true
    for version in $in_order; do
        if provision "$version"; then
            # Before anything runs that would crash.
            run "$version" declarations || true
            run "$version" pgrx || true
            if run "$version" install; then touch "$turns/$version.installed"; fi
        fi
        [[ -e $turns/$version.installed || -e $turns/$version.not-run ]] ||
            echo "[$version] nothing else can run: nothing is installed"
        touch "$turns/$version.built"
    done
    # The code differs most between the oldest version and the newest.
    newest=$(newest)
    for version in $(printf '%s\n' "$oldest" "$newest" | uniq); do
        if [[ -e $turns/$version.installed ]]; then run "$version" clippy || true; fi
    done
    [[ -z $newest ]] || run "$newest" bench || true
    run once model || true
    run once demo || true
    run once archive || true
}

# Takes one turn after the other that the other tester has not taken.
try_out() {
    local turn version suite
    for turn in $(turns_of); do
        mkdir "$turns/$turn" 2>/dev/null || continue
        version=${turn%%:*}
        if [[ $version = newest ]]; then
            until is_built "$complete"; do sleep 1; done
            version=$(newest)
        fi
        until is_built "$version"; do sleep 1; done
        [[ -e $turns/$version.installed ]] || continue
        for suite in $(tr , ' ' <<<"${turn#*:}"); do
            # Others are being installed: pg_upgrade cannot lead from them.
            PG_ONCE_SERVERS=$(installed) run "$version" "$suite" || true
        done
    done
}

is_built() {
    local version
    for version in $1; do
        [[ -e $turns/$version.built || -e $turns/build.ended ]] || return
    done
}

# The newest complete version that is installed.
newest() {
    local version newest=
    for version in $complete; do
        if [[ -e $turns/$version.installed ]]; then newest=$version; fi
    done
    echo "$newest"
}

installed() {
    local version
    for version in $versions; do
        if [[ -e $turns/$version.installed ]]; then echo "$version"; fi
    done
}

# VERSION:SUITE,SUITE..., where VERSION may be the newest.
turns_of() {
    local version
    for version in $in_order; do
        if [[ $complete = *" $version "* ]]; then
            echo "$version:regress,isolation,sessions,schedules"
            # Where the last one is a candidate that is not to be had, the stable one is the newest.
            if [[ $complete = *" $version " ]]; then
                echo newest:conformance,examples,drivers,package,pgspot
                echo newest:attacks,history
            fi
        elif [[ $version = "$oldest" || " $PG_ASSERTING " = *" $version "* ]]; then
            echo "$version:regress,isolation,schedules"
        else
            echo "$version:regress,isolation"
        fi
        if [[ $version = "$packaged" ]]; then echo "$version:cron"; fi
    done
}

# start FUNCTION: beside the others. What it runs ends with it.
start() {
    (
        trap 'touch "$turns/$1.ended"; [[ -z $running ]] || kill -- "-$running" 2>/dev/null' EXIT
        trap 'exit 130' TERM
        "$1"
    ) &
    workers="$workers $!"
}

# What went wrong, in short, so that it stands at the end too.
failures() {
    local version suite failed
    while read -r version suite failed; do
        [[ -e $LOGS/$version-$suite.log ]] || continue
        echo "[$version] $suite: $failed failed"
        grep -E -A 5 '^(not ok |test .* (\.\.\. )?FAILED|thread .* panicked at |error(\[|:)|FAILED |.*ERROR: )' \
            "$LOGS/$version-$suite.log" | cut -c -600 | tail -n 24 | sed 's/^/      | /' || true
    done < <(awk '$4 > 0 { print $1, $2, $4 }' "$results")
}

not_run() {
    local version
    for version in $versions; do
        if [[ -e $turns/$version.not-run ]]; then echo "$version"; fi
    done
}

summary() {
    awk -v versions="$versions" -v not_run="$(not_run | xargs)" '
        BEGIN {
            count = split(not_run, column, " ")
            for (c = 1; c <= count; c++) left_out[column[c]]
            count = 0
        }
        {
            if (!($2 in seen)) { seen[$2]; suites[++count] = $2 }
            cell[$2, $1] = $3 ($4 ? " (" $4 " failed)" : "") sprintf(" %dm%02d", $5 / 60, $5 % 60)
            passed[$1] += $3; failed[$1] += $4; seconds[$1] += $5
        }
        END {
            columns = split(versions " once", column, " ")
            printf "%-12s", "passed, time"
            for (c = 1; c <= columns; c++) printf "%20s", (column[c] == "once" ? "once" : "PostgreSQL " column[c])
            print ""
            for (s = 1; s <= count; s++) {
                printf "%-12s", suites[s]
                for (c = 1; c <= columns; c++) {
                    value = cell[suites[s], column[c]]
                    printf "%20s", value == "" ? "-" : value
                }
                print ""
            }
            printf "%-12s", "together"
            for (c = 1; c <= columns; c++)
                printf "%20s", column[c] in left_out ? "NOT RUN" : \
                    passed[column[c]] + 0 (failed[column[c]] ? " (" failed[column[c]] " failed)" : "")
            print ""
            printf "%-12s", "minutes"
            for (c = 1; c <= columns; c++) printf "%20.1f", seconds[column[c]] / 60
            print ""
        }' "$results"
}

echo "PostgreSQL $versions; logs in $LOGS"
prepare_tools
start build
start try_out
start try_out
for worker in $workers; do
    wait "$worker" || record once tests 0 1 0
done
workers=

echo
summary
failures
echo "took $(clock $SECONDS)"
read -r passed failed < <(awk '{ passed += $3; failed += $4 } END { print passed + 0, failed + 0 }' "$results")
for version in $(not_run); do
    echo "PostgreSQL $version: NOT RUN, it cannot be provisioned here:"
    cat "$PG_HOME/$version.declined"
done
echo "$passed passed, $failed failed" | tee "$LOGS/outcome"
((failed == 0 && passed > 0))
