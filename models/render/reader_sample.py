"""Rectified plate crops as the reader gets them: one call, one training sample."""
from __future__ import annotations

import cv2
import numpy as np

from . import optics
from .plates import draw_plate

#: OpenCV's pixel centres are whole numbers, ours are halves.
HALF = np.float32(0.5)


def degrade(rng: np.random.Generator, luma: np.ndarray, night: bool) -> np.ndarray:
    """Light, lens, sensor and codec on a plate at sensor scale: uint8 h x w in and out.

    The blurs are in sensor px and stay below what leaves a stroke of 2.5 px legible.
    """
    w = luma.shape[1]
    if not night and rng.random() < 0.3:
        luma = optics.shade(rng, luma, rng.uniform(0.2, 0.65))
    if rng.random() < 0.12:  # a lamp's or the sun's glare on the sheet
        luma = optics.bloom(luma, [(rng.uniform(0, w), rng.uniform(0, luma.shape[0]),
                                    rng.uniform(0.05, 0.25) * w, rng.uniform(40, 160))])
    u = rng.random()
    if night and u < 0.25:  # over-exposed: the sheet saturates and eats into the strokes
        luma = optics.defocus(luma, rng.uniform(0.5, 1.2))
        middle = luma[luma.shape[0] * 2 // 5:luma.shape[0] * 3 // 5, w // 4:w * 3 // 4].ravel()
        ink = max(20.0, float(np.partition(middle, middle.size // 8)[middle.size // 8]))
        luma = optics.tone(luma, min(rng.uniform(1.3, 2.4), 185.0 / ink), rng.uniform(0, 0.1),
                           rng.uniform(0.8, 1.0))
    elif u < 0.45:  # under-exposed or hazy: low contrast
        luma = optics.tone(luma, rng.uniform(0.22, 0.6), rng.uniform(0.0, 0.3), 1.0)
    else:
        luma = optics.tone(luma, rng.uniform(0.65, 1.15), rng.uniform(-0.05, 0.08), rng.uniform(0.7, 1.4))
    px_stroke = w * 0.022  # stroke of a US die at this scale
    if rng.random() < 0.45:
        luma = optics.smear(luma, rng.uniform(1.0, min(7.0, 1.1 * px_stroke + 0.8)),
                            rng.normal(np.pi / 2, 0.9))
    luma = optics.defocus(luma, rng.uniform(0.2, min(2.6, 0.34 * px_stroke + 0.25)))
    sigma = float(rng.choice([1.0, 2.5, 6.0, 12.0])) * rng.uniform(0.5, 1.3)
    # No more noise than leaves a person able to read: a label nobody could see teaches guessing.
    luma = optics.add_noise(rng, luma, min(sigma, 0.3 * float(luma.std()) + 0.5))
    if rng.random() < 0.06:
        luma = optics.rain(rng, luma, int(rng.integers(1, 6)))
    if rng.random() < 0.6:
        luma = optics.jpeg(luma, int(rng.uniform(28, 95)))
    return luma


def halves(quad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower half of a plate's corners [4, 2]."""
    left, right = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
    return np.stack([quad[0], quad[1], right, left]), np.stack([left, right, quad[2], quad[3]])


def render_reader_sample(rng: np.random.Generator, w: int, h: int, style: str | None = None,
                         text: str | None = None, margin: float = 0.04, jitter: float = 0.025,
                         ) -> tuple[np.ndarray, str, str]:
    """One sample: (luma uint8 h x w, text, state).

    The crop shows the plate's four corners mapped to a rectangle that lies `margin` (share
    of the plate's side) inside the crop on each side, with corners wrong by a normal error
    of `jitter` (share of the whole plate's height), as a detector's are. A plate of two rows is shown whole, and then has
    no text as no line of it can be read, or one of its halves, with that row's text and no state.
    """
    plate = draw_plate(rng, style, text)
    night = rng.random() < 0.5
    face = plate.ir if night else cv2.cvtColor(plate.image, cv2.COLOR_BGR2GRAY)
    ph, pw = face.shape
    us = pw < 2.5 * ph

    # Onto the sensor: seen from the side and askew, on some bumper.
    long = float(np.exp(rng.uniform(np.log(72), np.log(280)))) * (1.0 if us else 1.25)
    narrow = np.cos(np.radians(min(55.0, abs(rng.normal(0, 22)))))
    sw, sh = long * narrow, long * ph / pw * np.cos(np.radians(rng.uniform(0, 28)))
    roll, shear = np.radians(rng.normal(0, 4.5)), rng.normal(0, 0.07)
    unit = np.array([[-.5, -.5], [.5, -.5], [.5, .5], [-.5, .5]])
    quad = unit * [sw, sh]
    quad[:, 1] += quad[:, 0] * shear
    quad *= 1 + unit[:, :1] * rng.normal(0, 0.05)  # nearer side larger
    c, s = np.cos(roll), np.sin(roll)
    quad = quad @ np.array([[c, s], [-s, c]])
    pad = 0.12 * sw + 4
    quad -= quad.min(0) - pad
    size = tuple(int(v) for v in np.ceil(quad.max(0) + pad))
    shrink = min(1.0, 1.3 * long / pw)
    if shrink < 0.9:
        face = cv2.resize(face, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    fh, fw = face.shape
    to_sensor = cv2.getPerspectiveTransform(
        np.array([[0, 0], [fw, 0], [fw, fh], [0, fh]], np.float32) - HALF, np.float32(quad) - HALF)
    bumper = rng.uniform(5, 60) if night else rng.uniform(10, 230)
    luma = cv2.warpPerspective(face, to_sensor, size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_CONSTANT, borderValue=bumper)
    if rng.random() < 0.4:  # something lies just above or below the plate
        luma[: int(pad * rng.uniform(0.2, 0.9))] = rng.uniform(0, 255)
    luma = degrade(rng, luma, night)

    text, state, half = plate.text, plate.state, int(rng.integers(3)) if plate.upper else 2
    if plate.upper:
        text, state = ((text[: plate.upper], ""), (text[plate.upper :], ""), ("", state))[half]

    # Back, with the corners as well as the detector found them.
    found = quad + rng.normal(0, jitter * sh, (4, 2)) + rng.normal(0, jitter * sh * 0.7, 2)
    if half < 2:
        found = halves(found)[half]
    mx, my = w * margin / (1 + 2 * margin), h * margin / (1 + 2 * margin)
    target = np.array([[mx, my], [w - mx, my], [w - mx, h - my], [mx, h - my]], np.float32)
    back = cv2.getPerspectiveTransform(np.float32(found) - HALF, target - HALF)
    crop = cv2.warpPerspective(luma, back, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return crop, text, state
