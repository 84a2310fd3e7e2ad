"""What plates are drawn of: serials, legends, stickers, bolts, frames, wear.

Each plate is drawn once on a four-channel canvas, blue, green, red and what an 850 nm
lamp sees. The IR channel is not the grey of the colours: the sheeting throws the lamp
back, dark paints stay dark, and many coloured inks and pictures vanish.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import glyphs
from .styles import Style, ink

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DEALERS = ("RIVERSIDE MOTORS", "SUNSET AUTO GROUP", "HILLTOP", "VALLEY FORD", "NORTHGATE AUTO",
           "LAKE CITY", "PREMIER CARS", "MY OTHER CAR IS A BIKE", "ALUMNI", "EASTSIDE HONEST USED CARS")

#: Width and height of a US (12 x 6 in) and of a European plate in metres.
US_M, EU_M = (0.305, 0.152), (0.52, 0.11)


@dataclass(frozen=True)
class Plate:
    """One plate as drawn: no perspective, no light, no camera."""

    image: np.ndarray  # uint8 H x W x 3, BGR, daylight
    ir: np.ndarray  # uint8 H x W, under an 850 nm lamp beside the camera
    alpha: np.ndarray  # uint8 H x W, 0 outside the rounded corners
    text: str  # A-Z0-9 in reading order, no separators
    state: str  # "US-CA", "EU", or "" where the picture does not tell
    style: str
    upper: int = 0  # characters in the upper row of a plate of two rows; 0: one row

    @property
    def metres(self) -> float:
        """Its width: plates of 12 x 6 inches are drawn 400 px wide, all others a pixel to the millimetre."""
        height, width = self.ir.shape
        return US_M[0] if width == 2 * height else width / 1000


def _paint(canvas: np.ndarray, mask: np.ndarray, x: float, y: float, colour: np.ndarray) -> None:
    """Blend a colour (B, G, R, IR) through a mask whose top left is at x, y; clips at edges."""
    x, y = int(round(x)), int(round(y))
    h, w = mask.shape
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, canvas.shape[1]), min(y + h, canvas.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = mask[y0 - y:y1 - y, x0 - x:x1 - x]
    part = cv2.merge((part, part, part, part))
    view = canvas[y0:y1, x0:x1]
    view += part * (colour - view)


def draw_text(canvas, rng, text, face, cx, cy, height, max_width, colour, upper=False) -> None:
    mask = glyphs.legend(face, text.upper() if upper else text, int(height), int(max_width))
    _paint(canvas, mask, cx - mask.shape[1] / 2, cy - mask.shape[0] / 2, colour)


def draw_upright(canvas, rng, word, x, y0, y1, colour) -> None:
    """A word along a side, its letters below one another between y0 and y1 px."""
    step = (y1 - y0) / len(word)
    for k, letter in enumerate(word):
        draw_text(canvas, rng, letter, "sans", x, y0 + (k + 0.5) * step, min(18.0, step * 0.85), 20, colour)


def _emblem(rng: np.random.Generator, w: int, h: int) -> np.ndarray:
    """A blob as states put between two groups: an outline, a star or a round seal."""
    mask = np.zeros((h, w), np.uint8)
    kind = rng.random()
    n = 10 if kind < 0.3 else int(rng.integers(6, 12))
    angle = np.arange(n) * 2 * np.pi / n - np.pi / 2
    radius = np.where(np.arange(n) % 2, 0.42, 1.0) if kind < 0.3 else rng.uniform(0.55, 1.0, n)
    if kind > 0.85:
        radius = np.full(n, 0.8)
    pts = np.stack([w / 2 + np.cos(angle) * radius * (w / 2 - 1),
                    h / 2 + np.sin(angle) * radius * (h / 2 - 1)], 1)
    cv2.fillPoly(mask, [np.round(pts * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return mask.astype(np.float32) / 255.0


def _symbol(rng: np.random.Generator, w: int, h: int) -> np.ndarray:
    """A heart, a hand, a star or a plus, as large as a character, that stands for none."""
    mask, kind = np.zeros((64, 64), np.uint8), int(rng.integers(4))
    if kind == 0:
        t = np.linspace(0, 2 * np.pi, 40)
        x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        cv2.fillPoly(mask, [np.stack([32 + 1.8 * x, 30 - 1.8 * y], 1).astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 1:
        cv2.ellipse(mask, (32, 42), (16, 18), 0, 0, 360, 255, -1, cv2.LINE_AA)
        for tip in ((8, 30), (19, 8), (30, 4), (41, 7), (53, 16)):
            cv2.line(mask, (32, 44), tip, 255, 8, cv2.LINE_AA)
    elif kind == 2:
        angle = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2, 12.0, 30.0)
        cv2.fillPoly(mask, [np.stack([32 + radius * np.cos(angle), 33 + radius * np.sin(angle)], 1).astype(np.int32)], 255, cv2.LINE_AA)
    else:
        for a, b in (((24, 4), (40, 60)), ((4, 24), (60, 40))):
            cv2.rectangle(mask, a, b, 255, -1)
    return cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


def draw_serial(canvas, rng, marks, die, box, colour, emboss, emblem_ir_fades=0.6, pitch=(0.58, 0.64), gaps=(0.13, 0.2),
            symbols=False) -> None:
    """Draw the serial's marks centred in box (x0, y0, x1, y1 px), as large as they fit.

    pitch: a character's room as a share of its height; gaps: the share of that left between two; symbols: the
    emblem is a symbol in the serial's own paint.
    """
    x0, y0, x1, y1 = box
    height = y1 - y0
    # Small characters on top of one another: their width in cells, their share of the height, and how far the last stands aside.
    stacked, tall, lean = rng.uniform(0.4, 0.58), rng.uniform(0.8, 0.96), rng.uniform(-0.25, 0.35) if rng.random() < 0.2 else 0.0
    units, columns = [], []  # a column: (what, width in cells)
    i = 0
    while i < len(marks):
        kind, c = marks[i]
        if kind == "stack":
            pile = [c]
            while i + len(pile) < len(marks) and marks[i + len(pile)][0] == "stack":
                pile.append(marks[i + len(pile)][1])
            columns.append(("stack", pile))
            units.append(stacked + abs(lean) + 0.08)
            i += len(pile)
            continue
        columns.append((kind, c))
        units.append({" ": 0.42, "-": 0.45, ".": 0.40, "*": 0.62}[c] if kind == "sep" else 1.0)
        i += 1
    cell = min((x1 - x0) / sum(units), height * rng.uniform(*pitch))
    gap = cell * rng.uniform(*gaps)
    gw = max(3, int(round(cell - gap)))
    ink_map = np.zeros((height + 8, x1 - x0 + 8), np.float32)
    x = 4 + ((x1 - x0) - cell * sum(units)) / 2

    def stamp(mask, cx, cy):
        mx, my = int(round(cx - mask.shape[1] / 2)), int(round(cy - mask.shape[0] / 2))
        mx, my = max(mx, 0), max(my, 0)
        view = ink_map[my:my + mask.shape[0], mx:mx + mask.shape[1]]
        np.maximum(view, mask[:view.shape[0], :view.shape[1]], out=view)

    emblem = None
    for (kind, c), unit in zip(columns, units):
        cx = x + cell * unit / 2
        if kind == "char":
            stamp(glyphs.glyph(die, c, gw, height), cx, 4 + height / 2)
        elif kind == "stack":
            small = int(height * tall / len(c))
            for k, s in enumerate(c):
                down = k / (len(c) - 1)
                stamp(glyphs.glyph(die, s, int(cell * stacked), small), cx + cell * lean * (down - 0.5), 4 + small / 2 + down * (height - small))
        elif c == "-":
            stamp(np.ones((max(3, height // 11), int(cell * 0.34)), np.float32), cx, 4 + height / 2)
        elif c == ".":
            d = max(5, height // 6)
            dot = np.zeros((d, d), np.uint8)
            cv2.circle(dot, (d // 2, d // 2), d // 2 - 1, 255, -1, cv2.LINE_AA)
            stamp(dot.astype(np.float32) / 255, cx, 4 + height / 2)
        elif c == "*":
            if symbols:
                stamp(_symbol(rng, int(cell * 0.8), int(height * rng.uniform(0.5, 0.75))), cx, 4 + height / 2)
            else:
                emblem = (cx, _emblem(rng, int(cell * 0.62), int(height * rng.uniform(0.3, 0.6))))
        x += cell * unit
    if emblem is not None:
        tint = rng.uniform(0, 200, 4).astype(np.float32)
        if rng.random() < emblem_ir_fades:
            tint[3] = rng.uniform(170, 230)
        ex, mask = emblem
        _paint(canvas, mask, x0 - 4 + ex - mask.shape[1] / 2, (y0 + y1) / 2 - mask.shape[0] / 2, tint)
    if emboss > 0:
        # Raised characters: lit from above, shaded below, slightly wider than the ink.
        ridge = cv2.GaussianBlur(ink_map, (0, 0), 1.6)
        shade = ridge[2:, :] - ridge[:-2, :]
        view = canvas[y0 - 3:y0 - 3 + shade.shape[0], x0 - 4:x0 - 4 + shade.shape[1]]
        amount = shade[:view.shape[0], :view.shape[1], None] * emboss
        view -= amount * np.array([90, 90, 90, 50], np.float32)
    _paint(canvas, ink_map, x0 - 4, y0 - 4, colour)


def draw_stickers(canvas, rng, style: Style, w: int, h: int) -> None:
    """Month and year stickers, or the embossed month of older plates, in the upper corners."""
    for side in (0, 1):
        if rng.random() > style.stickers:
            continue
        sw, sh = int(rng.uniform(30, 50)), int(rng.uniform(20, 34))
        x = rng.uniform(8, 22) if side == 0 else w - sw - rng.uniform(8, 22)
        y = rng.uniform(5, 16) if rng.random() < 0.85 else h - sh - rng.uniform(4, 12)
        word = MONTHS[int(rng.integers(12))] if side == 0 else str(int(rng.integers(8, 30))).zfill(2)
        if rng.random() < 0.5:
            word = str(int(rng.integers(2010, 2030))) if rng.random() < 0.5 else word
        ground = ink(rng, ("white", "yellow", "red", "green", "blue", "orange")[int(rng.integers(6))])
        canvas[int(y):int(y) + sh, int(x):int(x) + sw] = ground
        dark = ground[:3].mean() > 110
        draw_text(canvas, rng, word, "narrow", x + sw / 2, y + sh / 2, sh * 0.6, sw - 6,
              ink(rng, "black" if dark else "white"))


def draw_bolts(canvas, rng, w: int, h: int) -> None:
    """Bolt holes and the bolts in them: dark or chrome dots where digits never are."""
    rows = (0.1, 0.9) if rng.random() < 0.6 else (0.1,)
    for fy in rows:
        for fx in (0.2, 0.8):
            if rng.random() < 0.12:
                continue
            c = (int(w * fx * 16), int((h * fy + rng.uniform(-2, 2)) * 16))
            tone = rng.uniform(20, 200)
            r = int(rng.uniform(4, 8) * 16)
            cv2.circle(canvas, c, r, (tone * .6,) * 3 + (tone * .5,), -1, cv2.LINE_AA, 4)
            cv2.circle(canvas, c, int(r * 0.65), (tone,) * 3 + (tone * .7,), -1, cv2.LINE_AA, 4)


def draw_frame(canvas, rng, w: int, h: int) -> tuple[bool, bool]:
    """A dealer's frame over the rim. Returns whether it hides the top and bottom legends."""
    tone = ink(rng, "black") if rng.random() < 0.65 else ink(rng, "chrome")
    side = int(rng.uniform(5, 13))
    top = int(rng.uniform(6, 34)) if rng.random() < 0.7 else 5
    bottom = int(rng.uniform(8, 38))
    canvas[:top], canvas[h - bottom:] = tone, tone
    canvas[:, :side], canvas[:, w - side:] = tone, tone
    light = ink(rng, "white" if tone[:3].mean() < 110 else "black")
    for y, thick in ((top / 2, top), (h - bottom / 2, bottom)):
        if thick > 15 and rng.random() < 0.8:
            word = DEALERS[int(rng.integers(len(DEALERS)))]
            draw_text(canvas, rng, word, "sans" if rng.random() < .5 else "slab", w / 2, y,
                  thick * 0.55, w * 0.8, light)
    return top > 20, bottom > 20


def _wear(canvas, rng) -> np.ndarray:
    """Uneven light, dirt and fading, smooth over the plate; returns the canvas."""
    h, w = canvas.shape[:2]
    field = rng.uniform(0.86, 1.06, (3, 5, 1)) * rng.uniform(0.97, 1.03, (3, 5, 4))
    field = cv2.resize(field.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:  # mud in the lower part, road film
        dirt = np.clip(rng.uniform(0, 1, (6, 10, 1)) - rng.uniform(0.3, 0.7), 0, 1)
        dirt = dirt * rng.uniform(0.3, 1.0) * np.ones(4)
        dirt = cv2.resize(dirt.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
        cv2.multiply(field, 1.0 - dirt, dst=field)
        dirt *= np.array([70, 85, 95, 60], np.float32)
        canvas = cv2.multiply(canvas, field, dst=canvas)
        return cv2.add(canvas, dirt, dst=canvas)
    return cv2.multiply(canvas, field, dst=canvas)


_ALPHAS: dict[tuple[int, int], np.ndarray] = {}


def _alpha(w: int, h: int, r: int = 14) -> np.ndarray:
    if (w, h) not in _ALPHAS:
        a = np.zeros((h, w), np.uint8)
        cv2.rectangle(a, (r, 0), (w - 1 - r, h - 1), 255, -1)
        cv2.rectangle(a, (0, r), (w - 1, h - 1 - r), 255, -1)
        for c in ((r, r), (w - 1 - r, r), (r, h - 1 - r), (w - 1 - r, h - 1 - r)):
            cv2.circle(a, c, r, 255, -1, cv2.LINE_AA)
        a.setflags(write=False)
        _ALPHAS[(w, h)] = a
    return _ALPHAS[(w, h)]


def finish(canvas, rng, text, state, style, upper=0) -> Plate:
    h, w = canvas.shape[:2]
    out = cv2.convertScaleAbs(_wear(canvas, rng))
    return Plate(cv2.cvtColor(out, cv2.COLOR_BGRA2BGR), cv2.extractChannel(out, 3),
                 _alpha(w, h), text, state, style, upper)
