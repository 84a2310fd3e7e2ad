"""Put flat pictures into a picture: shrink cleanly, warp into a region, blend."""
from __future__ import annotations

import cv2
import numpy as np


def quad_box(quad: np.ndarray, w: int, h: int, grow: int = 1) -> tuple[int, int, int, int] | None:
    """Pixel box (x0, y0, x1, y1) around a quad, cut to the picture; None when outside."""
    x0, y0 = np.floor(quad.min(0)).astype(int) - grow
    x1, y1 = np.ceil(quad.max(0)).astype(int) + grow + 1
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, w), min(y1, h)
    return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None


def shrunk(picture: np.ndarray, quad: np.ndarray, spare: float = 1.25) -> np.ndarray:
    """The picture at no more than `spare` times the size it will have, area-averaged."""
    h, w = picture.shape[:2]
    wide = max(np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[3]))
    high = max(np.linalg.norm(quad[3] - quad[0]), np.linalg.norm(quad[2] - quad[1]))
    nw, nh = min(w, int(wide * spare) + 2), min(h, int(high * spare) + 2)
    if nw > 0.8 * w and nh > 0.8 * h:
        return picture
    return cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_AREA)


def place(canvas: np.ndarray, picture: np.ndarray, alpha: np.ndarray, quad: np.ndarray,
          kernel: np.ndarray | None = None) -> None:
    """Blend a picture into the canvas with its corners on a quad.

    canvas uint8 H x W (x C), changed in place; picture uint8 h x w (x C), alpha uint8
    h x w; quad float 4 x 2 px, clockwise from the picture's top left. kernel: motion blur.
    """
    box = quad_box(quad, canvas.shape[1], canvas.shape[0], 1 if kernel is None else kernel.shape[0])
    if box is None:
        return
    x0, y0, x1, y1 = box
    picture, alpha = shrunk(picture, quad), shrunk(alpha, quad)
    h, w = alpha.shape
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(source, (quad - [x0, y0] - 0.5).astype(np.float32))
    size = (x1 - x0, y1 - y0)
    top = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    a = cv2.warpPerspective(alpha, matrix, size, flags=cv2.INTER_LINEAR)
    if kernel is not None:
        top = cv2.filter2D(top, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        a = cv2.filter2D(a, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    blend(canvas[y0:y1, x0:x1], top, a)


def blend(view: np.ndarray, top: np.ndarray, a: np.ndarray) -> None:
    """view = view + a * (top - view), in place; a uint8."""
    weight = a.astype(np.float32) * (1 / 255.0)
    if view.ndim == 3:
        weight = cv2.merge([weight] * view.shape[2])
    under = view.astype(np.float32)
    over = np.array(top, np.float32, order="C")
    cv2.subtract(over, under, dst=over)
    cv2.multiply(over, weight, dst=over)
    cv2.add(under, over, dst=under)
    view[:] = cv2.convertScaleAbs(under)
