"""The plates of the photos with what the eye read of them, and words that are no plate.

    python -m models.data.photo_plates --data ../shared/data --out build/photo_plates.npz --sheet build/photo_plates.png

The shipped models, or those of another folder, find the corners of each boxed plate of the training photos (never evaluate/); text and
origin are what `labels/photos.csv` says. What `labels/unboxed.csv` calls a word has no text. Held-out photos are kept too, to
measure on. `--sheet` draws a sample with its texts, to be checked by eye.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ..evaluate.detections import matched
from ..evaluate.read_photos import HERE, Models
from .negatives import LOW
from .read import rectify, upright_corners
from .sources import STATES, UNREAD, Photo, PhotoPlate, Plate, load_photos

#: What is kept of a plate: width and height in pixels, and the share of surroundings on each side.
WINDOW, MARGIN = (256, 128), (0.2, 0.35)
#: What the eye says of a word.
NO_PLATE = Plate(np.zeros(4, np.float32), text="")


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


def words_of(models: Models, photo: Photo) -> list[np.ndarray]:
    """Corners [4, 2] of the photo's words as the detector, asked too low, finds them: at both of the appliance's widths, so most
    of them twice, somewhat apart."""
    found = models.detect(photo.grey, LOW, widths=(640,)) + models.detect(photo.grey, LOW, widths=(1024,)) if photo.words else []
    return [d.quad for d in found if any(matched(box, d.box) for box in photo.words)]


def known(plate: Plate) -> bool:
    """Whether the eye could tell its text, that it has none, or its origin."""
    return plate.text is not None and (plate.text != UNREAD or plate.state >= 0)


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
    plates, windows, sides = [], [], []
    for held_out in (False, True):
        for photo in load_photos(options.data, held_out):
            wanted = [plate for plate in photo.plates if known(plate)]
            found = models.detect(photo.grey, 0.3, widths=(640,)) if wanted else []
            quads = [[d.quad for d in found if matched(plate.box, d.box)] for plate in wanted]
            seen = [(plate, mine[0]) for plate, mine in zip(wanted, quads) if mine]
            for plate, quad in seen + [(NO_PLATE, quad) for quad in words_of(models, photo)]:
                plates.append(plate)
                windows.append(rectify(photo.grey, quad.astype(np.float32), WINDOW, MARGIN))
                sides.append(held_out)
    held = np.array(sides)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, windows=np.stack(windows), texts=np.array([one.text for one in plates]),
                        states=np.array([one.state for one in plates]), held=held)
    for side, mine in (("training", ~held), ("held out", held)):
        texts = [one.text for one, take in zip(plates, mine) if take]
        print(f"{side}: {sum(t not in ('', UNREAD) for t in texts)} texts, {texts.count('')} without a line to read, {texts.count(UNREAD)} of known origin alone")
    if options.sheet:
        some = rng.permutation(len(plates))[:120]
        name = lambda one: f"{one.text} {STATES[one.state] if one.state >= 0 else ''}"
        cv2.imwrite(str(options.sheet), sheet([windows[i] for i in some], [name(plates[i]) for i in some]))


if __name__ == "__main__":
    main()
