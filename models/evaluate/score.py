"""Score plate readings against labelled photos and print a Markdown table.

    milepost read --json photos/us-scenes/*.jpg > us-scenes.jsonl
    python -m models.evaluate.score ../shared/data/evaluate/us-scenes=us-scenes.jsonl [folder=reads ...]

The rules are those of models/evaluate/outcome.py. With `--baseline FILE` the exact texts of each set must not
have become fewer than the file says, by more than chance: the standard error of so many plates. `--update`
writes the file instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from .outcome import Outcome, Outcomes, outcomes

#: Shares of the plates that may be left unread, for the accuracy of the rest.
ABSTAIN = (0.05, 0.1, 0.2)


def rate(hits: int, total: int) -> str:
    """Share in per cent with the count."""
    return f"{100 * hits / total:.1f} % ({hits}/{total})" if total else ""


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equal-width bins."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(sum(abs(confidence[index == b].mean() - right[index == b].mean()) * (index == b).mean()
                     for b in range(bins) if (index == b).any()))


def abstaining(plates: list[Outcome], share: float) -> float:
    """Share of right texts (folded) once `share` of the plates, those that are least sure, are left unread."""
    kept = sorted(plates, key=lambda o: -(o.seen.confidence if o.text else -1.0))[: round(len(plates) * (1 - share))]
    return sum(o.folded for o in kept) / max(1, len(kept))


def figures(result: Outcomes) -> dict[str, str]:
    """The row of one set."""
    if not result.plates:
        return {"photos": str(len(result.photos)), "plates seen where none is, a 1000 photos": f"{1000 * len(result.spare) / max(1, len(result.photos)):.0f}",
                "photos with a false text": rate(len({photo for photo, _ in result.false_texts}), len(result.photos))}
    row = {"photos": str(len(result.photos)), "recall": rate(sum(o.seen is not None for o in result.plates), len(result.plates)),
           "plates seen where none is, a 1000 photos": f"{1000 * len(result.spare) / len(result.photos):.0f}",
           "texts where no plate is labelled": str(len(result.false_texts))}
    return row | text_figures(result.texts)


def text_figures(plates: list[Outcome]) -> dict[str, str]:
    """Figures of plates whose text is known."""
    if not plates:
        return {}
    characters = sum(len(o.label.text) for o in plates)
    read, stated = [o for o in plates if o.text], [o for o in plates if o.state_known]
    row = {"strict": rate(sum(o.strict for o in plates), len(plates)), "folded": rate(sum(o.folded for o in plates), len(plates)),
           "characters": f"{100 * (1 - sum(o.errors for o in plates) / characters):.1f} %"}
    if stated:
        row["state"] = rate(sum(o.state_right for o in stated), len(stated))
    if read:
        confidence, right = np.array([o.seen.confidence for o in read]), np.array([o.folded for o in read], float)
        row["calibration error"] = f"{calibration_error(confidence, right):.3f}"
    for share in ABSTAIN:
        row[f"folded, least sure {100 * share:.0f} % unread"] = f"{100 * abstaining(plates, share):.1f} %"
    return row


def table(rows: dict[str, dict[str, str]], first: str = "set") -> str:
    """A Markdown table of rows by name."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [f"| {first} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(row.get(column, "") for column in columns) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def worse(result: Outcomes, before: dict[str, int]) -> str:
    """What has become worse than `before` by more than chance; empty where nothing has."""
    now = counts(result)
    if now["plates"] != before["plates"]:
        return f"{result.name}: the baseline is of another set ({before['plates']} plates, now {now['plates']}); write it anew with --update"
    said = []
    if now["false"] > before["false"] + max(1.0, before["false"] ** 0.5):
        said.append(f"{result.name}: {now['false']} false texts, were {before['false']}")
    for key in ("found", "strict", "folded", "state"):
        hits = before[key]
        if not before["plates"]:
            break
        share = hits / before["plates"]
        allowed = hits - max(1.0, (before["plates"] * share * (1 - share)) ** 0.5)
        if now[key] < allowed:
            said.append(f"{result.name}: {key} {now[key]} of {now['plates']}, was {hits}")
    return "; ".join(said)


def counts(result: Outcomes) -> dict[str, int]:
    """What a baseline holds."""
    return {"plates": len(result.texts), "found": sum(o.seen is not None for o in result.texts),
            "strict": sum(o.strict for o in result.texts), "folded": sum(o.folded for o in result.texts),
            "state": sum(o.state_right for o in result.texts), "false": len(result.false_texts)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="FOLDER=READS")
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    results = [outcomes(Path(folder), Path(reads)) for folder, _, reads in (entry.rpartition("=") for entry in options.sets)]
    print(table({result.name: figures(result) for result in results}))
    if options.baseline and options.update:
        options.baseline.write_text(json.dumps({result.name: counts(result) for result in results}, indent=1) + "\n")
    elif options.baseline:
        before = json.loads(options.baseline.read_text())
        said = [problem for result in results if (problem := worse(result, before.get(result.name, {"plates": -1})))]
        if said:
            sys.exit("worse than the baseline by more than chance: " + "; ".join(said))


if __name__ == "__main__":
    main()
