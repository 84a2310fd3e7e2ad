"""A vehicle as a box: its flat face, the flank and roof that can be seen, wheels, shadow.

Points are metres from the middle of the face at the height of the plate: x right, y down,
z behind the face. The caller says how they project.
"""
from __future__ import annotations

from typing import Callable

import cv2
import numpy as np

from . import compose
from .styles import scalar
from .vehicles import Vehicle

Project = Callable[[object], np.ndarray]  # points n x 3 in m to n x 2 in px


def fill(canvas: np.ndarray, quad: np.ndarray, colour, opacity: float = 1.0) -> None:
    """Fill a polygon (n x 2 px) with a colour of (blue, green, red, IR), or of IR on luma."""
    box = compose.quad_box(quad, canvas.shape[1], canvas.shape[0], 1 if opacity >= 1 else 12)
    if box is None:
        return
    x0, y0, x1, y1 = box
    colour = (float(colour[3]),) if canvas.ndim == 2 else scalar(colour)
    points = [np.round((quad - [x0, y0]) * 16).clip(-2**20, 2**20).astype(np.int32)]
    view = canvas[y0:y1, x0:x1]
    if opacity >= 1.0:
        cv2.fillPoly(view, points, colour, cv2.LINE_AA, 4)
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, points, 255, cv2.LINE_AA, 4)
    soft = max(1, min(mask.shape) // 12)
    mask = cv2.blur(mask, (soft, soft), borderType=cv2.BORDER_REPLICATE)
    over = np.empty_like(view)
    over[:] = np.array(colour[:view.shape[2]] if view.ndim == 3 else colour[0], np.uint8)
    compose.blend(view, over, cv2.convertScaleAbs(mask, alpha=opacity))


def draw(canvas: np.ndarray, car: Vehicle, px: Project, sees: Callable[[float], bool], back: float,
         image: np.ndarray | None = None, smear_px: int = 0, lean: float = 0.0, dim: float = 1.0,
         ) -> list[np.ndarray]:
    """Draw a vehicle whose box is `back` m long; returns the quads it covers, face last.

    image: the face in the canvas's channels, where it isn't car.image. smear_px: vertical
    motion blur. lean: sideways cast of the shadow, m. dim: brightness of the flank.
    """
    hw, top, bottom = car.width / 2, -(car.height - car.plate_y), car.plate_y
    paint = [v * dim for v in car.paint]
    left, right = -hw * 1.08 + min(lean, 0), hw * 1.08 + max(lean, 0)
    fill(canvas, px([[left, bottom, -0.25], [right, bottom, -0.25], [right, bottom, back + 0.2], [left, bottom, back + 0.2]]),
         (14, 13, 13, 4), 0.6)
    roof, sill, shoulder = top * 0.97, bottom - 0.25, -(car.shoulder - car.plate_y)
    boxy = car.kind in ("van", "truck")
    n = car.roof + 0.01
    f = n * (1.0 if boxy else 0.92)
    rear = back if boxy else back * 0.68
    fill(canvas, px([[-hw * n, roof, 0], [hw * n, roof, 0], [hw * f, roof, rear], [-hw * f, roof, rear]]),
         [min(255.0, v * 1.05) for v in paint])
    covered = []
    for side in (-hw * 0.985, hw * 0.985):
        if not sees(side):
            continue
        flank = [v * 0.68 for v in paint]
        quad = px([[side, shoulder, 0], [side, shoulder, back], [side, sill, back], [side, sill, 0]])
        cabin = px([[side * n, roof, 0], [side * f, roof, rear], [side, shoulder, back if boxy else back * 0.84], [side, shoulder, 0]])
        fill(canvas, cabin, flank)
        fill(canvas, quad, flank)
        if not boxy:
            y1, high = roof * 0.86 + shoulder * 0.14, n + (0.985 - n) * 0.14
            for z0, z1 in ((0.35, back * 0.33), (back * 0.36, back * 0.64)):
                fill(canvas, px([[side * high, y1, z0 + 0.1], [side * high, y1, z1], [side * 0.99, shoulder, z1 + 0.05], [side * 0.99, shoulder, z0]]),
                     (46 * dim, 42 * dim, 40 * dim, 16 * dim))
        for z in (0.8, max(1.0, back - 0.85)):
            turn = np.linspace(0, 2 * np.pi, 18)
            for r, colour in ((0.33, (20, 19, 19, 10)), (0.19, (120, 120, 122, 60))):
                fill(canvas, px(np.stack([np.full(18, side * 1.005), bottom - 0.33 + r * np.sin(turn), z + r * np.cos(turn)], 1)),
                     [v * dim for v in colour])
        covered += [quad, cabin]
    face = px([[-hw, top, 0], [hw, top, 0], [hw, bottom, 0], [-hw, bottom, 0]])
    kernel = np.full((smear_px, 1), 1 / smear_px, np.float32) if smear_px > 1 else None
    compose.place(canvas, car.image if image is None else image, car.alpha, face, kernel)
    return [*covered, face]
