"""Under which conditions a plate was photographed: light, width, angle, blur. Measured in the photo itself."""

from __future__ import annotations

import cv2
import numpy as np

from .outcome import Outcome

#: Mean luma below which a photo counts as night.
NIGHT = 70.0
WIDTHS = (60, 90, 130, 200)
ANGLES = (3.0, 8.0, 15.0)
#: Steps of `crispness`.
CRISP = (0.06, 0.12, 0.2)


def _bin(value: float, steps, unit: str) -> str:
    """The name of the interval that a value falls into, sorted as text by its number first."""
    for index, step in enumerate(steps):
        if value < step:
            return f"{index}: below {step:g}{unit}"
    return f"{len(steps)}: from {steps[-1]:g}{unit}"


def angle(corners) -> float:
    """Degrees by which the plate is turned or sheared in the picture: the larger of its edges' leanings."""
    q = np.asarray(corners, float)
    along, up = (q[1] - q[0]) + (q[2] - q[3]), (q[3] - q[0]) + (q[2] - q[1])
    return float(max(abs(np.degrees(np.arctan2(along[1], along[0]))), abs(np.degrees(np.arctan2(up[0], up[1])))))


def crispness(patch: np.ndarray) -> float:
    """Half the mean square step between neighbouring pixels of a row over the variance, times the width over 100 px:
    the appliance's own measure (`rectify::sharpness`)."""
    pixels = patch.astype(np.float64)
    variance = pixels.var()
    return float((np.diff(pixels, axis=1) ** 2).sum() / pixels.size / (2 * variance) * patch.shape[1] / 100) if variance > 4 else 0.0


def conditions(outcome: Outcome, grey: np.ndarray) -> dict[str, str]:
    """Kind of condition -> the interval of this plate. Angle and blur need that it was found."""
    box = outcome.label.box if outcome.label.box else (0, 0, grey.shape[1], grey.shape[0])
    found = {"light": "night" if grey.mean() < NIGHT else "day", "plate width": _bin(box[2] - box[0], WIDTHS, " px")}
    x1, y1, x2, y2 = (int(max(0, v)) for v in box)
    patch = grey[y1:y2, x1:x2]
    if patch.size:
        found["crispness"] = _bin(crispness(patch), CRISP, "")
    if outcome.seen:
        found["angle"] = _bin(angle(outcome.seen.corners), ANGLES, "°")
    return found


def load(folder, photo: str) -> np.ndarray | None:
    """A photo as luma [h, w] uint8; None where it can't be read."""
    return cv2.imread(str(folder / photo), cv2.IMREAD_GRAYSCALE)
