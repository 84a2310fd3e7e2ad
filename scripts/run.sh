#!/usr/bin/env bash
# The main job without hardware: a real broker with TLS on loopback, the agent on the demo clip,
# and a subscriber that shows the reads as the central server would get them. Ctrl-C stops all.
#
#   RUN_DIR=DIR     where certificates, outbox and logs go (.cache/run)
#   LIST=FILE       an alert list in our own CSV format instead of the demo's
#   COUNT=N         stop after N distinct reads instead of at Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."

run=${RUN_DIR:-.cache/run}
milepost=target/release/milepost
broker_port=${BROKER_PORT:-8883}
page=${PAGE:-127.0.0.1:8480}
mkdir -p "$run"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

scripts/pki.sh "$run/pki" >&2

pids=()
stop() {
    trap - EXIT INT TERM
    # The agent first, so that it can still send; then the broker.
    for pid in "${pids[1]:-}" "${pids[0]:-}"; do
        [ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    say "stopped; logs are in $run"
}
trap stop EXIT
# Ctrl-C is the way to end this, not a failure.
trap 'exit 0' INT TERM

# In sessions of their own: Ctrl-C reaches the subscriber and this script, which stops the agent
# while the broker still takes its last messages.
setsid scripts/broker.sh "$run" "$broker_port" >"$run/broker.log" 2>&1 &
pids[0]=$!

sed -e "s|^broker = .*|broker = \"localhost:$broker_port\"|" -e "s|^listen = .*|listen = \"$page\"|" \
    -e "s|\"\.\./\.cache/run/|\"$(realpath "$run")/|g" -e "s|\"\.\./|\"$PWD/|g" edge-agent/default.toml > "$run/milepost.toml"
"$milepost" check --config "$run/milepost.toml" >&2
setsid "$milepost" run --config "$run/milepost.toml" 2>"$run/agent.log" &
pids[1]=$!

# Neither may be missing unnoticed: a port that is taken is said here, not waited for.
await() { # what, pid, log, port
    for _ in $(seq 100); do
        kill -0 "$2" 2>/dev/null || { say "the $1 did not start:"; tail -n 3 "$3" >&2; exit 1; }
        (exec 3<>"/dev/tcp/127.0.0.1/$4") 2>/dev/null && return
        sleep 0.1
    done
    say "the $1 does not answer on port $4; see $3"
    exit 1
}
await broker "${pids[0]}" "$run/broker.log" "$broker_port"
await agent "${pids[1]}" "$run/agent.log" "${page##*:}"

# An alert list of made-up entries, as an authority would sign it: one plate of the clip, and one that looks
# like another.
if [ -n "${LIST:-}" ]; then
    cp "$LIST" "$run/demo.csv"
else
    printf 'plate,state,kind,id\n5OPE098,CA,stolen vehicle,demo-1\n6JVI659,ID,felony warrant,demo-2\n' > "$run/demo.csv"
fi
"$milepost" list sign "$run/demo.csv" --format csv --list demo --number "$(date +%s)" --audience demo-pd \
    --agency "Demo PD" --purpose "demonstration" --source-at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    --certificate "$run/pki/lists.crt" --key "$run/pki/lists.key" --out "$run/lists" >&2

say "local page: http://$page/   agent log: $run/agent.log"
say "reads as the central server gets them (Ctrl-C stops):"
"$milepost" watch --broker "localhost:$broker_port" \
    --ca "$run/pki/ca.crt" --cert "$run/pki/server.crt" --key "$run/pki/server.key" \
    --agency demo-pd --receipts --lists "$run/lists" ${COUNT:+--count "$COUNT"} ${WATCH_ARGS:-}
