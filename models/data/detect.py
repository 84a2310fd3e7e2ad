"""Training samples for the detector: real photos, real plate textures pasted with known corners,
and rendered scenes, all at random scale so that plates end up 11 to 220 pixels wide."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .augment import scene_look, shade, tone
from .sources import Crop, Photo

CELL = 8
PLATE_WIDTH = (11.0, 220.0)
#: Share of the photos' samples that are cut around a word, which is no plate.
WORDED = 0.15


@dataclass
class Target:
    """A plate in a sample: quad [4, 2] in pixels; `exact` if its corners are known, not only its box; not `wanted` if the labels left
    it out: finding it is neither right nor wrong."""

    quad: np.ndarray
    exact: bool
    wanted: bool = True


def box_quad(box: np.ndarray) -> np.ndarray:
    """Corner quad of an axis-aligned box x1, y1, x2, y2."""
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def apply(matrix: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Transform points [4, 2] by an affine matrix [2, 3]."""
    return (quad @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def mirror(quad: np.ndarray, width: int) -> np.ndarray:
    """Mirror a quad and reorder its corners so that it again starts at the top left."""
    flipped = quad.copy()
    flipped[:, 0] = width - flipped[:, 0]
    return flipped[[1, 0, 3, 2]]


def extent(quad: np.ndarray) -> tuple[float, float, float, float]:
    """Axis-aligned box of a quad."""
    return (*quad.min(0), *quad.max(0))


class Sampler:
    """Draws samples from photos, crops to paste, and rendered scenes [(grey, quads)]."""

    def __init__(self, photos: list[Photo], crops: list[Crop], scenes=None, textures=None):
        self.photos, self.worded = photos, [photo for photo in photos if photo.words]
        self.textures = [crop.grey for crop in crops] + list(textures or [])
        self.scenes = list(scenes or [])
        weight = {"open-images-plates": 1.0, "dashcam-day-night": 0.45, "plate-polygons-300": 0.8}
        p = np.array([weight[photo.source] for photo in photos])
        self.weights = p / p.sum()
        self.us = len(crops)

    def draw(self, rng: np.random.Generator, width: int, height: int):
        """One sample: image float32 0..1 [height, width], targets, ignore boxes, negative weight."""
        if self.scenes and rng.random() < 0.28:
            image, targets, ignore = self._scene(rng, width, height)
            weight = 1.0
        else:
            if self.worded and rng.random() < WORDED:
                photo = self.worded[rng.integers(len(self.worded))]
                # In full: all of these photos that looked like a text was seen by eye.
                aim, weight = photo.words[rng.integers(len(photo.words))], 1.0
            else:
                photo = self.photos[rng.choice(len(self.photos), p=self.weights)]
                aim, weight = photo.plates[rng.integers(len(photo.plates))].box, 1.0 if photo.complete else 0.7
            image, targets, ignore = self._photo(rng, photo, aim, width, height)
        if rng.random() < 0.5:
            image = image[:, ::-1].copy()
            targets = [Target(mirror(t.quad, width), t.exact) for t in targets]
            ignore = [(width - x2, y1, width - x1, y2) for x1, y1, x2, y2 in ignore]
        if self.textures and rng.random() < 0.35:
            for _ in range(int(rng.integers(1, 4))):
                image, targets, ignore = self._paste(rng, image, targets, ignore)
        return scene_look(rng, image), targets, ignore, weight

    def _photo(self, rng, photo: Photo, aim: np.ndarray, width: int, height: int):
        """Cut, scale, turn a little and stretch a real photo around the box `aim`: one of its plates, or what might be taken for one."""
        plate_width = max(4.0, aim[2] - aim[0])
        wanted = np.exp(rng.uniform(*np.log(PLATE_WIDTH)))
        source_h, source_w = photo.grey.shape
        smallest = 0.8 * max(width / source_w, height / source_h)
        scale = float(np.clip(wanted / plate_width, smallest, 2.2))
        stretch = np.exp(rng.normal(0, 0.09)) * (np.exp(rng.uniform(0.1, 0.4)) if
                                                 photo.source == "plate-polygons-300" else 1.0)
        plates = [Target(p.quad if p.quad is not None else box_quad(p.box), p.quad is not None) for p in photo.plates]
        plates += [Target(box_quad(box), False, wanted=False) for box in photo.left_out]
        return self._cut(rng, photo.grey, plates, aim, scale, stretch, width, height)

    def _scene(self, rng, width: int, height: int):
        """Cut a rendered scene around a plate, at 0.6 to 1.5 times its size."""
        grey, quads = self.scenes[rng.integers(len(self.scenes))]
        targets = [Target(quad, True) for quad in quads]
        h, w = grey.shape
        box = np.array(extent(quads[rng.integers(len(quads))])) if len(quads) else np.array([0, 0, w, h])
        return self._cut(rng, grey, targets, box, np.exp(rng.uniform(-0.5, 0.4)), 1.0, width, height)

    def _cut(self, rng, grey, targets, aim, scale, stretch, width, height):
        """Affine cut of `grey` to [height, width] that shows the box `aim` somewhere in the picture."""
        if scale < 0.75:  # shrink with area averaging first, so that the warp doesn't alias
            small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            fx, fy = small.shape[1] / grey.shape[1], small.shape[0] / grey.shape[0]
            grey, rest = small, 1.0
        else:
            fx = fy = 1.0
            rest = scale
        angle = rng.normal(0, 0.05) if rng.random() < 0.35 else 0.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.zeros((2, 3))
        matrix[:, :2] = turn @ np.diag([rest * np.sqrt(stretch), rest / np.sqrt(stretch)])
        centre = np.array([(aim[0] + aim[2]) / 2 * fx, (aim[1] + aim[3]) / 2 * fy])
        if rng.random() < 0.3:  # anywhere: mostly pictures without a plate
            centre = rng.uniform(0, 1, 2) * [grey.shape[1], grey.shape[0]]
        half = np.abs(matrix[:, :2] @ np.array([(aim[2] - aim[0]) * fx, (aim[3] - aim[1]) * fy])) / 2
        low = np.minimum(half + 2, [width / 2, height / 2])
        place = low + rng.random(2) * (np.array([width, height]) - 2 * low)
        matrix[:, 2] = place - matrix[:, :2] @ centre
        # Keep the picture filled where the photo is large enough.
        if angle == 0.0:
            for axis, (size, length) in enumerate(((width, grey.shape[1]), (height, grey.shape[0]))):
                drawn = matrix[axis, axis] * length
                if drawn >= size:
                    matrix[axis, 2] = np.clip(matrix[axis, 2], size - drawn, 0)
        image = cv2.warpAffine(grey, matrix, (width, height), flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_CONSTANT, borderValue=float(rng.choice([0, 0, 114, rng.integers(0, 255)])))
        total = matrix.copy()
        total[:, :2] = matrix[:, :2] @ np.diag([fx, fy])
        kept, ignore = [], []
        for target in targets:
            quad = apply(total, target.quad)
            x1, y1, x2, y2 = extent(quad)
            if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
                continue
            seen = (min(x2, width) - max(x1, 0)) * (min(y2, height) - max(y1, 0))
            share = seen / max(1e-3, (x2 - x1) * (y2 - y1))
            if not target.wanted or share < 0.92 or x2 - x1 < 9 or y2 - y1 < 3 or x2 - x1 > 290:
                ignore.append((x1, y1, x2, y2))
            else:
                kept.append(Target(quad, target.exact))
        return image.astype(np.float32) / 255, kept, ignore

    def _paste(self, rng, image, targets, ignore):
        """Paste a real (or rendered) plate texture in perspective, over a plate or in a free spot."""
        height, width = image.shape
        texture = self.textures[rng.integers(len(self.textures))].astype(np.float32) / 255
        aspect = texture.shape[1] / texture.shape[0]
        aspect = aspect * np.exp(rng.normal(0, 0.08))
        victim = targets[rng.integers(len(targets))] if targets and rng.random() < 0.5 else None
        if victim is not None:
            x1, y1, x2, y2 = extent(victim.quad)
            plate_w = max(x2 - x1, (y2 - y1) * aspect) * rng.uniform(1.0, 1.15)
            centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
            quad = perspective_quad(rng, plate_w, plate_w / aspect, 0.6) + centre
            targets = [t for t in targets if t is not victim]
        else:
            plate_w = np.exp(rng.uniform(*np.log(PLATE_WIDTH)))
            quad = perspective_quad(rng, plate_w, plate_w / aspect, 1.0)
            x1, y1, x2, y2 = extent(quad)
            if x2 - x1 > width - 6 or y2 - y1 > height - 6:
                return image, targets, ignore
            quad = quad + np.array([rng.uniform(2 - x1, width - 2 - x2), rng.uniform(2 - y1, height - 2 - y2)])
        quad = quad.astype(np.float32)
        x1, y1, x2, y2 = extent(quad)
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height or x2 - x1 < 10:
            return (image, targets + [victim], ignore) if victim is not None else (image, targets, ignore)
        for other in targets:  # never hide part of another plate
            a = extent(other.quad)
            if min(a[2], x2) > max(a[0], x1) - 4 and min(a[3], y2) > max(a[1], y1) - 4:
                return (image, targets + [victim], ignore) if victim is not None else (image, targets, ignore)
        image = blend(rng, image, texture, quad)
        return image, targets + [Target(quad, True)], ignore


def perspective_quad(rng, width: float, height: float, strength: float) -> np.ndarray:
    """Corners [4, 2] around 0 of a plate about `width` pixels wide seen from a random direction."""
    yaw, pitch, roll = rng.normal(0, [0.4, 0.25, 0.09]) * strength
    yaw, pitch = np.clip(yaw, -1.0, 1.0), np.clip(pitch, -0.7, 0.7)
    flat = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float) * [width / 2, height / 2, 0]
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    rotate = (np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
              @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]))
    points = flat @ rotate.T
    distance = width * rng.uniform(3, 12)
    quad = points[:, :2] * (distance / (distance + points[:, 2:]))
    return quad * (width / max(1.0, quad[:, 0].max() - quad[:, 0].min())) if rng.random() < 0.5 else quad


def blend(rng, image: np.ndarray, texture: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Draw `texture` [h, w] 0..1 into `image` at `quad`, lit to suit, with soft edges and a holder."""
    height, width = image.shape
    x1, y1, x2, y2 = extent(quad)
    pad = 0.12 * (x2 - x1) + 4
    left, top = int(max(0, x1 - pad)), int(max(0, y1 - pad))
    right, bottom = int(min(width, x2 + pad)), int(min(height, y2 + pad))
    region = image[top:bottom, left:right]
    plate_w, plate_h = max(4, int(np.linalg.norm(quad[1] - quad[0]) * 1.2)), max(3, int(np.linalg.norm(quad[3] - quad[0]) * 1.2))
    if plate_w < texture.shape[1]:
        texture = cv2.resize(texture, (plate_w, max(plate_h, 3)), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        texture = shade(rng, texture)
    texture = tone(rng, texture, 0.8)
    if rng.random() < 0.7:  # as bright as its surroundings, or lit by itself
        texture = texture + np.float32(rng.uniform(0.3, 0.9)) * (region.mean() - texture.mean() + np.float32(rng.uniform(0, 0.3)))
    shift = quad - [left, top]
    size = (right - left, bottom - top)
    region = region.copy()
    if rng.random() < 0.5:  # a holder or recess around the plate
        centre = shift.mean(0)
        grow = centre + (shift - centre) * (1 + rng.uniform(0.03, 0.16))
        mask = np.zeros(region.shape, np.float32)
        cv2.fillPoly(mask, [np.round(grow * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
        region += mask * np.float32(rng.uniform(0.3, 1)) * (np.float32(rng.choice([0.05, 0.15, 0.5, 0.9])) - region)
    h, w = texture.shape
    warp = cv2.getPerspectiveTransform(box_quad(np.array([0, 0, w, h], np.float32) - 0.5), np.float32(shift - 0.5))
    drawn = cv2.warpPerspective(texture, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(region.shape, np.float32)
    cv2.fillPoly(mask, [np.round((shift - 0.5) * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    if rng.random() < 0.5:
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 0.9))
    image = image.copy()
    image[top:bottom, left:right] = region + mask * (drawn - region)
    return image


def encode(targets: list[Target], ignore, width: int, height: int, weight: float):
    """Dense targets on the stride-8 grid.

    Returns heat [h, w] (1 at the cell of a plate's centre, Gaussian around it), negative weight
    [h, w], corners [8, h, w] in pixels relative to the cell centre, plate size [2, h, w], and two
    corner-loss weights [2, h, w] (exact corners; box only) that sum to 1 over each plate.
    """
    rows, columns = height // CELL, width // CELL
    heat = np.zeros((rows, columns), np.float32)
    negative = np.full((rows, columns), weight, np.float32)
    corners = np.zeros((8, rows, columns), np.float32)
    size = np.ones((2, rows, columns), np.float32)
    weights = np.zeros((2, rows, columns), np.float32)
    ys, xs = np.mgrid[0:rows, 0:columns].astype(np.float32)
    cx, cy = (xs + 0.5) * CELL, (ys + 0.5) * CELL
    for x1, y1, x2, y2 in ignore:
        inside = (cx > x1 - 4) & (cx < x2 + 4) & (cy > y1 - 4) & (cy < y2 + 4)
        negative[inside] = 0
    for target in targets:
        x1, y1, x2, y2 = extent(target.quad)
        px, py = (x1 + x2) / 2, (y1 + y2) / 2
        column, row = int(np.clip(px // CELL, 0, columns - 1)), int(np.clip(py // CELL, 0, rows - 1))
        sx, sy = max(0.13 * (x2 - x1), 3.5), max(0.13 * (y2 - y1), 3.5)
        bump = np.exp(-0.5 * (((xs - column) * CELL / sx) ** 2 + ((ys - row) * CELL / sy) ** 2))
        mine = bump > np.maximum(heat, 0.02)
        near = mine & (bump > 0.25)
        heat = np.maximum(heat, bump)
        corners[0::2, near] = target.quad[:, 0, None] - cx[near]
        corners[1::2, near] = target.quad[:, 1, None] - cy[near]
        size[0, near], size[1, near] = max(x2 - x1, 8), max(y2 - y1, 8)
        weights[:, near] = 0
        weights[0 if target.exact else 1, near] = bump[near] / bump[near].sum()
        heat[row, column] = 1.0
    return heat, negative, corners, size, weights
