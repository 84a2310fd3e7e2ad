"""Plates: flat, front-on pictures of American and European number plates.

Each plate is drawn once on a four-channel canvas, blue, green, red and what an 850 nm
lamp sees. The IR channel is not the grey of the colours: the sheeting throws the lamp
back, dark paints stay dark, and many coloured inks and pictures vanish.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import formats, glyphs
from .styles import BR, EU, EU_WIDE, MX, STYLES, Style, background, ink

US_SIZE = (400, 200)  # px, 12 x 6 inch
EU_SIZE = (520, 110)  # px, 520 x 110 mm
BR_SIZE = (400, 130)  # px, 400 x 130 mm
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DEALERS = ("RIVERSIDE MOTORS", "SUNSET AUTO GROUP", "HILLTOP", "VALLEY FORD", "NORTHGATE AUTO",
           "LAKE CITY", "PREMIER CARS", "MY OTHER CAR IS A BIKE", "ALUMNI", "EASTSIDE HONEST USED CARS")


@dataclass(frozen=True)
class Plate:
    """One plate as drawn: no perspective, no light, no camera."""

    image: np.ndarray  # uint8 H x W x 3, BGR, daylight
    ir: np.ndarray  # uint8 H x W, under an 850 nm lamp beside the camera
    alpha: np.ndarray  # uint8 H x W, 0 outside the rounded corners
    text: str  # A-Z0-9 in reading order, no separators
    state: str  # "US-CA", "EU", or "" where the picture does not tell
    style: str


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


def _text(canvas, rng, text, face, cx, cy, height, max_width, colour, upper=False) -> None:
    mask = glyphs.legend(face, text.upper() if upper else text, int(height), int(max_width))
    _paint(canvas, mask, cx - mask.shape[1] / 2, cy - mask.shape[0] / 2, colour)


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


def _serial(canvas, rng, marks, die, box, colour, emboss, emblem_ir_fades=0.6, pitch=(0.58, 0.64), gaps=(0.13, 0.2)) -> None:
    """Draw the serial's marks centred in box (x0, y0, x1, y1 px), as large as they fit.

    pitch: a character's room as a share of its height; gaps: the share of that left between two.
    """
    x0, y0, x1, y1 = box
    height = y1 - y0
    units, columns = [], []  # a column: (what, width in cells)
    i = 0
    while i < len(marks):
        kind, c = marks[i]
        if kind == "stack":
            pair = [c]
            if i + 1 < len(marks) and marks[i + 1][0] == "stack":
                pair.append(marks[i + 1][1])
            columns.append(("stack", pair))
            units.append(0.55)
            i += len(pair)
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
            small = int(height * (0.46 if len(c) > 1 else 0.5))
            for k, s in enumerate(c):
                cy = 4 + (small / 2 if k == 0 else height - small / 2)
                stamp(glyphs.glyph(die, s, int(cell * 0.46), small), cx, cy)
        elif c == "-":
            stamp(np.ones((max(3, height // 11), int(cell * 0.34)), np.float32), cx, 4 + height / 2)
        elif c == ".":
            d = max(5, height // 6)
            dot = np.zeros((d, d), np.uint8)
            cv2.circle(dot, (d // 2, d // 2), d // 2 - 1, 255, -1, cv2.LINE_AA)
            stamp(dot.astype(np.float32) / 255, cx, 4 + height / 2)
        elif c == "*":
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


def _stickers(canvas, rng, style: Style, w: int, h: int) -> None:
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
        _text(canvas, rng, word, "narrow", x + sw / 2, y + sh / 2, sh * 0.6, sw - 6,
              ink(rng, "black" if dark else "white"))


def _bolts(canvas, rng, w: int, h: int) -> None:
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


def _frame(canvas, rng, w: int, h: int) -> tuple[bool, bool]:
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
            _text(canvas, rng, word, "sans" if rng.random() < .5 else "slab", w / 2, y,
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


def _finish(canvas, rng, text, state, style) -> Plate:
    h, w = canvas.shape[:2]
    out = cv2.convertScaleAbs(_wear(canvas, rng))
    return Plate(cv2.cvtColor(out, cv2.COLOR_BGRA2BGR), cv2.extractChannel(out, 3),
                 _alpha(w, h), text, state, style)


def _us(rng: np.random.Generator, style: Style, text: str | None) -> Plate:
    w, h = US_SIZE
    state = style.state or list(formats.STATES)[int(rng.integers(len(formats.STATES)))]
    name, slogans, patterns, never = formats.STATES[state]
    patterns = style.formats or patterns
    if text is not None:
        marks = formats.lay(text, patterns + formats.ANY_FORMATS)
    elif rng.random() < style.personal:
        marks = formats.personal(rng)
    elif rng.random() < style.any_format:
        marks = formats.fill(rng, formats.ANY_FORMATS[int(rng.integers(len(formats.ANY_FORMATS)))])
    else:
        marks = formats.fill(rng, patterns[int(rng.integers(len(patterns)))], never)

    canvas, serial, accent = background(rng, style, w, h)
    slogan = slogans[int(rng.integers(len(slogans)))] if slogans else ""
    top_name = rng.random() < style.name_on_top
    face = style.face or ("sans", "narrow", "script", "slab")[int(rng.integers(4))]
    upper = style.upper if style.upper is not None else rng.random() < 0.6
    size = 30 if top_name else 26
    if face == "script":
        upper, size = False, size + 6
    colour = ink(rng, style.name_ink) if style.name_ink else accent
    _text(canvas, rng, name, face, w / 2, (23 if top_name else h - 22) + rng.uniform(-2, 2),
          size * rng.uniform(0.85, 1.05), w * (0.56 if top_name else 0.7), colour, upper)
    if slogan and rng.random() < 0.85:
        tint = ink(rng, style.slogan_ink) if style.slogan_ink else accent
        _text(canvas, rng, slogan, ("sans", "narrow", "slab")[int(rng.integers(3))], w / 2,
              h - 17 if top_name else 18, rng.uniform(14, 19), w * 0.58, tint, rng.random() < 0.5)

    high = int(rng.uniform(82, 100))
    y0 = int(h * 0.53 - high / 2 + rng.uniform(-5, 5)) if top_name else int(h * 0.47 - high / 2)
    _serial(canvas, rng, marks, style.dies[int(rng.integers(len(style.dies)))],
            (int(rng.uniform(12, 20)), y0, w - int(rng.uniform(12, 20)), y0 + high), serial,
            rng.uniform(0.5, 1.3) if rng.random() < style.embossed else 0.0)
    _stickers(canvas, rng, style, w, h)
    _bolts(canvas, rng, w, h)
    if rng.random() < 0.6:  # raised or printed rim
        cv2.rectangle(canvas, (4, 4), (w - 5, h - 5), tuple(float(v) for v in serial * 0.5 + canvas[h // 2, 6] * 0.5),
                      int(rng.integers(1, 4)), cv2.LINE_AA)
    if rng.random() < 0.22:
        hides = _frame(canvas, rng, w, h)
        if hides[0 if top_name else 1]:
            state = ""  # the name is under the frame: nobody could tell
    return _finish(canvas, rng, formats.text_of(marks), state, style.name)


def _eu(rng: np.random.Generator, text: str | None, wide: bool = False) -> Plate:
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
    band = int(rng.uniform(40, 48)) if rng.random() < 0.93 else 0
    if band:
        canvas[:, :band] = ink(rng, "eu blue")
        gold = tuple(float(v) for v in ink(rng, "yellow"))
        for k in range(12):
            a = k * np.pi / 6
            cv2.circle(canvas, (int((band / 2 + np.cos(a) * 12) * 8), int((32 + np.sin(a) * 12) * 8)),
                       16, gold, -1, cv2.LINE_AA, 3)
        _text(canvas, rng, country, "sans", band / 2, 83, 22, band - 10, ink(rng, "white"))
    high = int(rng.uniform(74, 82))
    y0 = (h - high) // 2 + int(rng.uniform(-2, 3))
    black = ink(rng, "black")
    _serial(canvas, rng, marks, ("condensed", "semi", "semi", "boxy")[int(rng.integers(4))],
            (band + 8, y0, w - 10, y0 + high), black, rng.uniform(0.2, 0.7) if rng.random() < .7 else 0,
            0.8, *(((0.64, 0.8), (0.2, 0.42)) if wide else ((0.58, 0.64), (0.13, 0.2))))
    if rng.random() < 0.75:
        cv2.rectangle(canvas, (3, 3), (w - 4, h - 4), tuple(float(v) for v in black), int(rng.integers(2, 4)))
    if rng.random() < 0.25:  # dealer's holder under the plate
        thick = int(rng.uniform(5, 12))
        canvas[h - thick:] = ink(rng, "black")
    return _finish(canvas, rng, formats.text_of(marks), "EU", EU)


def _br(rng: np.random.Generator, text: str | None) -> Plate:
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
        _text(canvas, rng, "BRASIL", "sans", w / 2, band / 2, 16, w * 0.3, ink(rng, "white"))
        _text(canvas, rng, "BR", "sans", 22, h - 18, 15, 26, ink(rng, "black"))
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
            cv2.rectangle(canvas, (int(strip[0]), 5), (int(strip[2]), 26), tuple(float(v) for v in serial), 1, cv2.LINE_AA)
        _text(canvas, rng, formats.BR_TOWNS[int(rng.integers(len(formats.BR_TOWNS)))], "narrow", w / 2, 16, rng.uniform(12, 16), 170, serial)
        box = (14, 32, w - 14)
        space = ((0.58, 0.68), (0.13, 0.24))
    _serial(canvas, rng, marks, ("condensed", "semi", "boxy")[int(rng.integers(3))], (box[0], box[1], box[2], min(h - 8, int(box[1] + high))),
            serial, rng.uniform(0.3, 1.0) if rng.random() < 0.8 else 0.0, 0.8, *space)
    if rng.random() < 0.6:
        cv2.rectangle(canvas, (3, 3), (w - 4, h - 4), tuple(float(v) for v in serial), int(rng.integers(2, 4)))
    return _finish(canvas, rng, formats.text_of(marks), BR, BR)


def _mx(rng: np.random.Generator, text: str | None) -> Plate:
    """A Mexican plate: the state's name above, what kind of vehicle below, bands and a picture in its colours."""
    w, h = US_SIZE
    patterns, never = formats.of_country(MX)
    marks = formats.fill(rng, patterns[int(rng.integers(len(patterns)))], never) if text is None else formats.lay(text, patterns)
    canvas, serial, accent = background(rng, STYLES["any"], w, h)
    line = lambda: formats.MX_LINES[int(rng.integers(len(formats.MX_LINES)))]
    _text(canvas, rng, formats.MX_STATES[int(rng.integers(len(formats.MX_STATES)))], ("sans", "slab", "narrow")[int(rng.integers(3))],
          w / 2, rng.uniform(20, 30), rng.uniform(18, 28), w * 0.62, accent, rng.random() < 0.7)
    _text(canvas, rng, line(), "sans", w * rng.uniform(0.35, 0.65), h - rng.uniform(14, 22), rng.uniform(11, 18), w * 0.5, accent)
    if rng.random() < 0.4:
        _text(canvas, rng, line(), "narrow", w * 0.82, h - 16, 11, w * 0.25, accent)
    high = int(rng.uniform(64, 92))
    y0 = int(h * 0.52 - high / 2 + rng.uniform(-5, 5))
    _serial(canvas, rng, marks, ("condensed", "semi", "boxy", "overpass")[int(rng.integers(4))],
            (int(rng.uniform(12, 24)), y0, w - int(rng.uniform(12, 24)), y0 + high), serial, rng.uniform(0.4, 1.2) if rng.random() < 0.8 else 0.0)
    _bolts(canvas, rng, w, h)
    state = MX
    if rng.random() < 0.22 and _frame(canvas, rng, w, h)[0]:
        state = ""
    return _finish(canvas, rng, formats.text_of(marks), state, MX)


#: How plates of other countries are drawn: (rng, text) -> Plate.
_FOREIGN = {EU: _eu, EU_WIDE: lambda rng, text: _eu(rng, text, wide=True), BR: _br, MX: _mx}


def style_names() -> list[str]:
    """All styles that draw_plate accepts."""
    return [*STYLES, *_FOREIGN]


def draw_plate(rng: np.random.Generator, style: str | None = None, text: str | None = None) -> Plate:
    """Draw one plate; style and text are drawn at random where not given.

    By chance: half a state's own look, a third the any-state look, a sixth European.
    """
    if style is None:
        u = rng.random()
        named = [s for s in STYLES if s != "any"]
        style = EU if u < 0.16 else "any" if u < 0.5 else named[int(rng.integers(len(named)))]
    if style in _FOREIGN:
        return _FOREIGN[style](rng, text)
    return _us(rng, STYLES[style], text)
