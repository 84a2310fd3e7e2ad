"""Score `milepost replay --json` on a rendered clip against the renderer's truth.

    python -m models.evaluate.score_clip truth.json replay.jsonl

A read belongs to the pass whose plate was where the read's corners are in the read's frame. A pass
with two reads is a duplicate; a read that belongs to no pass is invented. Characters are compared
as they are ("strict") and after O→0, I→1 ("folded").
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .outcome import fold, iou


def box(corners: list[list[float]]) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of four corners in pixels."""
    xs, ys = [p[0] for p in corners], [p[1] for p in corners]
    return min(xs), min(ys), max(xs), max(ys)


def owner(passes: list[dict], frame: int | None, corners: list[list[float]]) -> int | None:
    """Index of the pass whose plate overlaps the corners most in that frame (or the next to it)."""
    best, found = 0.3, None
    for i, one in enumerate(passes):
        for seen in one["frames"]:
            if frame is not None and abs(seen["frame"] - frame) <= 1:
                overlap = iou(box(seen["corners"]), box(corners))
                if overlap > best:
                    best, found = overlap, i
    return found


def score(truth: dict, lines: list[dict]) -> dict:
    """Counts by kind ("day", "ir", "all"), with the passes that went wrong."""
    passes = truth["passes"]
    reads = [line for line in lines if line["kind"] == "read"]
    of_pass: dict[int, list[str]] = {}
    invented = []
    for line in reads:
        text = line["read"]["plate_text"]
        i = owner(passes, line["frame"], line["read"]["plate_corners_px"])
        if i is None:
            invented.append(text)
        else:
            of_pass.setdefault(i, []).append(text)
    kinds = {}
    for kind in ["day", "ir", "all"]:
        these = [i for i, p in enumerate(passes) if kind in ("all", p["kind"])]
        best = {i: of_pass[i] for i in these if i in of_pass}
        kinds[kind] = {
            "passes": len(these),
            "exact": sum(passes[i]["text"] in t for i, t in best.items()),
            "folded": sum(fold(passes[i]["text"]) in map(fold, t) for i, t in best.items()),
            "duplicates": sum(len(t) - 1 for t in best.values()),
            "missed": [passes[i]["text"] for i in these if i not in of_pass],
            "wrong": [(passes[i]["text"], t) for i, t in best.items() if passes[i]["text"] not in t],
        }
    states = [
        (passes[i]["state"], line["read"]["state"]["code"] if line["read"]["state"] else "")
        for line in reads
        if (i := owner(passes, line["frame"], line["read"]["plate_corners_px"])) is not None
        and passes[i]["state"].startswith("US-")
    ]
    return {
        "kinds": kinds,
        "invented": invented,
        "state_right": sum(a == b for a, b in states),
        "states": len(states),
        "unread": sum(line["kind"] == "unread_pass" for line in lines),
        "summary": next((line for line in lines if line["kind"] == "summary"), {}),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("replay", type=Path)
    parser.add_argument("--json", action="store_true", help="the counts as JSON")
    options = parser.parse_args()
    truth = json.loads(options.truth.read_text())
    lines = [json.loads(line) for line in options.replay.read_text().splitlines() if line.strip()]
    result = score(truth, lines)
    if options.json:
        print(json.dumps(result))
        return
    print("| demo clip | passes | read exactly | folded | duplicates | missed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, r in result["kinds"].items():
        share = 100 * r["exact"] / max(1, r["passes"])
        print(f"| {kind} | {r['passes']} | {r['exact']} ({share:.1f} %) | {r['folded']} | {r['duplicates']} | {len(r['missed'])} |")
    print(f"\ninvented reads: {len(result['invented'])}; unread passes: {result['unread']}; "
          f"state right: {result['state_right']} of {result['states']}")
    for kind in ["day", "ir"]:
        for truth_text, texts in result["kinds"][kind]["wrong"]:
            print(f"- {kind}: {truth_text} was read as {', '.join(texts)}")
        for text in result["kinds"][kind]["missed"]:
            print(f"- {kind}: {text} was not read")


if __name__ == "__main__":
    main()
