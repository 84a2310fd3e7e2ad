"""What following a plate over its frames gains: the vote against single frames of the same passes.

    milepost replay clip/demo.mp4 --json > clip/replay.jsonl
    python -m models.evaluate.voting clip [clip ...]

A clip is a folder of models.render.clip with its replay. For every pass that was read, the reader alone reads the
plate in the frame that was kept as its evidence, which is the one that shows it best, and in every frame in which
the truth has the plate, at the true corners. Texts are compared as seen, before serial formats are weighed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from .read_photos import Models
from .score_clip import owner


def frames(clip: Path, wanted: set[int]):
    """The wanted frames of a clip as luma, in order."""
    video = cv2.VideoCapture(str(clip))
    number = 0
    while True:
        ok, frame = video.read()
        if not ok:
            return
        if number in wanted:
            yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        number += 1


def compare(models: Models, folder: Path) -> np.ndarray:
    """Counts: passes read, right by the vote, right in the best frame, frames, right frames."""
    passes = json.loads((folder / "truth.json").read_text())["passes"]
    lines = [json.loads(line) for line in (folder / "replay.jsonl").read_text().splitlines()]
    looks: dict[int, list[tuple[np.ndarray, str, bool]]] = {}
    counts = np.zeros(5, int)
    for line in lines:
        if line["kind"] != "read" or (index := owner(passes, line["frame"], line["read"]["plate_corners_px"])) is None:
            continue
        truth = passes[index]
        counts[:2] += 1, line["read"]["raw_text"] == truth["text"]
        looks.setdefault(line["frame"], []).append((np.array(line["read"]["plate_corners_px"], np.float32), truth["text"], True))
        for seen in truth["frames"]:
            looks.setdefault(seen["frame"], []).append((np.array(seen["corners"], np.float32), truth["text"], False))
    for number, luma in frames(folder / "demo.mp4", set(looks)):
        texts = [text for text, *_ in models.read(luma, [quad for quad, *_ in looks[number]])]
        for text, (_, wanted, best) in zip(texts, looks[number]):
            if best:
                counts[2] += text == wanted
            else:
                counts[3:] += 1, text == wanted
    return counts


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    options = parser.parse_args()
    models = Models()
    read, voted, best, every, right = sum(compare(models, folder) for folder in options.clips)
    print(f"| passes read | right by the vote | right in the best frame | right in any one frame, true corners |\n| ---: | ---: | ---: | ---: |\n"
          f"| {read} | {voted} ({100 * voted / read:.1f} %) | {best} ({100 * best / read:.1f} %) | {right} of {every} ({100 * right / every:.1f} %) |")


if __name__ == "__main__":
    main()
