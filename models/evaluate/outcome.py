"""What became of each labelled plate: found or not, read how, how sure, and what else was seen in the photo.

The rules by which every figure is compared: texts are upper case, only A-Z and 0-9 kept; *strict* compares
the text with the label, *folded* does so after O->0 and I->1 on both sides; a detection counts at IoU >= 0.5 of
axis-aligned boxes. A labelled photo without a line in the reads counts as missed. In scenes the text compared
is that of the best plate which overlaps the label; for crops of single plates it is the best plate's text,
wherever it was found.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

FOLD = str.maketrans("OI", "01")

Box = tuple[float, float, float, float]


def clean(text: str) -> str:
    """Upper case, only A-Z and 0-9."""
    return "".join(c for c in text.upper() if c.isascii() and c.isalnum())


def fold(text: str) -> str:
    """A text with the characters made equal that plates don't tell apart."""
    return text.translate(FOLD)


def iou(a, b) -> float:
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


@dataclass(frozen=True)
class Seen:
    """One plate as `milepost read --json` gives it; corners and box in pixels of the photo."""

    text: str
    confidence: float
    state: str
    corners: tuple[tuple[float, float], ...]
    box: Box


@dataclass(frozen=True)
class Label:
    """One labelled plate; box None where unknown, `whole` where the photo shows nothing but the plate."""

    photo: str
    box: Box | None
    text: str
    state: str
    whole: bool
    #: A plate that is no miss when it is not found, and not false when it is: too small to count.
    ignored: bool = False


@dataclass(frozen=True)
class Outcome:
    """A labelled plate and what was seen of it; seen is None where it was missed."""

    label: Label
    seen: Seen | None

    @property
    def text(self) -> str:
        """The text read; empty where there is none."""
        return self.seen.text if self.seen else ""

    @property
    def strict(self) -> bool:
        """Whether the text is the label's."""
        return self.text == self.label.text

    @property
    def folded(self) -> bool:
        """Whether the text is the label's but for O and 0, I and 1."""
        return fold(self.text) == fold(self.label.text)

    @property
    def errors(self) -> int:
        """Characters that are wrong, missing or too many after folding; never more than the label has."""
        return min(len(self.label.text), edit_distance(fold(self.text), fold(self.label.text)))

    @property
    def state_known(self) -> bool:
        """Whether the label names a state, not only a part of the world."""
        return bool(self.label.state)

    @property
    def state_right(self) -> bool:
        """Whether the state read is the label's."""
        return self.seen is not None and self.seen.state == self.label.state


@dataclass
class Outcomes:
    """All of one set."""

    name: str
    folder: Path
    photos: list[str] = field(default_factory=list)
    plates: list[Outcome] = field(default_factory=list)
    #: Plates seen where none is labelled, with their photo. In scenes some are real, and were not labelled.
    spare: list[tuple[str, Seen]] = field(default_factory=list)

    @property
    def texts(self) -> list[Outcome]:
        """The plates whose text is known."""
        return [o for o in self.plates if o.label.text]

    @property
    def false_texts(self) -> list[tuple[str, Seen]]:
        """Plates with a text where none is labelled, with their photo."""
        return [(photo, seen) for photo, seen in self.spare if seen.text]


def read_lines(path: Path) -> dict[str, list[Seen]]:
    """Plates by file name (without folders), best first."""
    photos = {}
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        entry = json.loads(line)
        photos[Path(entry["file"]).name] = [_seen(plate) for plate in entry.get("plates") or []]
    return photos


def _seen(plate: dict) -> Seen:
    x, y, w, h = plate["box"]
    return Seen(clean(plate.get("text") or ""), float(plate.get("confidence") or 0.0), plate.get("state") or "",
                tuple((float(x), float(y)) for x, y in plate["corners"]),
                (x, y, x + w, y + h))


def _state(code: str) -> str:
    """A label's state as the reader names it: "ca" is US-CA; "us", "eu" and "br" name a part of the world, not a state.
    Rendered sets have the reader's own names, which are upper case."""
    if code != code.lower():
        return code
    return f"US-{code.upper()}" if len(code) == 2 and code not in ("us", "eu", "br") else ""


def read_labels(folder: Path) -> list[Label]:
    """The rows of labels.csv; [] for photos without plates."""
    path = folder / "labels.csv"
    if not path.exists():
        return []
    labels = []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            box = tuple(float(row[k]) for k in ("x1", "y1", "x2", "y2")) if row["x1"] else None
            whole = box is None or (box[2] - box[0]) * (box[3] - box[1]) > 0.95 * float(row["width"]) * float(row["height"])
            labels.append(Label(Path(row["image"]).name, box, clean(row["text"]), _state(row.get("state", "")), whole,
                                row.get("note") == "ignore"))
    return labels


def outcomes(folder: Path, reads: Path) -> Outcomes:
    """What became of the labelled plates of one folder."""
    labels, seen = read_labels(folder), read_lines(reads)
    result = Outcomes(folder.name, folder, sorted(seen.keys() | {label.photo for label in labels}))
    crops = labels and sum(label.whole for label in labels) > len(labels) / 2
    for label in labels:
        if label.ignored:
            continue
        plates = seen.get(label.photo, [])
        over = plates if crops else [p for p in plates if label.box and iou(p.box, label.box) >= 0.5]
        if label.box or crops:
            result.plates.append(Outcome(label, over[0] if over else None))
    for photo, plates in seen.items():
        boxes = [label.box for label in labels if label.photo == photo and label.box]
        if not crops:
            result.spare += [(photo, p) for p in plates if not any(iou(p.box, box) >= 0.5 for box in boxes)]
    return result
