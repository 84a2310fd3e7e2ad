"""Plates as a roadside camera's sensor sees them: from the side, smeared by their travel, under day or lamp."""
from __future__ import annotations

import cv2
import numpy as np

from . import optics
from .parts import Plate
from .plates import draw_plate

#: OpenCV's pixel centres are whole numbers, ours are halves.
HALF = np.float32(0.5)
#: Stroke of a US die in metres, measured on drawn plates.
STROKE = 0.0087
#: Share of pictures that come through the stream's codec, and of those that come as stills.
STREAMED, STILL = 0.2, 0.5


def travel(rng: np.random.Generator, px_per_metre: float) -> float:
    """Motion blur in px of a vehicle that passes: its speed (5 to 40 m/s, 11 to 89 mph) times the exposure (1/5000 to 1/500 s),
    of which is seen what goes across the view and not towards the camera (a tenth to eight tenths)."""
    exposure = np.exp(rng.uniform(np.log(1 / 5000), np.log(1 / 500)))
    return float(rng.uniform(5, 40) * exposure * rng.uniform(0.1, 0.8) * px_per_metre)


def degrade(rng: np.random.Generator, luma: np.ndarray, night: bool, px_per_metre: float) -> np.ndarray:
    """Light, lens, sensor and codec on a plate at sensor scale: uint8 h x w in and out.

    The blurs are in sensor px and stay below what leaves a plate's strokes legible; what would be smeared more passes at another exposure.
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
    px_stroke = px_per_metre * STROKE
    while (way := travel(rng, px_per_metre)) > 1.1 * px_stroke + 0.8:
        pass
    luma = optics.smear(luma, way, rng.normal(np.pi / 2, 0.9))
    luma = optics.defocus(luma, rng.uniform(0.2, min(2.6, 0.34 * px_stroke + 0.25)))
    sigma = float(rng.choice([1.0, 2.5, 6.0, 12.0])) * rng.uniform(0.5, 1.3)
    # No more noise than leaves a person able to read: a label nobody could see teaches guessing.
    luma = optics.add_noise(rng, luma, min(sigma, 0.3 * float(luma.std()) + 0.5))
    if rng.random() < 0.06:
        luma = optics.rain(rng, luma, int(rng.integers(1, 6)))
    codec = rng.random()
    if codec < STREAMED:
        return optics.h264(rng, luma)
    return optics.jpeg(luma, int(rng.uniform(28, 95))) if codec < STREAMED + STILL else luma


def halves(quad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower half of a plate's corners [4, 2]."""
    left, right = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
    return np.stack([quad[0], quad[1], right, left]), np.stack([left, right, quad[2], quad[3]])


def plate_on_sensor(rng: np.random.Generator, style: str | None = None, text: str | None = None) -> tuple[np.ndarray, np.ndarray, Plate]:
    """A plate on some bumper: (luma uint8 h x w, its corners [4, 2] in px of that, the plate), 60 to 280 px wide before it is turned away
    (130 with stacked characters, abroad a quarter more), by day or in the lamp's infrared."""
    plate = draw_plate(rng, style, text)
    night = rng.random() < 0.5
    face = plate.ir if night else cv2.cvtColor(plate.image, cv2.COLOR_BGR2GRAY)
    ph, pw = face.shape
    least = 130 if plate.style == "stacks" else 60  # small characters are less than half as high
    long = float(np.exp(rng.uniform(np.log(least), np.log(280)))) * (1.0 if pw < 2.5 * ph else 1.25)
    narrow = np.cos(np.radians(min(55.0, abs(rng.normal(0, 22)))))
    sw, sh = long * narrow, long * ph / pw * np.cos(np.radians(rng.uniform(0, 28)))
    roll, shear = np.radians(rng.normal(0, 4.5)), rng.normal(0, 0.07)
    unit = np.array([[-.5, -.5], [.5, -.5], [.5, .5], [-.5, .5]])
    quad = unit * [sw, sh]
    quad[:, 1] += quad[:, 0] * shear
    quad *= 1 + unit[:, :1] * rng.normal(0, 0.05)  # nearer side larger
    c, s = np.cos(roll), np.sin(roll)
    quad = quad @ np.array([[c, s], [-s, c]])
    pad = 0.15 * sw + 4
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
    if rng.random() < 0.4:  # something lies just above the plate
        luma[: int(pad * rng.uniform(0.2, 0.9))] = rng.uniform(0, 255)
    for side in (np.s_[:, : int(pad * rng.uniform(0.2, 0.9))], np.s_[:, size[0] - int(pad * rng.uniform(0.2, 0.9)) :]):
        if rng.random() < 0.25:  # or beside it: an upright edge that is no I and no 1
            luma[side] = rng.uniform(0, 255)
    return degrade(rng, luma, night, long / plate.metres), quad.astype(np.float32), plate
