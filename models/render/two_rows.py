"""Plates whose serial stands in two rows: motorcycles, square European plates, India's."""
from __future__ import annotations

import cv2
import numpy as np

from . import formats
from .parts import Plate, draw_bolts, draw_serial, draw_text, finish
from .styles import BR, TWO_ROWS, ink, scalar

#: Kind: its size in px, formats with a `/` between the rows, state, share of the drawn ones.
_KINDS = {
    "european": ((340, 240), ("AA/999AA", "AAA/9999", "AA*99/AAA", "AA 99/AAA", "999/AAA", "AAA/A99", "A*AA/999"), "EU", 0.4),
    "british": ((340, 240), ("AA99/AAA", "A999/AAA"), "EU", 0.1),
    "brazilian": ((300, 250), ("AAA/9999", "AAA/9A99"), BR, 0.2),
    "indian": ((340, 200), ("AA99A/9999", "AA99AA/9999", "AA99/A9999", "AA-99/AA9999", "AA 99 A/9999"), "other", 0.3),
}


def two_rows(rng: np.random.Generator, text: str | None) -> Plate:
    """A plate of two rows; `Plate.upper` says how many characters stand in the upper one. A given text is broken in the middle."""
    (w, h), patterns, state, _ = list(_KINDS.values())[int(rng.choice(len(_KINDS), p=[kind[3] for kind in _KINDS.values()]))]
    if text is None:
        rows = [formats.fill(rng, row) for row in patterns[int(rng.integers(len(patterns)))].split("/")]
    else:
        rows = [formats.lay(part, ()) for part in (text[: len(text) // 2], text[len(text) // 2 :])]
    canvas = np.empty((h, w, 4), np.float32)
    canvas[:] = ink(rng, "yellow" if state != "EU" and rng.random() < 0.15 or rng.random() < 0.05 else "white" if rng.random() < 0.8 else "silver")
    black, top = ink(rng, "black"), 10
    left = 0
    if state == "EU" and rng.random() < 0.8:  # the band beside the upper row, or all the way down
        left = int(rng.uniform(34, 44))
        canvas[: h // 2 if rng.random() < 0.7 else h, :left] = ink(rng, "eu blue")
        draw_text(canvas, rng, formats.EU_COUNTRIES[int(rng.integers(len(formats.EU_COUNTRIES)))][0], "sans", left / 2, h * 0.36, 22, left - 8, ink(rng, "white"))
    elif state == BR:
        top = 44
        draw_text(canvas, rng, formats.BR_TOWNS[int(rng.integers(len(formats.BR_TOWNS)))], "narrow", w / 2, 22, rng.uniform(16, 22), w * 0.8, black)
    elif state == "other" and rng.random() < 0.6:
        left = 30
        draw_text(canvas, rng, "IND", "sans", 18, h * 0.3, 14, 26, ink(rng, "eu blue"))
    middle = top + (h - 10 - top) * rng.uniform(0.46, 0.54)
    die = ("condensed", "semi", "boxy", "overpass")[int(rng.integers(4))]
    gap = rng.uniform(5, 12)
    for row, (y0, y1) in zip(rows, ((top, middle - gap), (middle + gap, h - 10))):
        indent = left if row is rows[0] or left > 34 and rng.random() < 0.3 else 0
        draw_serial(canvas, rng, row, die, (indent + 12, int(y0), w - 12, int(y1)), black, rng.uniform(0.2, 1.0) if rng.random() < 0.7 else 0.0, 0.8,
                    (0.58, 0.8), (0.13, 0.3))
    if rng.random() < 0.7:
        cv2.rectangle(canvas, (3, 3), (w - 4, h - 4), scalar(black), int(rng.integers(2, 5)))
    if rng.random() < 0.5:
        draw_bolts(canvas, rng, w, h)
    upper, lower = (formats.text_of(row) for row in rows)
    return finish(canvas, rng, upper + lower, state, TWO_ROWS, len(upper))
