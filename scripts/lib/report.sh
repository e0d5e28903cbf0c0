# shellcheck shell=bash
# Steps and their negative controls: runs each, prints its result and duration, keeps the table for the end.
#
# A step is a function that fails by `set -e`. It may call `note TEXT` for the table's last column. Its control is the same
# client with the feature off, which must fail, and with one of the exit codes that belong to that failure: a client
# that dies of something else proves nothing.

report_init() {
    REPORT_DIR=$1
    REPORT_JOB=
    mkdir -p "$REPORT_DIR"
    : >"$REPORT_DIR/steps"
    GREEN='' RED='' PLAIN=''
    [[ ! -t 1 ]] || GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
}

heading() { printf '\n%s\n' "$*"; }

# Inside a step: the figure worth showing.
note() { printf '%s\n' "$*" >"$NOTE"; }

# Inside a step: ends it with a reason.
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# Runs FUNCTION ARGS… in a process group of its own, output in a log; sets OUTCOME (exit code), LOG, NOTE and SECONDS_TAKEN.
run_logged() {
    local name=$1 begin end
    shift
    LOG="$REPORT_DIR/${name//[^A-Za-z0-9]/-}.log" NOTE="$REPORT_DIR/note"
    rm -f "$NOTE"
    begin=$(date +%s%N)
    set -m
    (set -euo pipefail; "$@") </dev/null >"$LOG" 2>&1 &
    REPORT_JOB=$!
    set +m
    OUTCOME=0
    wait "$REPORT_JOB" 2>/dev/null || OUTCOME=$?
    REPORT_JOB=
    end=$(date +%s%N)
    SECONDS_TAKEN=$(printf '%d.%01d' $(((end - begin) / 1000000000)) $(((end - begin) / 100000000 % 10)))
}

# step NAME FUNCTION ARGS… : FUNCTION must succeed.
step() {
    local name=$1 result=passed
    shift
    printf '  %-38s ' "$name"
    run_logged "$name" "$@"
    ((OUTCOME == 0)) || result=failed
    local remark=''
    [[ -s $NOTE ]] && remark=$(<"$NOTE")
    printf '%s%s%s %6s s  %s\n' "$([[ $result == passed ]] && echo "$GREEN" || echo "$RED")" "$result" "$PLAIN" \
        "$SECONDS_TAKEN" "$remark"
    [[ $result == passed ]] || { show_log; remark=$(why "$remark"); }
    printf '%s\t%s\t%s\t%s\t%s\n' step "$name" "$result" "$SECONDS_TAKEN" "$remark" >>"$REPORT_DIR/steps"
}

# control NAME "CODES" FUNCTION ARGS… : with the feature off, the client of step NAME must fail with one of CODES.
control() {
    local name=$1 codes=" $2 " result=passed remark=
    shift 2
    printf '  %-38s ' "without: ${name%%,*}"
    run_logged "without $name" "$@"
    [[ $codes == *" $OUTCOME "* ]] || result=failed
    if [[ $result == passed ]]; then
        printf '%sfails, as it must%s %s s\n' "$GREEN" "$PLAIN" "$SECONDS_TAKEN"
    else
        printf '%sexit code %s, expected one of:%s%s\n' "$RED" "$OUTCOME" "$codes" "$PLAIN"
        show_log
        remark=$(why "exit code $OUTCOME, expected one of:$codes")
    fi
    printf '%s\t%s\t%s\t%s\t%s\n' control "$name" "$result" "$SECONDS_TAKEN" "$remark" >>"$REPORT_DIR/steps"
}

# skip NAME REASON : a step that cannot run here, said aloud.
skip() {
    printf '  %-38s skipped: %s\n' "$1" "$2"
    printf 'step\t%s\tskipped\t-\t%s\n' "$1" "$2" >>"$REPORT_DIR/steps"
}

# why REMARK : that, and the last thing the step said.
why() { printf '%s%s' "${1:+$1; }" "$(tail -n 1 "$LOG" | tr '\t' ' ')"; }

show_log() { tail -n 25 "$LOG" | sed 's/^/      | /'; }

# Prints the table, what failed, and the counts; fails if anything failed, or a step that ran has no control.
report_table() {
    : >"$REPORT_DIR/table"
    heading "Summary"
    awk -F '\t' '
        $1 == "step"    { order[++n] = $2; result[$2] = $3; took[$2] = $4; remark[$2] = $5; count[$3]++ }
        $1 == "control" { without[$2] = $3 == "passed" ? "fails (right)" : "WRONG"; wrong[$2] = $5; count[$3]++ }
        END {
            printf "  %-38s %-8s %8s  %-14s %s\n", "step", "result", "seconds", "feature off", "figure"
            for (i = 1; i <= n; i++) {
                name = order[i]
                if (!(name in without)) without[name] = "-"
                if (without[name] == "-" && result[name] != "skipped") { without[name] = "NO CONTROL"; count["failed"]++ }
                printf "  %-38s %-8s %8s  %-14s %s\n", name, result[name], took[name], without[name], remark[name]
            }
            for (i = 1; i <= n; i++) {
                name = order[i]
                if (result[name] == "failed") printf "FAILED: %s: %s\n", name, remark[name]
                if (without[name] == "WRONG") printf "FAILED: without: %s: %s\n", name, wrong[name]
                if (without[name] == "NO CONTROL") printf "FAILED: %s has no control\n", name
            }
            printf "\n%d passed, %d failed, %d skipped\n", count["passed"], count["failed"], count["skipped"]
            exit count["failed"] > 0 || count["passed"] == 0
        }' "$REPORT_DIR/steps"
}

# Ends a step that is under way, and what it started.
report_abort() {
    [[ -z ${REPORT_JOB:-} ]] || kill -TERM -- "-$REPORT_JOB" 2>/dev/null || true
}
