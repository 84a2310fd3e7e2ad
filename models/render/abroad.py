"""Plates of Europe, Brazil and Mexico."""
from __future__ import annotations

import cv2
import numpy as np

from . import formats
from .parts import Plate, draw_bolts, draw_frame, draw_serial, draw_text, finish
from .styles import BR, EU, MX, STYLES, background, ink, scalar

EU_SIZE = (520, 110)  # px, 520 x 110 mm
BR_SIZE = (400, 130)  # px, 400 x 130 mm
MX_SIZE = (400, 200)  # px, 12 x 6 inch


def _arms(canvas: np.ndarray, rng: np.random.Generator, country: str, width: int) -> None:
    """In place of the blue band, as before it came: a shield above the country's letters. Neither is part of the serial."""
    colour = scalar(ink(rng, ("black", "black", "eu blue")[int(rng.integers(3))]))
    paper = scalar(canvas[0, 0])
    x, top, half, high = width / 2 + 3, rng.uniform(6, 16), rng.uniform(13, 21), rng.uniform(34, 46)
    shield = np.array([[-half, 0], [half, 0], [half, high * 0.5], [half * 0.6, high * 0.82], [0, high], [-half * 0.6, high * 0.82],
                       [-half, high * 0.5]]) + [x, top]
    cv2.fillPoly(canvas, [np.round(shield * 8).astype(np.int32)], colour, cv2.LINE_AA, 3)
    bars = (high * 0.22, high * 0.4)[: int(rng.integers(3))]
    for y in bars:  # the charge, light on dark
        cv2.line(canvas, (round(x - half * 0.5), round(top + y)), (round(x + half * 0.5), round(top + y)), paper, 3, cv2.LINE_AA)
    if bars:
        cv2.line(canvas, (round(x), round(top + 5)), (round(x), round(top + high * 0.7)), paper, 3, cv2.LINE_AA)
    draw_text(canvas, rng, country, "sans", x, top + high + rng.uniform(16, 26), rng.uniform(20, 30), width - 6, colour)


def european(rng: np.random.Generator, text: str | None, wide: bool = False) -> Plate:
    """A European plate; `wide`: its characters stand far apart, as where each has a place of one width."""
    w, h = EU_SIZE
    country, patterns, yellow = formats.EU_COUNTRIES[int(rng.integers(len(formats.EU_COUNTRIES)))]
    if text is not None:
        every = patterns + tuple(p for c in formats.EU_COUNTRIES for p in c[1])
        marks = formats.lay(text, every)
    elif rng.random() < 0.06:
        marks = formats.personal(rng)
    else:
        marks = formats.fill(rng, patterns[int(rng.integers(len(patterns)))])
    canvas = np.empty((h, w, 4), np.float32)
    canvas[:] = ink(rng, "yellow" if rng.random() < yellow else "white")
    band, kind = int(rng.uniform(40, 48)), rng.random()
    if kind > 0.93:
        band = 0
    elif kind > 0.78:
        _arms(canvas, rng, country, band)
        wide = wide or rng.random() < 0.7
    else:
        canvas[:, :band] = ink(rng, "eu blue")
        gold = scalar(ink(rng, "yellow"))
        for k in range(12):
            a = k * np.pi / 6
            cv2.circle(canvas, (int((band / 2 + np.cos(a) * 12) * 8), int((32 + np.sin(a) * 12) * 8)),
                       16, gold, -1, cv2.LINE_AA, 3)
        draw_text(canvas, rng, country, "sans", band / 2, 83, 22, band - 10, ink(rng, "white"))
    high = int(rng.uniform(74, 82))
    y0 = (h - high) // 2 + int(rng.uniform(-2, 3))
    black = ink(rng, "black")
    draw_serial(canvas, rng, marks, ("condensed", "semi", "semi", "boxy")[int(rng.integers(4))],
            (band + 8, y0, w - 10, y0 + high), black, rng.uniform(0.2, 0.7) if rng.random() < .7 else 0,
            0.8, *(((0.64, 0.8), (0.2, 0.42)) if wide else ((0.58, 0.64), (0.13, 0.2))))
    if rng.random() < 0.75:
        cv2.rectangle(canvas, (3, 3), (w - 4, h - 4), scalar(black), int(rng.integers(2, 4)))
    if rng.random() < 0.25:  # dealer's holder under the plate
        thick = int(rng.uniform(5, 12))
        canvas[h - thick:] = ink(rng, "black")
    return finish(canvas, rng, formats.text_of(marks), "EU", EU)


def brazilian(rng: np.random.Generator, text: str | None) -> Plate:
    """A Brazilian plate: grey with the town's name, or Mercosur's with its blue band."""
    w, h = BR_SIZE
    patterns, never = formats.of_country(BR)
    mercosur = rng.random() < 0.35 if text is None else not text[-4:].isdigit()
    marks = formats.fill(rng, patterns[mercosur], never) if text is None else formats.lay(text, patterns)
    canvas = np.empty((h, w, 4), np.float32)
    if mercosur:
        canvas[:] = ink(rng, "white")
        band = int(rng.uniform(24, 32))
        canvas[:band] = ink(rng, "eu blue")
        draw_text(canvas, rng, "BRASIL", "sans", w / 2, band / 2, 16, w * 0.3, ink(rng, "white"))
        draw_text(canvas, rng, "BR", "sans", 22, h - 18, 15, 26, ink(rng, "black"))
        serial, high = ink(rng, ("black", "black", "black", "red", "blue")[int(rng.integers(5))]), rng.uniform(72, 80)
        box = (34 if rng.random() < 0.5 else 18, int(band + 6), w - 16)
        space = ((0.58, 0.72), (0.14, 0.3))
    else:
        taxi = rng.random() < 0.1
        canvas[:] = ink(rng, "red" if taxi else ("silver", "silver", "grey", "white")[int(rng.integers(4))])
        serial, high = ink(rng, "white" if taxi else "black"), rng.uniform(70, 82)
        if not taxi and canvas[0, 0, 3] < serial[3] + 70:  # grey paint throws the lamp back all the same
            canvas[..., 3] = rng.uniform(140, 230)
        strip = (w / 2 - 90, 5, w / 2 + 90, 26)
        if rng.random() < 0.6:
            cv2.rectangle(canvas, (int(strip[0]), 5), (int(strip[2]), 26), scalar(serial), 1, cv2.LINE_AA)
        draw_text(canvas, rng, formats.BR_TOWNS[int(rng.integers(len(formats.BR_TOWNS)))], "narrow", w / 2, 16, rng.uniform(12, 16), 170, serial)
        box = (14, 32, w - 14)
        space = ((0.58, 0.68), (0.13, 0.24))
    draw_serial(canvas, rng, marks, ("condensed", "semi", "boxy")[int(rng.integers(3))], (box[0], box[1], box[2], min(h - 8, int(box[1] + high))),
            serial, rng.uniform(0.3, 1.0) if rng.random() < 0.8 else 0.0, 0.8, *space)
    if rng.random() < 0.6:
        cv2.rectangle(canvas, (3, 3), (w - 4, h - 4), scalar(serial), int(rng.integers(2, 4)))
    return finish(canvas, rng, formats.text_of(marks), BR, BR)


def mexican(rng: np.random.Generator, text: str | None) -> Plate:
    """A Mexican plate: the state's name above, what kind of vehicle below, bands and a picture in its colours."""
    w, h = MX_SIZE
    patterns, never = formats.of_country(MX)
    marks = formats.fill(rng, patterns[int(rng.integers(len(patterns)))], never) if text is None else formats.lay(text, patterns)
    canvas, serial, accent = background(rng, STYLES["any"], w, h)
    line = lambda: formats.MX_LINES[int(rng.integers(len(formats.MX_LINES)))]
    draw_text(canvas, rng, formats.MX_STATES[int(rng.integers(len(formats.MX_STATES)))], ("sans", "slab", "narrow")[int(rng.integers(3))],
          w / 2, rng.uniform(20, 30), rng.uniform(18, 28), w * 0.62, accent, rng.random() < 0.7)
    draw_text(canvas, rng, line(), "sans", w * rng.uniform(0.35, 0.65), h - rng.uniform(14, 22), rng.uniform(11, 18), w * 0.5, accent)
    if rng.random() < 0.4:
        draw_text(canvas, rng, line(), "narrow", w * 0.82, h - 16, 11, w * 0.25, accent)
    high = int(rng.uniform(64, 92))
    y0 = int(h * 0.52 - high / 2 + rng.uniform(-5, 5))
    draw_serial(canvas, rng, marks, ("condensed", "semi", "boxy", "overpass")[int(rng.integers(4))],
            (int(rng.uniform(12, 24)), y0, w - int(rng.uniform(12, 24)), y0 + high), serial, rng.uniform(0.4, 1.2) if rng.random() < 0.8 else 0.0)
    draw_bolts(canvas, rng, w, h)
    state = MX
    if rng.random() < 0.22 and draw_frame(canvas, rng, w, h)[0]:
        state = ""
    return finish(canvas, rng, formats.text_of(marks), state, MX)
