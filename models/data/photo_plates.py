"""The plates of the photos with their texts: by eye, or by agreement where all are of one country.

    python -m models.data.photo_plates --data ../shared/data --out build/photo_plates.npz --sheet build/photo_plates.png

The shipped models, or those of another folder, find the corners of each boxed plate of the training photos (never evaluate/). Its text
is what `labels/photos.csv` says. Plates without a row there, of a source whose plates are all of one country, are read several times, corners
moved, softened, lighter and darker, and kept where all readings agree, fit that country's format, are sure on average and leave no
hole between two characters: self-training. Held-out photos are kept too, by eye only, to measure on. `--sheet` draws a sample with its texts, to be checked by eye.
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
from .sources import STATES, UNREAD, Photo, PhotoPlate, Plate, load_photos

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


def load_photo_plates(path: Path | None, held_out: bool) -> list[PhotoPlate]:
    """The plates of one side of the split from a file of this module; none without one."""
    if path is None:
        return []
    data = np.load(path)
    quad = upright_corners(WINDOW, MARGIN)
    return [PhotoPlate(grey, quad, None if text == UNREAD else str(text), int(state))
            for grey, text, state, held in zip(data["windows"], data["texts"], data["states"], data["held"]) if held == held_out]


def labelled(models: Models, rng: np.random.Generator, photo: Photo, plate: Plate, quad: np.ndarray, held: bool) -> PhotoPlate | None:
    """The plate in a window of its own, if something is known of it."""
    text, state, serial = plate.text, plate.state, SERIALS.get(photo.source)
    if text is None and serial and not held and plate.box[2] - plate.box[0] >= NARROWEST:
        text = agreed(models, rng, photo.grey, quad)
        text = text if serial.fullmatch(text) else None
    if text is None or (text == UNREAD and state < 0):
        return None
    return PhotoPlate(rectify(photo.grey, quad, WINDOW, MARGIN), upright_corners(WINDOW, MARGIN), text, state)


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
    kept: list[tuple[PhotoPlate, bool]] = []
    for held in (False, True):
        for photo in load_photos(options.data, held):
            found = models.detect(photo.grey, 0.3, widths=(640,))
            for plate in photo.plates:
                quads = [d.quad for d in found if matched(plate.box, d.box)]
                one = labelled(models, rng, photo, plate, quads[0].astype(np.float32), held) if quads else None
                if one:
                    kept.append((one, held))
    plates, held = [one for one, _ in kept], np.array([held for _, held in kept])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, windows=np.stack([one.grey for one in plates]), texts=np.array([one.text for one in plates]),
                        states=np.array([one.state for one in plates]), held=held)
    for side, mine in (("training", ~held), ("held out", held)):
        texts = [one.text for one, take in zip(plates, mine) if take]
        print(f"{side}: {sum(t not in ('', UNREAD) for t in texts)} texts, {texts.count('')} without a line to read, {texts.count(UNREAD)} of known origin alone")
    if options.sheet:
        some = [plates[i] for i in rng.permutation(len(plates))[:120]]
        cv2.imwrite(str(options.sheet), sheet([one.grey for one in some], [f"{one.text} {STATES[one.state] if one.state >= 0 else ''}" for one in some]))


if __name__ == "__main__":
    main()
