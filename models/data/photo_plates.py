"""Texts for the plates of photos that have boxes but no text, by agreement: self-training.

    python -m models.data.pseudo --data ../shared/data --out build/pseudo.npz --sheet build/pseudo.png

The shipped models, or those of another folder, read each labelled plate of the training photos (never evaluate/) several times: corners
moved, softened, lighter and darker. A plate is kept where all readings agree, are sure on average and leave no hole
between two characters. What is kept is what today's reader can read already; under the harder looks of the training it teaches real dies and
surroundings that the renderer doesn't have. `--sheet` draws a sample with its texts, to be checked by eye.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import cv2
import numpy as np

from ..evaluate.detections import matched
from ..evaluate.read_photos import HERE, Models
from .augment import tone
from .read import decode_greedy, rectify, upright_corners
from .sources import PhotoPlate, load_photos

#: What is kept of a plate: width and height in pixels, and the share of surroundings on each side.
WINDOW, MARGIN = (256, 128), (0.2, 0.35)
#: Readings of a plate, and how sure they must be on average.
LOOKS, LEAST = 9, 0.5
#: A step from character to character may be this many times the usual one.
HOLE = 1.7
#: Least width in the photo, in pixels.
NARROWEST = 50
#: What plates of a source look like, where all are of one country: Romania.
SERIALS = {"dashcam-day-night": re.compile(r"(B\d{2,3}|[A-Z]{2}\d{2})[A-Z]{3}")}


def agreed(models: Models, rng: np.random.Generator, grey: np.ndarray, quad: np.ndarray) -> str:
    """The text that all looks at the plate agree on; empty where they don't."""
    height = np.linalg.norm(quad[3] - quad[0])
    looks = []
    for look in range(LOOKS):
        moved = quad + (rng.normal(0, 0.03 * height, (4, 2)) if look else 0)
        plate = rectify(grey, moved).astype(np.float32) / 255
        if look % 3 == 1:
            plate = cv2.GaussianBlur(plate, (0, 0), 0.9)
        looks.append(np.clip(tone(rng, plate, 0.7), 0, 1) if look else plate)
    characters, _ = models.reader.run(None, {"plate": np.stack(looks)[:, None].astype(np.float32)})
    read = [decode_greedy(c) for c in characters]
    same = len({text for text, _ in read}) == 1 and 4 <= len(read[0][0]) <= 9
    return read[0][0] if same and np.mean([c for _, c in read]) >= LEAST and even(characters[0]) else ""


def even(characters: np.ndarray) -> bool:
    """Whether the characters of [T, 37] stand about evenly: a hole is an emblem, or a 1 that nobody saw."""
    best = characters.argmax(1)
    starts = [i for i in range(len(best)) if best[i] and (i == 0 or best[i] != best[i - 1])]
    gaps = np.diff(starts)
    return bool(gaps.max() <= HOLE * np.median(gaps))


def sheet(windows: list[np.ndarray], texts: list[str]) -> np.ndarray:
    """Plates with their texts below them, eight a row."""
    tiles = []
    for grey, text in zip(windows, texts):
        tile = np.full((128, 192), 255, np.uint8)
        tile[:96] = cv2.resize(grey, (192, 96))
        cv2.putText(tile, text, (8, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 2, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 8)
    return np.vstack([np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)])


def load_pseudo(path: Path | None) -> list[PhotoPlate]:
    """The plates of a file of this module; none without one."""
    if path is None:
        return []
    data = np.load(path)
    quad = upright_corners(WINDOW, MARGIN)
    return [PhotoPlate(grey, quad, str(text)) for grey, text in zip(data["windows"], data["texts"])]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--seed", type=int, default=60)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    models, rng = Models(options.models), np.random.default_rng(options.seed)
    windows, texts, looked = [], [], 0
    for photo in load_photos(options.data, False):
        found = models.detect(photo.grey, 0.3, widths=(640,))
        for plate in photo.plates:
            quads = [d.quad for d in found if matched(plate.box, d.box)]
            if not quads or plate.box[2] - plate.box[0] < NARROWEST:
                continue
            looked += 1
            text, serial = agreed(models, rng, photo.grey, quads[0].astype(np.float32)), SERIALS.get(photo.source)
            if text and (serial is None or serial.fullmatch(text)):
                windows.append(rectify(photo.grey, quads[0], WINDOW, MARGIN))
                texts.append(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, windows=np.stack(windows), texts=np.array(texts))
    print(f"{len(texts)} of {looked} plates agreed on")
    if options.sheet:
        some = rng.permutation(len(texts))[:120]
        cv2.imwrite(str(options.sheet), sheet([windows[i] for i in some], [texts[i] for i in some]))


if __name__ == "__main__":
    main()
