"""Vehicle faces: the rear or front of a made-up vehicle, drawn flat.

Channels are blue, green, red and 850 nm IR, as for plates. Nothing copies a real model.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import glyphs

PPM = 200  # px per metre where the caller does not say
KINDS = ("sedan", "suv", "pickup", "van", "truck")
# kind: width, height, length (m), height of the shoulder and of the plate's centre (m)
_SIZES = {
    "sedan": (1.82, 1.46, 4.6, 0.95, 0.62), "suv": (1.92, 1.76, 4.7, 1.08, 0.78),
    "pickup": (2.0, 1.88, 5.6, 1.15, 0.68), "van": (2.05, 2.35, 5.6, 1.15, 0.66),
    "truck": (2.45, 3.1, 7.5, 1.2, 0.72),
}
_PAINTS = ((235, 235, 238), (200, 202, 206), (150, 153, 158), (92, 96, 102), (30, 31, 35), (16, 17, 20),
           (140, 22, 28), (178, 34, 38), (30, 52, 110), (58, 90, 140), (40, 74, 56), (120, 96, 70),
           (206, 190, 160), (220, 150, 30), (96, 30, 44), (190, 196, 176))
WORDS = ("TURBO", "4X4", "HYBRID", "LE 2.4", "SPORT", "V6", "LIMITED", "AWD", "SE", "GT 500", "XL7", "2500 HD", "ECO")
SIGNS = ("PLUMBING 24H", "CALL 555 0142", "FRESH BREAD", "CITY CABS 88", "HVAC REPAIR", "STUDENT DRIVER",
         "HOW IS MY DRIVING", "LANE MOVERS", "WWW.NOPLATE.EXAMPLE", "BABY ON BOARD", "UNIT 4127", "KEEP BACK 200 FT",
         "A1 ELECTRIC", "RENT ME 1995", "COUNTY 27", "FLOWERS")


@dataclass(frozen=True)
class Vehicle:
    """One face of a vehicle. Metres: x from the middle, y up from the road."""

    image: np.ndarray  # uint8 H x W x 4: blue, green, red, IR
    alpha: np.ndarray  # uint8 H x W
    width: float
    height: float
    length: float
    plate_y: float  # height of the plate's centre, m
    shoulder: float  # where the body ends and the windows begin, m
    lamps: tuple[tuple[float, float], ...]  # x, y in m, headlights or tail lamps
    front: bool
    kind: str
    paint: tuple[float, float, float, float]
    roof: float  # width of the roof against the vehicle's


def _t(rgb, ir) -> tuple[float, ...]:
    return (float(rgb[2]), float(rgb[1]), float(rgb[0]), float(ir))


def _round_box(image, x0, y0, x1, y1, r, colour, scale=1) -> None:
    """Filled box with round corners, px."""
    x0, y0, x1, y1, r = (int(round(v)) for v in (x0, y0, x1, y1, r))
    r = max(0, min(r, (x1 - x0) // 2, (y1 - y0) // 2))
    cv2.rectangle(image, (x0 + r, y0), (x1 - r, y1), colour, -1)
    cv2.rectangle(image, (x0, y0 + r), (x1, y1 - r), colour, -1)
    for c in ((x0 + r, y0 + r), (x1 - r, y0 + r), (x0 + r, y1 - r), (x1 - r, y1 - r)):
        cv2.circle(image, c, r, colour, -1, cv2.LINE_AA)


def write(image, text, x, y, height, max_width, colour, face="sans") -> None:
    """Small lettering, centred at x, y px."""
    mask = glyphs.legend(face, text, max(4, int(height)), max(8, int(max_width)))
    x0, y0 = int(x - mask.shape[1] / 2), int(y - mask.shape[0] / 2)
    if x0 < 0 or y0 < 0 or y0 + mask.shape[0] > image.shape[0] or x0 + mask.shape[1] > image.shape[1]:
        return
    view = image[y0:y0 + mask.shape[0], x0:x0 + mask.shape[1]]
    view[:] = (view + mask[..., None] * (np.asarray(colour, np.float32) - view)).astype(image.dtype)


def _glass(image, pts, rng) -> None:
    """A window: dark with a slanting reflection and a hint of headrests."""
    pts = np.array(pts, np.int32)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [pts], 255, cv2.LINE_AA)
    x0, y0 = pts.min(0)
    x1, y1 = pts.max(0)
    pane = np.empty((y1 - y0 + 1, x1 - x0 + 1, 4), np.float32)
    base = rng.uniform(22, 60)
    ramp = np.linspace(rng.uniform(1.2, 2.4), 0.8, pane.shape[0], dtype=np.float32)[:, None]
    pane[..., 0], pane[..., 1], pane[..., 2] = base * 1.12 * ramp, base * 1.05 * ramp, base * ramp
    pane[..., 3] = base * 0.5 * ramp
    w = pane.shape[1]
    for fx in (0.27, 0.73):
        c = (int(w * fx), pane.shape[0])
        cv2.ellipse(pane, c, (int(w * 0.07), int(pane.shape[0] * 0.45)), 0, 0, 360, (14, 14, 15, 8), -1, cv2.LINE_AA)
    a = int(rng.uniform(0.1, 0.7) * w)
    b = a + int(rng.uniform(0.08, 0.25) * w)
    shine = np.zeros(pane.shape[:2], np.float32)
    lean = int(pane.shape[0] * 0.5)
    cv2.fillPoly(shine, [np.array([[a + lean, 0], [b + lean, 0], [b, pane.shape[0]], [a, pane.shape[0]]], np.int32)], 1.0, cv2.LINE_AA)
    pane += shine[..., None] * rng.uniform(8, 45)
    m = mask[y0:y1 + 1, x0:x1 + 1, None] / 255.0
    view = image[y0:y1 + 1, x0:x1 + 1]
    view[:] = view + m * (pane - view)


def draw_vehicle(rng: np.random.Generator, front: bool, kind: str | None = None,
                 lettered: bool = False, ppm: int = PPM) -> Vehicle:
    """One vehicle face, at random, at ppm px per metre; lettered puts words on it."""
    u = ppm / PPM  # lengths in px below were found at PPM
    line = max(1, round(2 * u))
    kind = kind or KINDS[int(rng.choice(5, p=(0.38, 0.27, 0.15, 0.12, 0.08)))]
    wm, hm, lm, shoulder, plate_y = _SIZES[kind]
    grow = rng.uniform(0.95, 1.05, 3)
    wm, hm, lm = wm * grow[0], hm * grow[1], lm * grow[2]
    if front:
        plate_y = rng.uniform(0.42, 0.55)
    else:
        plate_y *= rng.uniform(0.9, 1.12)
    w, h = int(wm * ppm) + 2, int(hm * ppm) + 2
    image = np.zeros((h, w, 4), np.float32)
    alpha = np.zeros((h, w), np.uint8)
    paint = np.array(_PAINTS[int(rng.integers(len(_PAINTS)))], np.float32)
    if kind in ("van", "truck") and rng.random() < 0.6:
        paint = np.array((228, 228, 230), np.float32)
    ir = float(np.clip(paint.mean() * 0.5 + rng.uniform(10, 90), 12, 200))
    body = _t(paint, ir)

    def y(m: float) -> float:
        return h - m * ppm

    cx, sy = w / 2, y(shoulder)
    wheel = (18.0, 18.0, 19.0, 14.0)
    for side in (0.02, 0.80):
        box = (int(w * side), int(y(0.34)), int(w * (side + 0.18)), h - 1)
        cv2.rectangle(image, box[:2], box[2:], wheel, -1)
        cv2.rectangle(alpha, box[:2], box[2:], 255, -1)
    boxy = kind in ("van", "truck")
    lettered = lettered or (boxy and not front and rng.random() < 0.5)
    top_in = 0.03 if boxy else rng.uniform(0.12, 0.2)
    roof = [[w * 0.02, sy + 6 * u], [w * 0.98, sy + 6 * u], [w * (1 - top_in), h * 0.03], [w * (1 - top_in - 0.05), 1],
            [w * (top_in + 0.05), 1], [w * top_in, h * 0.03]]
    for target, colour in ((image, body), (alpha, 255)):
        cv2.fillPoly(target, [np.array(roof, np.int32)], colour, cv2.LINE_AA)
        _round_box(target, 1, sy - 4 * u, w - 2, y(0.26), 0.09 * ppm, colour)
    # Light falls from above: roof and shoulder bright, sides and sill dark.
    column = np.interp(np.arange(h), [0, h * 0.1, sy, sy + 0.12 * ppm, y(0.26)], [1.15, 0.95, 1.1, 0.95, 0.55])
    row = 1.0 - 0.28 * np.abs(np.linspace(-1, 1, w)) ** 4
    image *= (column[:, None] * row[None, :]).astype(np.float32)[..., None]

    if not boxy or front:
        low = sy - 0.02 * ppm
        high = h * 0.08 if not (kind == "truck") else y(2.2)
        ti = top_in + 0.045
        _glass(image, [[w * 0.1, low], [w * 0.9, low], [w * (1 - ti), high], [w * ti, high]], rng)
    else:  # doors, with or without panes
        cv2.line(image, (w // 2, int(h * 0.05)), (w // 2, int(y(0.4))), (20, 20, 20, 12), line, cv2.LINE_AA)
        if rng.random() < 0.55 and not lettered:
            for a, b in ((0.09, 0.46), (0.54, 0.91)):
                _glass(image, [[w * a, y(1.25)], [w * b, y(1.25)], [w * b, h * 0.1], [w * a, h * 0.1]], rng)
    dark = (30.0, 30.0, 31.0, 22.0)
    by0, by1 = y(0.62 if front else 0.56), y(0.28)
    if rng.random() < 0.5:
        _round_box(image, w * 0.03, by0, w * 0.97, by1, 10 * u, dark if rng.random() < 0.6 else (175, 175, 175, 120))
    else:
        cv2.line(image, (int(w * .04), int(by0)), (int(w * .96), int(by0)), tuple(v * 0.45 for v in body), line, cv2.LINE_AA)
    lamps = []
    ly = shoulder - rng.uniform(0.12, 0.24) if not boxy or front else shoulder - rng.uniform(0.0, 0.3)
    lw, lh = rng.uniform(0.10, 0.2) * w, rng.uniform(0.09, 0.2) * ppm
    if not front and kind in ("suv", "pickup", "van", "truck") and rng.random() < 0.7:
        lw, lh = 0.08 * w, rng.uniform(0.25, 0.5) * ppm
    for side in (-1, 1):
        x = cx + side * (w * 0.47 - lw / 2)
        shape = (150, 22, 22) if not front else (205, 208, 212)
        _round_box(image, x - lw / 2, y(ly) - lh / 2, x + lw / 2, y(ly) + lh / 2, lh * 0.35, _t(shape, 120 if not front else 90))
        inner = (225, 70, 50) if not front else (246, 248, 250)
        cv2.ellipse(image, (int(x), int(y(ly))), (int(lw * 0.24), int(lh * 0.26)), 0, 0, 360, _t(inner, 190), -1, cv2.LINE_AA)
        lamps.append(((x - cx) / ppm, ly))
    if front:
        gw, gy0, gy1 = rng.uniform(0.3, 0.55) * w, y(ly + 0.1), y(max(plate_y + 0.12, ly - 0.18))
        _round_box(image, cx - gw / 2, gy0, cx + gw / 2, max(gy1, gy0 + 12 * u), 8 * u, dark)
        n = int(rng.integers(3, 8))
        for k in range(n):
            gy = int(gy0 + (max(gy1, gy0 + 12 * u) - gy0) * (k + 0.5) / n)
            tone = rng.uniform(60, 190)
            cv2.line(image, (int(cx - gw * .46), gy), (int(cx + gw * .46), gy), (tone, tone, tone, tone * .7), line, cv2.LINE_AA)
        cv2.circle(image, (int(cx), int((gy0 + max(gy1, gy0 + 12 * u)) / 2)), int(0.06 * ppm), (190, 190, 190, 150), -1, cv2.LINE_AA)
    else:
        if not boxy:
            cv2.line(image, (int(w * .2), int(sy + 8 * u)), (int(w * .8), int(sy + 8 * u)), tuple(v * .5 for v in body), line, cv2.LINE_AA)
            cv2.circle(image, (int(cx), int(y(min(shoulder - 0.06, plate_y + 0.26)))), int(0.04 * ppm), (180, 180, 182, 140), -1, cv2.LINE_AA)
        for side in (0.24, 0.76)[:int(rng.integers(0, 3))]:
            word = WORDS[int(rng.integers(len(WORDS)))]
            light = 210.0 if paint.mean() < 128 else 40.0
            write(image, word, w * side, y(rng.uniform(plate_y + 0.05, shoulder - 0.04)),
                  rng.uniform(8, 14) * u, w * 0.18, (light, light, light, light))
        if rng.random() < 0.35:  # a bumper sticker: a small white sheet with words, not a plate
            sx, syy = w * rng.uniform(0.1, 0.7), y(rng.uniform(0.36, 0.5))
            sw, sh = rng.uniform(0.2, 0.34) * ppm, rng.uniform(0.07, 0.11) * ppm
            cv2.rectangle(image, (int(sx), int(syy)), (int(sx + sw), int(syy + sh)), _t(rng.uniform(120, 250, 3), rng.uniform(60, 190)), -1)
            write(image, SIGNS[int(rng.integers(len(SIGNS)))], sx + sw / 2, syy + sh / 2, sh * .5, sw * .9, (30, 30, 40, 50))
    if lettered:
        for k in range(int(rng.integers(2, 4))):
            word = SIGNS[int(rng.integers(len(SIGNS)))]
            tint = _t(rng.uniform(10, 110, 3) if paint.mean() > 128 else rng.uniform(170, 250, 3), rng.uniform(20, 120) if ir > 100 else 190)
            write(image, word, cx, y(hm - 0.35 - k * rng.uniform(0.28, 0.36)), rng.uniform(20, 46) * u, w * 0.8, tint,
                  ("sans", "narrow", "slab", "script")[int(rng.integers(4))])
    # The recess that the plate sits in.
    _round_box(image, cx - 0.24 * ppm, y(plate_y + 0.11), cx + 0.24 * ppm, y(plate_y - 0.11), 8 * u,
               tuple(float(v) * 0.5 for v in (image[int(y(plate_y)), int(w * 0.3)])))
    return Vehicle(np.clip(image, 0, 255).astype(np.uint8), alpha, wm, hm, lm, plate_y, shoulder, tuple(lamps),
                   front, kind, body, 1 - 2 * top_in - 0.03)
