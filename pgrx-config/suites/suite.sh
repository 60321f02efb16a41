# shellcheck shell=sh
# Sourced by each suite. A suite's last line says "N passed, N failed"; it succeeds when something passed and nothing failed.

. "$(dirname "$0")/../places.sh"
unset RUST_BACKTRACE
major=${1:-}

outcome() {
    passed=$1 failed=$2
    [ $((passed + failed)) -gt 0 ] || echo "no tests"
    echo "$passed passed, $failed failed"
    [ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
}

# cargo_test COMMAND...: shows what cargo says and adds up its summaries. An ignored test counts as failed,
# as does a test binary that ends without a summary.
cargo_test() {
    said=$(mktemp)
    { "$@" 2>&1 && echo "cargo: success"; } | tee "$said"
    # shellcheck disable=SC2046 # two numbers
    outcome $(awk '
        /^test result: / { passed += $4; failed += $6 + $8 }
        /^cargo: success$/ { success = 1 }
        END { print passed + 0, failed || success ? failed + 0 : 1 }' "$said") && ended=0 || ended=1
    rm "$said"
    return "$ended"
}

# copy_server NAME: sets pg_config to that of a copy of the server of PostgreSQL $major, into which something may be
# installed; remove_copy removes it.
copy_server() {
    original=$("$CONFIG/pg_config.sh" "$major")
    # A server that was provisioned here is copied with the libraries beside it.
    case $original in
    "$PG_HOME/$major/"*) home=$PG_HOME/$major ;;
    *) home=$(dirname "$(dirname "$original")") ;;
    esac
    copy=$PG_HOME/$1-$major
    rm -rf "$copy"
    cp -a "$home" "$copy"
    pg_config=$copy${original#"$home"}
    for place in --bindir --pkglibdir --sharedir; do
        case $("$pg_config" $place) in
        "$copy"/*) ;;
        *) die "the copy of $original still points to $("$pg_config" $place)" ;;
        esac
    done
    export "PG_CONFIG_$major=$pg_config"
}

remove_copy() {
    rm -rf "$copy"
}

# golden PROGRAM INPUT SOURCES EXTENSION [BEGINNING]: compares what the server answers with what is written in
# INPUT/expected, for all sources or those of this beginning.
golden() {
    program=$1 input=$ROOT/tests/$2 sources=$3 extension=$4 beginning=${5:-}
    name=test-$major-$2
    output=$TARGET/tests/$major/$2
    settings=$input/postgresql.conf
    [ -f "$settings" ] || settings=/dev/null
    pg_config=$("$CONFIG/pg_config.sh" "$major")
    program=$(dirname "$("$pg_config" --pgxs)")/../test/$program
    [ -x "$program" ] || die "PostgreSQL $major comes without $program"

    names=
    unexpected=0
    for source in "$input/$sources/$beginning"*."$extension"; do
        [ -f "$source" ] || continue
        test=$(basename "$source" ".$extension")
        names="$names $test"
        if [ ! -f "$input/expected/$test.out" ]; then
            echo "$test: there is no $input/expected/$test.out to compare with"
            unexpected=$((unexpected + 1))
        fi
    done
    if [ -z "$names" ] || [ "$unexpected" -gt 0 ]; then
        outcome 0 "$unexpected"
        return
    fi

    "$CONFIG/cluster.sh" drop "$name"
    trap '"$CONFIG/cluster.sh" drop "$name"' EXIT
    socket=$("$CONFIG/cluster.sh" start "$name" "$major" "$settings")
    rm -rf "$output"
    mkdir -p "$output"
    # shellcheck disable=SC2086 # a list of words
    "$program" --inputdir="$input" --outputdir="$output" --bindir="$("$pg_config" --bindir)" \
        --host="$socket" --port=5432 --user=postgres --dbname=pg_once --encoding=UTF8 \
        --load-extension=pg_once $names 2>&1 | tee "$output/said" || true
    trap - EXIT
    "$CONFIG/cluster.sh" drop "$name"
    [ ! -s "$output/regression.diffs" ] || cat "$output/regression.diffs"
    # The form of the first two is PostgreSQL 16's and later, of the others 15's.
    # shellcheck disable=SC2046 # two numbers
    outcome $(awk '
        /^ok / { passed++ }
        /^not ok / { failed++ }
        /^test .* \.\.\. ok / { passed++ }
        /^test .* \.\.\. FAILED/ { failed++ }
        END { print passed + 0, failed + 0 }' "$output/said")
}
