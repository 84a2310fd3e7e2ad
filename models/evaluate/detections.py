"""Decoding of the detector's output and box matching, the same rules as on the appliance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .outcome import iou

CELL = 8


@dataclass
class Detection:
    """Score 0..1, quad [4, 2] and box x1, y1, x2, y2, both in pixels of the network's input."""

    score: float
    quad: np.ndarray
    box: np.ndarray


def letterbox(grey: np.ndarray, width: int = 640, most: int = 1280) -> tuple[np.ndarray, float]:
    """Scale to `width`, pad below to a multiple of 32; returns float32 0..1 [h, width] and the scale."""
    scale = min(width / grey.shape[1], most / grey.shape[0])
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    padded = np.zeros((-(-size[1] // 32) * 32, -(-size[0] // 32) * 32), np.float32)
    padded[: size[1], : size[0]] = small.astype(np.float32) / 255
    return padded, scale


def matched(a, b, least: float = 0.5) -> bool:
    """Whether two boxes overlap enough to be the same plate."""
    return iou(a, b) >= least


def decode(heat: np.ndarray, corners: np.ndarray, threshold: float, most: int = 30) -> list[Detection]:
    """Peaks of heat [h, w] (already suppressed 3x3) with corners [8, h, w] -> detections, best first."""
    rows, columns = np.nonzero(heat >= threshold)
    order = np.argsort(-heat[rows, columns])[:most]
    found: list[Detection] = []
    for row, column in zip(rows[order], columns[order]):
        centre = np.array([(column + 0.5) * CELL, (row + 0.5) * CELL])
        quad = corners[:, row, column].reshape(4, 2) + centre
        box = np.array([*quad.min(0), *quad.max(0)])
        if all(iou(box, other.box) < 0.4 for other in found):
            found.append(Detection(float(heat[row, column]), quad, box))
    return found
