#!/usr/bin/env bash
# What a frame costs, how fast a clip is replayed, how much memory that takes, how long a read takes
# from its exposure to the broker's acknowledgement and to the server's receipt, and what the outbox
# and the uplink do. Quote ratios within one run: machines differ.
set -euo pipefail
cd "$(dirname "$0")/.."

milepost=target/release/milepost
clip=.cache/clip/demo.mp4
out=.cache/bench
mkdir -p "$out"

# A CPU set of one and of two: the decoder's threads count like the models'.
taskset -c 0 "$milepost" replay "$clip" --json --decode-only 2>/dev/null | tail -1 > "$out/decode.json"
taskset -c 0 "$milepost" replay "$clip" --json --threads 1 2>/dev/null | tail -1 > "$out/one.json"
taskset -c 0,1 "$milepost" replay "$clip" --json --threads 2 2>/dev/null | tail -1 > "$out/two.json"

# The live path, at the clip's own pace, through a real broker.
rm -rf "$out/run"
while sleep 1; do
    (exec 3<>/dev/tcp/127.0.0.1/18480 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3) 2>/dev/null || true
done > "$out/metrics.txt" &
sampler=$!
trap 'kill "$sampler" 2>/dev/null || true' EXIT
# Every plate of the clip is wanted: each pass gives an alert, once the list is in force.
/usr/bin/python3 - .cache/clip/truth.json > "$out/wanted.csv" <<'PY'
import json, sys
print("plate,id")
for n, passed in enumerate(json.load(open(sys.argv[1]))["passes"]):
    print(f"{passed['text']},{n}")
PY
LIST="$out/wanted.csv" RUN_DIR="$out/run" BROKER_PORT=18883 PAGE=127.0.0.1:18480 COUNT=20 WATCH_ARGS="--json --timeout-s 120" \
    RUST_LOG=info,milepost::uplink=debug scripts/run.sh > "$out/watch.jsonl" 2> "$out/run.log"
kill "$sampler"

# Outbox and uplink without a camera, on this folder's disk.
target/release/outbox-bench --out "$out" > "$out/outbox.md"
# What reaches the disk is counted on one that nobody else writes to.
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$out/disk"
truncate -s 1G "$out/disk.img"
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$out/disk.img"
if mount -o loop "$out/disk.img" "$out/disk" 2>/dev/null; then
    trap 'umount "$out/disk"' EXIT
    target/release/outbox-bench --out "$out/disk" --only wear >> "$out/outbox.md"
    umount "$out/disk"
    trap - EXIT
else
    echo "| written to the disk a read, kB | not measured: needs root and a loop device |" >> "$out/outbox.md"
fi
rm -f "$out/disk.img"

/usr/bin/python3 - "$out" <<'PY'
import json, pathlib, re, statistics, sys
from datetime import datetime
out = pathlib.Path(sys.argv[1])
decode, one, two = (json.loads((out / f"{n}.json").read_text()) for n in ["decode", "one", "two"])
ms = one["ms_per_frame"]
when = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))
captured, alerts = {}, {}
for line in (out / "watch.jsonl").read_text().splitlines():
    event = json.loads(line) if line.startswith("{") else {}
    if event.get("kind") == "read":
        captured[int(event["event"]["sequence"])] = event["event"]["data"]
    if event.get("kind") == "alert":
        alerts[int(event["event"]["sequence"])] = event["event"]["data"]
plain = re.sub(r"\x1b\[[0-9;]*m", "", (out / "run/agent.log").read_text())
waits, after = [], []
for stamp, sequence in re.findall(r"^(\S+) .*acknowledged by the broker sequence=(\d+)", plain, re.M):
    read = captured.get(int(sequence))
    if read:
        waits.append((when(stamp) - when(read["captured_at"])).total_seconds())
        after.append((when(stamp) - when(read["last_seen_at"])).total_seconds())
seen = {read["read_id"]: when(read["last_seen_at"]) for read in captured.values()}
alerted, previewed = [], []
for stamp, sequence in re.findall(r"^(\S+) .*acknowledged by the broker sequence=(\d+)", plain, re.M):
    alert = alerts.get(int(sequence))
    if alert and alert["read_id"] in seen:
        wait = (when(stamp) - seen[alert["read_id"]]).total_seconds()
        (previewed if alert["preview"] else alerted).append(wait)
resident = [int(n) for n in re.findall(r"^alpr_process_resident_bytes (\d+)", (out / "metrics.txt").read_text(), re.M)]
receipts, after_receipt = [], []
for stamp, sequences in re.findall(r"^(\S+) .*receipted sequences=\[([0-9, ]*)\]", plain, re.M):
    for read in filter(None, (captured.get(int(n)) for n in sequences.split(","))):
        receipts.append((when(stamp) - when(read["captured_at"])).total_seconds())
        after_receipt.append((when(stamp) - when(read["last_seen_at"])).total_seconds())
def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")
three = lambda values: " / ".join(f"{percentile(values, share):.2f}" for share in [.5, .95, .99])
rows = [
    ("decode, ms a frame (1080p H.264, one core)", f"{decode['ms_per_frame']['all']:.2f}"),
    ("detect, ms a frame", f"{ms['detect']:.2f}"),
    ("read, ms a frame", f"{ms['read']:.2f}"),
    ("all, ms a frame, one core", f"{ms['all']:.2f}"),
    ("replay on one core, frames/s", f"{one['frames_per_s']:.1f} ({one['frames_per_s'] / 30:.2f} × real time)"),
    ("replay on two cores, frames/s", f"{two['frames_per_s']:.1f} ({two['frames_per_s'] / 30:.2f} × real time)"),
    ("peak resident memory, MB", f"{one['peak_rss_bytes'] / 1e6:.0f}"),
    ("peak resident memory of the agent on the live path, MB", f"{max(resident, default=0) / 1e6:.0f}"),
    ("pass's last frame to its alert's acknowledgement, s, p50 / p95 / p99", three(alerted)),
    ("the same to the preview of the alert", three(previewed)),
    ("best frame's exposure to acknowledgement, s, p50 / p95 / p99", three(waits)),
    ("pass's last frame to acknowledgement, s, p50 / p95 / p99", three(after)),
    ("best frame's exposure to the server's receipt, with photos, s, p50 / p95 / p99", three(receipts)),
    ("pass's last frame to the server's receipt, with photos, s, p50 / p95 / p99", three(after_receipt)),
]
print("| figure | value |\n| --- | ---: |")
for name, value in rows:
    print(f"| {name} | {value} |")
print((out / "outbox.md").read_text(), end="")
print(f"\n{len(waits)} reads timed to the acknowledgement, {len(receipts)} to the receipt, {len(alerted)} alerts, {len(previewed)} previews.")
PY

printf '\n'
LIST_PLOT="$PWD/$out/lists.svg" cargo bench --quiet --package milepost --bench lists
echo "plotted in $out/lists.svg"
printf '\n'
cargo bench --quiet --package milepost --bench precision
