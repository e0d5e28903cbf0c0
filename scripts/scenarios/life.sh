# shellcheck shell=bash
# How cesd begins and ends: it drains on SIGTERM, guards its instance, and comes back after the worst. The ports are
# net_af_packet on veth here, because a tap would vanish with the process.

scenario_life() {
    heading "life: beginning and ending of cesd, ports on veth"
    # shellcheck disable=SC2034  # read in bed.sh
    local DEVICE=af_packet
    edge_up
    control "SIGTERM: exit 0 within 2 s" 1 life_ends_by 0
    step "SIGTERM: exit 0 within 2 s" life_ends_by TERM
    edge_up
    step "a second cesd is refused" life_second_refused
    edge_down
    control "a second cesd is refused" 124 life_second_refused
    edge_up
    step "SIGKILL: starts again at once" life_comes_back start
    edge_signal KILL
    wait_for 3 "cesd is gone" edge_ended
    control "SIGKILL: starts again at once" 1 life_comes_back
    edge_down
    veths_down
}

life_ping() { ping_all 5 home "$SERVER"; }

# With a download under way.
life_ends_by() {
    life_ping
    fetch home --limit-rate 20M -o /dev/null "http://$SERVER/200M" &
    local download=$! begin took
    sleep 0.3
    begin=$(date +%s%3N)
    edge_signal "$1"
    wait_for 2 "cesd ends" edge_ended || { kill "$download"; exit 1; }
    took=$(($(date +%s%3N) - begin))
    kill "$download"
    ((took <= 2000)) || fail "took $took ms"
    [[ $(<"$WORK/edge.status") == 0 ]] || fail "exit code $(<"$WORK/edge.status")"
    note "$took ms, exit 0, a download under way"
}

# Exit code 124: the cesd started here was not refused, it ran until it was told to end.
life_second_refused() {
    local status=0
    in_ns edge timeout 3 "$CESD" --config "$WORK/edge.toml" 2>&1 | tee "$WORK/second" || status=${PIPESTATUS[0]}
    ((status != 0)) || fail "exit code 0"
    ((status != 124)) || exit 124
    grep -q "$INSTANCE" "$WORK/second" || fail "its message does not name the instance"
    life_ping
    note "exit $status: $(tail -n 1 "$WORK/second" | cut -c 1-90)"
}

# SIGKILL, and with an argument a new start; then the host's next packets must pass.
life_comes_back() {
    local begin
    edge_signal KILL
    wait_for 3 "cesd is gone" edge_ended
    begin=$(date +%s%3N)
    (($# == 0)) || edge_start
    life_ping
    note "traffic again after $(($(date +%s%3N) - begin)) ms"
}
