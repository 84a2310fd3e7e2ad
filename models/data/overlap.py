"""No evaluation photo, nor one that looks almost like it, may be trained on: compares every pair, fails on a hit.

    python -m models.data.overlap --data ../shared/data

Whole photos are compared by perceptual hash (256 bits). Plate crops of one design look alike whatever their
text, so crops count as the same only if hash and text agree, or if next to no bit differs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from ..evaluate.outcome import clean, fold
from .sources import LABELS

#: Bits of 256 that may differ in copies of one picture: rescaled, recoded, made grey, a little cut.
NEAR = 40
#: Bits that may differ in copies of one crop, whatever their texts.
SAME = 8
SUFFIXES = (".jpg", ".jpeg", ".png")


def hashes(folder: Path) -> tuple[list[str], np.ndarray]:
    """Names and hashes bool [n, 256] of the pictures below a folder."""
    names, bits = [], []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            with Image.open(path) as image:
                bits.append(imagehash.phash(image.convert("L"), hash_size=16).hash.ravel())
            names.append(str(path.relative_to(folder)))
    return names, np.array(bits)


def texts(*files: Path) -> dict[str, set[str]]:
    """Folded texts by picture that any of the files gives."""
    known: dict[str, set[str]] = defaultdict(set)
    for path in files:
        if path.exists():
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    known[row["image"]].add(fold(clean(row["text"])))
    return {name: some - {""} for name, some in known.items()}


def overlaps(train: Path, evaluate: Path) -> list[str]:
    """Pairs that are the same picture, as "training picture = evaluation picture (bits apart)"."""
    found = []
    sets = [(folder, *hashes(folder), texts(folder / "labels.csv")) for folder in sorted(evaluate.iterdir()) if folder.is_dir()]
    for folder in sorted(train.iterdir()):
        names, bits = hashes(folder)
        # By eye and as the source says it, which may leave out small characters.
        known = texts(folder / "labels.csv", LABELS / "crops.csv")
        for other, other_names, other_bits, other_known in sets:
            apart = (bits[:, None] != other_bits[None]).sum(2)
            crops = "crops" in folder.name and "crops" in other.name
            for i, j in zip(*np.nonzero(apart <= NEAR)):
                if crops and apart[i, j] > SAME and not known.get(names[i], set()) & other_known.get(other_names[j], set()):
                    continue
                found.append(f"{folder.name}/{names[i]} = {other.name}/{other_names[j]} ({apart[i, j]})")
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    found = overlaps(options.data / "train", options.data / "evaluate")
    if found:
        sys.exit(f"{len(found)} training pictures are evaluation pictures; take them out of training:\n" + "\n".join(found))
    print("no evaluation picture among the training pictures")


if __name__ == "__main__":
    main()
