"""The clip's fixed background, seen by the clip's camera: road, marks, verge, a sign."""
from __future__ import annotations

import cv2
import numpy as np

from . import glyphs
from .track import Camera


def _ground(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """World x and z (m) of the road point behind every pixel, float32 H x W each."""
    # Four points of the road fix the homography between picture and ground.
    world = np.array([[-4, 0, 15], [4, 0, 15], [4, 0, 45], [-4, 0, 45]], float)
    m = cv2.getPerspectiveTransform(camera.px(world).astype(np.float32), world[:, [0, 2]].astype(np.float32))
    v, u = np.mgrid[0:camera.height, 0:camera.width].astype(np.float32)
    w = m[2, 0] * u + m[2, 1] * v + m[2, 2]
    return ((m[0, 0] * u + m[0, 1] * v + m[0, 2]) / w).astype(np.float32), \
        ((m[1, 0] * u + m[1, 1] * v + m[1, 2]) / w).astype(np.float32)


def _sample(rng, x, z, cell_x, cell_z, n=256) -> np.ndarray:
    """Smooth noise fixed to the ground, -1 to 1."""
    tile = cv2.GaussianBlur(rng.uniform(-1, 1, (n, n)).astype(np.float32), (0, 0), 0.8) * 1.6
    return cv2.remap(tile, np.mod(x / cell_x + 97, n - 1), np.mod(z / cell_z, n - 1), cv2.INTER_LINEAR)


def shade_at(z: float, seed: int) -> float:
    """How much light a vehicle has at distance z by day: trees shade parts of the road."""
    phase = (seed * 0.7) % 6.28
    s = np.sin(z * 0.42 + phase) + 0.5 * np.sin(z * 0.93 + 2 * phase)
    return float(1.0 - 0.30 / (1 + np.exp(-8 * (s - 0.35))))


def background(camera: Camera, seed: int, ir: bool) -> np.ndarray:
    """uint8 H x W x 3 by day, H x W under the lamp."""
    rng = np.random.default_rng([seed, 99])
    x, z = _ground(camera)
    grain = _sample(rng, x, z, 0.012, 0.05) * 7 + _sample(rng, x, z, 0.15, 0.6) * 5 + _sample(rng, x, z, 1.2, 4.0) * 5
    ruts = 6 * np.cos((np.abs(x + 0.21) - 1.57) * 2 * np.pi / 1.6)  # tyres polish two tracks a lane
    base = 112 + grain + ruts
    image = np.stack([base * 1.02, base * 1.0, base * 0.985], -1).astype(np.float32)
    luma = (base * 0.62).astype(np.float32)
    tar = np.abs(np.mod(z + 0.35 * np.sin(x * 2.1), 17.0) - 8.0) < 0.05
    image[tar] *= 0.62
    luma[tar] *= 0.7
    worn = 0.82 + 0.18 * _sample(rng, x, z, 0.05, 0.2)
    for centre, half, dashed, colour in ((-3.55, 0.07, False, (212, 214, 216)), (3.12, 0.07, False, (212, 214, 216)),
                                         (-0.30, 0.05, False, (60, 178, 222)), (-0.12, 0.05, True, (60, 178, 222))):
        mark = np.clip((half - np.abs(x - centre)) * 60 + 0.5, 0, 1) * worn
        if dashed:
            mark = mark * (np.mod(z, 6.0) < 3.4)
        image += mark[..., None] * (np.array(colour, np.float32) - image)
        luma += mark * (235 - luma)  # glass beads throw the lamp back
    for side in (x < -4.1, x > 3.75):  # grass with a dusty edge
        blade = _sample(rng, x, z, 0.02, 0.09) * 26 + _sample(rng, x, z, 0.4, 1.1) * 16
        edge = np.clip((np.abs(x + 0.2) - 3.9) * 1.5, 0, 1)
        grass = np.stack([62 + blade * .6, 104 + blade, 92 + blade * .9], -1)
        dust = np.array([118, 136, 150], np.float32) + (blade * .4)[..., None]
        image[side] = (dust + (grass - dust) * edge[..., None])[side]
        luma[side] = (120 + blade * 0.8)[side]
    if not ir:
        rows = np.array([shade_at(v, seed) for v in np.linspace(0, 120, 1200)], np.float32)
        wobble = z + 0.9 * _sample(rng, x, z, 0.6, 0.9) + 0.25 * x
        image *= np.interp(np.clip(wobble, 0, 119.9), np.linspace(0, 120, 1200), rows).astype(np.float32)[..., None]
        image = np.clip(image, 0, 255).astype(np.uint8)
        _sign(camera, image, (46, 92, 40), 236)
        return image
    reach = np.clip((16.0 / np.maximum(z, 6.0)) ** 1.6, 0, 1.6)
    aim = np.exp(-((x - 0.1) / (0.14 * np.maximum(z, 5.0))) ** 2)
    out = np.clip(luma * reach * (0.09 + 0.26 * aim), 0, 255).astype(np.uint8)
    _sign(camera, out, (26,), 120)
    return out


def _sign(camera: Camera, image: np.ndarray, ground, letters: float) -> None:
    """A street sign on the verge: characters that belong to no vehicle."""
    x0, x1, y0, y1, z = 3.02, 3.78, 0.84, 0.34, 36.5  # low, or it would stand above the picture
    quad = camera.px([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])
    post = camera.px([[3.38, 0.4, z], [3.43, 0.4, z], [3.43, 0, z], [3.38, 0, z]])
    cv2.fillConvexPoly(image, np.round(post).astype(np.int32), (30,) if image.ndim == 2 else (90, 92, 92), cv2.LINE_AA)
    cv2.fillConvexPoly(image, np.round(quad).astype(np.int32), ground, cv2.LINE_AA)
    px_w, px_h = quad[1, 0] - quad[0, 0], quad[3, 1] - quad[0, 1]
    for k, word in enumerate(("MILL ROAD", "EXIT 27B")):
        mask = glyphs.legend("sans", word, max(4, int(px_h * 0.3)), int(px_w * 0.86))
        cx, cy = quad[:, 0].mean(), quad[0, 1] + px_h * (0.28 + 0.44 * k)
        ax, ay = int(cx - mask.shape[1] / 2), int(cy - mask.shape[0] / 2)
        if ax < 0 or ay < 0 or ay + mask.shape[0] > image.shape[0] or ax + mask.shape[1] > image.shape[1]:
            continue
        view = image[ay:ay + mask.shape[0], ax:ax + mask.shape[1]]
        m = mask if view.ndim == 2 else mask[..., None]
        view[:] = (view + m * (letters - view.astype(np.float32))).astype(np.uint8)
