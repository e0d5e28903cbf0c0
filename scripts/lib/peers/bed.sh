# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names shared with scripts/bench-peers and its other files
# What all peers of scripts/bench-peers share: the cores, huge pages, processes that can be paused, and what is written down.
#
# The forwarding thread has the last core for itself; all other threads, and the generator, share the one before it. Peers of a case
# live at the same time and are paused but for their windows, so that what else the machine does hits all of them.
#
# Each peer is a file that has the same functions. NAME_available says on its output what is missing, and fails; NAME_takes does so for
# what it has no room for. NAME_start SINK starts it, NAME_sessions tells how many it has, NAME_window SECONDS prints `nanoseconds packets
# lost`, NAME_faults counts what may not happen in a window, NAME_stop ends it.

PEERS=scripts/lib/peers
HUGE=/proc/sys/vm/nr_hugepages
declare -A PROCESS=()
NETNS=()

bed_init() {
    RUN=ces-peers-$$
    WORK=$(mktemp -d "/tmp/$RUN.XXXXXX")
    RECORDS=$WORK/records CHECKS=$WORK/checks
    : >"$RECORDS"
    CORE=$(($(nproc) - 1)) OTHER_CORE=$(($(nproc) - 2))
    HERTZ=0
    PAGES_BEFORE=$(<"$HUGE") CONNTRACK_BEFORE=()
    take_precedence
    # What processes read: nothing. A line there ends testpmd.
    mkfifo "$WORK/nothing"
    exec {NOTHING}<>"$WORK/nothing"
}

bed_down() {
    local name
    echo >&"$NOTHING"
    for name in "${!PROCESS[@]}"; do process_end "$name"; done
    for name in "${NETNS[@]}"; do
        # shellcheck disable=SC2046  # one argument a process
        kill -KILL $(ip netns pids "$name" 2>/dev/null) 2>/dev/null || true
        ip netns delete "$name" 2>/dev/null
    done
    [[ $(<"$HUGE") == "$PAGES_BEFORE" ]] || echo "$PAGES_BEFORE" >"$HUGE"
    ((${#CONNTRACK_BEFORE[@]} == 0)) || sysctl -qw "${CONNTRACK_BEFORE[@]}"
    give_precedence_back
    rm -rf "$WORK" "/run/dpdk/$RUN"-* "/run/dpdk/ces-$RUN"-*
}

say() { printf 'bench-peers: %s\n' "$*" >&2; }

# wait_for SECONDS COMMAND… : until it succeeds.
wait_for() {
    local deadline=$((SECONDS + $1 + 1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { say "not within the time: $*"; return 1; }
        sleep 0.1
    done
}

# ---- processes ----

# process NAME COMMAND… : starts it, with its output in a log.
process() {
    local name=$1
    shift
    "$@" <&"$NOTHING" >"$WORK/$name.log" 2>&1 &
    PROCESS[$name]=$!
}

# What it said last; fails.
show_log() {
    tail -n 5 "$WORK/$1.log" >&2
    return 1
}

# hertz_by NAME : the rate of the time stamp counter, as the log of a testpmd has it. Nothing else tells it to a script.
hertz_by() {
    HERTZ=$(sed -n 's/.*TSC frequency is ~\([0-9]*\) KHz.*/\1000/p' "$WORK/$1.log")
    HERTZ=${HERTZ:-0}
}

process_pause() { kill -STOP "${PROCESS[$1]}"; }
process_go_on() { kill -CONT "${PROCESS[$1]}"; }

# Ends it, by force after five seconds: a device that cannot send keeps some from ending.
process_end() {
    local pid=${PROCESS[$1]:-} tenths
    [[ -n $pid ]] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true
    for ((tenths = 0; tenths < 50; tenths++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    unset "PROCESS[$1]"
}

# A line in its input is what testpmd waits for. If it ended before it read that, the next one must not.
testpmd_end() {
    echo >&"$NOTHING"
    process_end "$1"
    while read -r -t 0 -u "$NOTHING"; do read -r -u "$NOTHING"; done
}

# netns_add NAME : a network namespace, gone with the bed.
netns_add() {
    NETNS+=("$1")
    ip netns add "$1"
    ip -n "$1" link set lo up
}

netns_delete() {
    local left=() name
    for name in "${NETNS[@]}"; do [[ $name == "$1" ]] || left+=("$name"); done
    NETNS=("${left[@]}")
    ip netns delete "$1"
}

# ---- the case ----

# case_is BED FRAME FLOWS : what is replayed now. A buffer holds the largest frame and 128 bytes of headroom; sockets want 2 kB.
case_is() {
    FRAME=$2 FLOWS=$3
    CAPTURE=$WORK/$FRAME-$FLOWS.pcap
    DATA_ROOM=2176
    [[ $1:$FRAME != memory:64 ]] || DATA_ROOM=256
    REPLAYING=2
    [[ $1 == memory ]] || REPLAYING=1
    # A replay keeps a buffer for each of its packets.
    MBUFS=$((FLOWS + 32767))
}

case_capture() { [[ -e $CAPTURE ]] || python3 "$PEERS/capture.py" write "$CAPTURE" "$FLOWS" "$FRAME"; }
case_capture_gone() { rm -f "$CAPTURE"; }

# Huge pages of 2 MB that the case needs: buffers of who replays (the floor and `ces`, or the generator), the sessions of `ces`, and
# buffers of Open vSwitch, or of the sockets.
case_pages() { echo $(((REPLAYING * MBUFS * (DATA_ROOM + 256) + FLOWS * 400) / 2097152 + 500)); }

pages_free() { awk '/^HugePages_Free:/ { print $2 }' /proc/meminfo; }

# pages_reserve COUNT : sees to so many free ones, as far as there is memory.
pages_reserve() {
    local free tries
    free=$(pages_free)
    ((free < $1)) || return 0
    echo $(($(<"$HUGE") + $1 - free)) >"$HUGE"
    # Memory in pieces: the kernel joins them if it is asked to, and has more of them without files it can read again.
    for ((tries = 0; tries < 3 && $(pages_free) < $1; tries++)); do
        ((tries == 0)) || echo 1 >/proc/sys/vm/drop_caches
        echo 1 >/proc/sys/vm/compact_memory
        echo $(($(<"$HUGE") + $1 - $(pages_free))) >"$HUGE"
    done
    say "$(<"$HUGE") huge pages reserved for this run, $PAGES_BEFORE before and afterwards"
}

# ---- what is written down ----

# record BED PEER ROUND NANOSECONDS PACKETS LOST
record() {
    printf 'figure\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$FRAME" "$FLOWS" "$3" "$4" "$5" "$6" \
        "$(cut -d ' ' -f 1 /proc/loadavg)" >>"$RECORDS"
}

# skipped BED PEER REASON : said aloud, and in the table.
skipped() {
    printf 'skipped\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$FRAME" "$FLOWS" "$3" >>"$RECORDS"
    say "$2, $FRAME bytes, $FLOWS flows: $3"
}

# loses BED NANOSECONDS PACKETS LOST : more than may be. In memory nothing may be lost. Between kernel and socket is a ring, and who
# empties it shares the core with who fills it: up to one in a hundred, told beside the figure.
loses() {
    [[ $1 == veth ]] || { (($4 > 0)); return; }
    (($4 * 100 > $3))
}

# measure BED PEER ROUND [FUNCTIONS] : a window of a peer whose sessions live, written down if it checks;
# it fails if not. FUNCTIONS is what those of the
# peer begin with, where that is not its name.
# shellcheck disable=SC2086  # $window is three fields
measure() {
    local of=${4:-$2} window before after sessions
    before=$("${of}_faults")
    window=$("${of}_window" "$WINDOW" 2>"$WORK/window") || { skipped "$1" "$2" "round $3: $(tail -n 1 "$WORK/window")"; return 1; }
    after=$("${of}_faults")
    sessions=$("${of}_sessions")
    if [[ $sessions != "$FLOWS" ]]; then
        skipped "$1" "$2" "round $3 is no figure: $sessions sessions"
    elif [[ $after != "$before" || -z $after ]]; then
        skipped "$1" "$2" "round $3 is no figure: drops went from $before to $after"
    elif loses "$1" $window; then
        skipped "$1" "$2" "round $3 is no figure: $window are nanoseconds, packets and lost ones"
    else
        record "$1" "$2" "$3" $window
        return 0
    fi
    return 1
}
