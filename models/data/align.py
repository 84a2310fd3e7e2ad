"""Training samples for the aligner: a plate as the detector leaves it, and where its corners are.

The window is the picture around the detector's quad, stretched so that the quad's corners lie `MARGIN`
of the plate's width and height inside it. On real photos the detector's quads are nearly level whatever
the plate's angle, so a sample's quad lies anywhere between the plate's own and its level box.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..render.plates import draw_plate
from .detect import Sampler, box_quad, extent
from .read import rectify, upright_corners
from .sources import Crop, Photo

HEIGHT, WIDTH = 64, 128
#: Share of the plate's width and height around it: room for the corners of a plate that leans.
MARGIN = (0.2, 0.3)
#: A plate whose corners moved by more than SETTLED of its height is looked at again, LOOKS times at most: the
#: second window is cut by the first look's corners.
LOOKS, SETTLED = 2, 0.05
#: Photos are drawn by source: those with polygons first of all.
SOURCE_WEIGHT = {"open-images-plates": 0.25, "dashcam-day-night": 0.15, "plate-polygons-300": 1.0}
#: Largest corner error that is trained on, as a share of the plate's height; more is no match.
WORST = 0.6


def window(luma: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The aligner's input uint8 [64, 128] for a quad [4, 2] in pixels."""
    return rectify(luma, quad, (WIDTH, HEIGHT), MARGIN)


def to_window(quad: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [n, 2] of the picture in pixels of the window of `quad`."""
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), nominal())
    return cv2.perspectiveTransform(points[None].astype(np.float32), matrix)[0]


def from_window(quad: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [n, 2] of the window of `quad` in pixels of the picture."""
    matrix = cv2.getPerspectiveTransform(nominal(), quad.astype(np.float32))
    return cv2.perspectiveTransform(points[None].astype(np.float32), matrix)[0]


def nominal() -> np.ndarray:
    """Where the detector's corners lie in the window [4, 2], px."""
    return upright_corners((WIDTH, HEIGHT), MARGIN)


def corner_error(found: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of the four corners as a share of the plate's height."""
    height = (np.linalg.norm(true[3] - true[0]) + np.linalg.norm(true[2] - true[1])) / 2
    return float(np.linalg.norm(found - true, axis=1).mean() / max(1.0, height))


def likely(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether corners [4, 2] can be the plate's that the detector saw: convex, clockwise, of a like size."""
    area = lambda quad: float(cv2.contourArea(quad.astype(np.float32), True))
    return cv2.isContourConvex(after.astype(np.float32)) and 0.3 <= area(after) / max(1.0, area(before)) < 2.0


def detected(rng: np.random.Generator, quad: np.ndarray) -> np.ndarray:
    """A quad as a detector might give it for the plate `quad` [4, 2]: partly levelled, and off by a little."""
    x1, y1, x2, y2 = extent(quad)
    level = box_quad(np.array([x1, y1, x2, y2], np.float32))
    # The detector's box of a plate that leans holds its middle, not always its farthest corners.
    inner = box_quad(np.array([*(quad[[0, 3]].mean(0)[:1]), quad[[0, 1]].mean(0)[1],
                               quad[[1, 2]].mean(0)[0], quad[[2, 3]].mean(0)[1]], np.float32))
    level = level + (inner - level) * np.float32(rng.random())
    share = np.float32(1.0 if rng.random() < 0.5 else rng.random())
    w, h = x2 - x1, y2 - y1
    size = 1 + rng.normal(0, 0.07, 2)
    centre = quad.mean(0)
    found = centre + (quad + share * (level - quad) - centre) * size
    found = found + rng.normal(0, 0.05, 2) * [w, h] + rng.normal(0, 0.025, (4, 2)) * [h, h]
    return found.astype(np.float32)


def textures(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Rendered plates as grey pictures, by day and under the lamp."""
    faces = []
    for index in range(count):
        plate = draw_plate(rng)
        faces.append(plate.ir if index % 2 else cv2.cvtColor(plate.image, cv2.COLOR_BGR2GRAY))
    return faces


class AlignSampler:
    """Draws windows from photos with known corners and from plates pasted into photos."""

    def __init__(self, photos: list[Photo], crops: list[Crop], rendered: list[np.ndarray], side: int = 288):
        self.pictures, self.side = Sampler(photos, crops, textures=rendered), side
        weights = np.array([SOURCE_WEIGHT[photo.source] for photo in photos])
        self.pictures.weights, self.pictures.worded = weights / weights.sum(), []  # a word has no corners

    def draw(self, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
        """The windows of one picture: image float32 0..1 [64, 128] and corners [4, 2] in its pixels."""
        luma, targets, _, _ = self.pictures.draw(rng, self.side, self.side)
        luma = (luma * 255).astype(np.uint8)
        samples = []
        for target in targets:
            x1, _, x2, _ = extent(target.quad)
            if not target.exact or x2 - x1 < 24:
                continue
            for _ in range(2):
                quad = detected(rng, target.quad)
                if not cv2.isContourConvex(quad) or corner_error(quad, target.quad) > WORST:
                    continue
                corners = to_window(quad, target.quad)
                if corners.min() < 0 or (corners > [WIDTH, HEIGHT]).any():
                    continue
                samples.append((window(luma, quad).astype(np.float32) / 255, corners))
        return samples
