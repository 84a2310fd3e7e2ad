"""Render road scenes once, so that the detector's training reads them instead of drawing them.

    python -m models.data.cache --out build/scenes --count 3000 --seed 7

Each file holds `images` uint8 [n, 384, 640], `quads` float32 [m, 4, 2] px and `owner` int [m], the
image that a quad belongs to.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ..render.scene import draw_scene


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--each", type=int, default=150, help="scenes a file")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for part in range(0, options.count, options.each):
        path = options.out / f"scenes-{options.seed}-{part:05d}.npz"
        if path.exists():
            continue
        rng = np.random.default_rng([options.seed, part])
        images, quads, owner = [], [], []
        for index in range(min(options.each, options.count - part)):
            scene = draw_scene(rng, 640, 384)
            images.append(scene.luma)
            quads += [plate.corners for plate in scene.plates]
            owner += [index] * len(scene.plates)
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            np.savez(file, images=np.stack(images), quads=np.array(quads, np.float32).reshape(-1, 4, 2), owner=np.array(owner))
        temporary.rename(path)
        print(path.name, len(quads), "plates", flush=True)


if __name__ == "__main__":
    main()
