"""A small rendered set with known answers, always the same: what CI scores the shipped models on.

    python -m models.evaluate.fixed_set --out .cache/fixed-set

Road scenes with plates from 60 px wide, by day and under the lamp; plates of two rows; and lettering without a plate. Rendered
plates are easier than a road's, so the figures say whether something broke, not how good the models are.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from ..render.lettering import lettering
from ..render.parts import Plate
from ..render.plates import draw_plate
from ..render.scene import draw_scene
from ..render.sensor import HALF, degrade

SCENES, TWO_ROWS, NOTHING, SEED = 240, 60, 80, 4711
#: Least width of a plate that counts, in pixels.
LEAST = 60.0


def scenes(folder: Path) -> None:
    """1280x720 scenes with labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(SCENES):
        scene = draw_scene(np.random.default_rng([SEED, index]), 1280, 720, night=index % 2 == 1)
        name = f"{index:03d}.png"
        counts = lambda plate: np.ptp(plate.corners[:, 0]) >= LEAST
        if not any(map(counts, scene.plates)):
            continue
        cv2.imwrite(str(folder / name), scene.luma)
        rows += [row(name, (1280, 720), plate.corners, plate, "" if counts(plate) else "ignore") for plate in scene.plates]
    write_labels(folder, rows)


def row(name: str, size: tuple[int, int], corners: np.ndarray, plate, note: str = "") -> list:
    """A row of labels.csv; plate has a `text` and a `state`."""
    box = [f"{v:.1f}" for v in (*corners.min(0), *corners.max(0))]
    return [name, *size, *box, " ".join(f"{v:.1f}" for v in corners.ravel()), plate.text, plate.state, note]


def write_labels(folder: Path, rows: list[list]) -> None:
    """labels.csv, as the photos' folders have it."""
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("image,width,height,x1,y1,x2,y2,corners,text,state,note".split(","))
        writer.writerows(rows)


def two_rows(folder: Path) -> None:
    """Plates of two rows, 100 to 220 px wide, on something dark and uneven; with labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, size = [], (640, 400)
    for index in range(TWO_ROWS):
        luma, plate, corners = draw_two_rows(np.random.default_rng([SEED, 2, index]), size, night=index % 2 == 1)
        name = f"{index:03d}.png"
        cv2.imwrite(str(folder / name), luma)
        rows.append(row(name, size, corners, plate))
    write_labels(folder, rows)


def draw_two_rows(rng: np.random.Generator, size: tuple[int, int], night: bool) -> tuple[np.ndarray, Plate, np.ndarray]:
    """A picture of `size` (width, height) with a plate of two rows, the plate, and its corners [4, 2] px."""
    plate = draw_plate(rng, "two-rows")
    face = plate.ir if night else cv2.cvtColor(plate.image, cv2.COLOR_BGR2GRAY)
    height, width = face.shape
    scale, lean = rng.uniform(100, 220) / width, rng.normal(0, 0.06)
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    corners = (flat - flat.mean(0)) * scale @ np.array([[1, lean], [-lean, 1]]) + np.array(size) * rng.uniform(0.35, 0.65, 2)
    ground = cv2.resize(rng.uniform(10, 110, (5, 8)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    turn = cv2.getPerspectiveTransform(flat - HALF, np.float32(corners) - HALF)
    small = cv2.GaussianBlur(face, (0, 0), max(0.1, 0.4 / scale))
    shown, mask = (cv2.warpPerspective(picture, turn, size) for picture in (small, plate.alpha))
    luma = np.clip(ground + (shown - ground) * (mask / 255.0), 0, 255).astype(np.uint8)
    return degrade(rng, luma, night, width * scale / plate.metres), plate, corners


def nothing(folder: Path) -> None:
    """Pictures that show words and no plate."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(NOTHING):
        luma, _ = lettering(np.random.default_rng([SEED, 1, index]))
        cv2.imwrite(str(folder / f"{index:03d}.png"), luma)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    scenes(options.out / "rendered-scenes")
    two_rows(options.out / "rendered-two-rows")
    nothing(options.out / "rendered-nothing")


if __name__ == "__main__":
    main()
