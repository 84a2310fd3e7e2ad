"""Score plate readings against labelled photos and print a Markdown table.

    milepost read --json photos/us-scenes/*.jpg > us-scenes.jsonl
    python -m models.evaluate.score ../shared/data/evaluate/us-scenes=us-scenes.jsonl [folder=reads ...]

Each line of a reads file is one photo: `file`, and `plates`, best first, each with `text`,
`confidence`, `corners` (four x, y pairs) and `box` [x, y, width, height] in pixels of the photo.

Rules: texts are upper case, only A-Z and 0-9 kept; *strict* compares the text with the label,
*folded* does so after O->0 and I->1 on both sides; a detection counts at IoU >= 0.5 of axis-aligned
boxes. A labelled photo without a line in the reads counts as missed. In scenes the text compared is
that of the best plate which overlaps the label; `best in photo` takes the best plate wherever it is.
For crops of single plates the best plate's text counts, wherever it was found.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

FOLD = str.maketrans("OI", "01")


def clean(text: str) -> str:
    """Upper case, only A-Z and 0-9."""
    return "".join(c for c in text.upper() if c.isascii() and c.isalnum())


def fold(text: str) -> str:
    """A text with the characters made equal that plates don't tell apart."""
    return text.translate(FOLD)


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of boxes x1, y1, x2, y2."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def read_lines(path: Path) -> dict[str, list[dict]]:
    """Plates by file name (without folders)."""
    plates = {}
    for line in path.read_text().splitlines():
        if line.strip():
            entry = json.loads(line)
            plates[Path(entry["file"]).name] = entry.get("plates") or []
    return plates


def read_labels(folder: Path) -> list[dict]:
    """Label rows with a float `box` (None where unknown) and a clean `text`; [] for photos without plates."""
    path = folder / "labels.csv"
    if not path.exists():
        return []
    rows = []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            box = tuple(float(row[k]) for k in ("x1", "y1", "x2", "y2")) if row["x1"] else None
            whole = box is None or (box[2] - box[0]) * (box[3] - box[1]) > 0.95 * float(row["width"]) * float(row["height"])
            rows.append({"image": Path(row["image"]).name, "box": box, "text": clean(row["text"]), "whole": whole})
    return rows


def corners_box(plate: dict) -> tuple[float, ...]:
    """x1, y1, x2, y2 of a plate."""
    x, y, w, h = plate["box"]
    return (x, y, x + w, y + h)


def rate(hits: int, total: int) -> str:
    """Share in per cent with the count."""
    return f"{100 * hits / total:.1f} % ({hits}/{total})" if total else "-"


def score_scenes(labels: list[dict], reads: dict[str, list[dict]]) -> dict[str, str]:
    """Figures of photos with a box and a text."""
    found = strict = folded = best_strict = best_folded = characters = errors = texts = 0
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for label in labels:
        boxes.setdefault(label["image"], []).append(label["box"])
        plates = reads.get(label["image"], [])
        over = [p for p in plates if iou(corners_box(p), label["box"]) >= 0.5]
        found += bool(over)
        if not label["text"]:
            continue
        texts += 1
        text = clean(over[0].get("text") or "") if over else ""
        best = clean(plates[0].get("text") or "") if plates else ""
        strict += text == label["text"]
        folded += fold(text) == fold(label["text"])
        best_strict += best == label["text"]
        best_folded += fold(best) == fold(label["text"])
        characters += len(label["text"])
        errors += min(len(label["text"]), edit_distance(fold(text), fold(label["text"])))
    spare = sum(not any(iou(corners_box(p), b) >= 0.5 for b in boxes.get(image, [])) for image, plates in reads.items() for p in plates)
    return {"photos": str(len(boxes)), "recall": rate(found, len(labels)), "strict": rate(strict, texts),
            "folded": rate(folded, texts), "best in photo strict": rate(best_strict, texts),
            "best in photo folded": rate(best_folded, texts),
            "characters": f"{100 * (1 - errors / max(1, characters)):.1f} %", "other plates found": str(spare)}


def score_crops(labels: list[dict], reads: dict[str, list[dict]]) -> dict[str, str]:
    """Figures of crops that show one plate each."""
    labels = [label for label in labels if label["text"]]
    strict = folded = characters = errors = any_read = 0
    for label in labels:
        plates = reads.get(label["image"], [])
        text = clean(plates[0].get("text") or "") if plates else ""
        any_read += bool(text)
        strict += text == label["text"]
        folded += fold(text) == fold(label["text"])
        characters += len(label["text"])
        errors += min(len(label["text"]), edit_distance(fold(text), fold(label["text"])))
    return {"photos": str(len(labels)), "recall": rate(any_read, len(labels)), "strict": rate(strict, len(labels)),
            "folded": rate(folded, len(labels)), "characters": f"{100 * (1 - errors / max(1, characters)):.1f} %"}


def score_empty(reads: dict[str, list[dict]]) -> dict[str, str]:
    """Figures of photos without a plate: every text is false."""
    photos = sum(any(clean(p.get("text") or "") for p in plates) for plates in reads.values())
    texts = sum(bool(clean(p.get("text") or "")) for plates in reads.values() for p in plates)
    return {"photos": str(len(reads)), "photos with a false text": rate(photos, len(reads)),
            "false plates": str(sum(map(len, reads.values()))), "false texts": str(texts)}


def score(folder: Path, reads: Path) -> dict[str, str]:
    """Figures of one folder, by what its labels are."""
    labels, plates = read_labels(folder), read_lines(reads)
    if not labels:
        return score_empty(plates)
    if sum(label["whole"] for label in labels) > len(labels) / 2:
        return score_crops(labels, plates)
    return score_scenes([label for label in labels if label["box"]], plates)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="FOLDER=READS")
    options = parser.parse_args()
    results = {}
    for entry in options.sets:
        folder, _, reads = entry.rpartition("=")
        results[Path(folder).name] = score(Path(folder), Path(reads))
    columns: list[str] = []
    for figures in results.values():
        columns += [key for key in figures if key not in columns]
    print("| set | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name, figures in results.items():
        print(f"| {name} | " + " | ".join(figures.get(column, "") for column in columns) + " |")


if __name__ == "__main__":
    main()
