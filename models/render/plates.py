"""Plates: flat, front-on pictures of number plates of the US and, from abroad.py, of other countries.

Each plate is drawn once on a four-channel canvas, blue, green, red and what an 850 nm
lamp sees. The IR channel is not the grey of the colours: the sheeting throws the lamp
back, dark paints stay dark, and many coloured inks and pictures vanish.
"""
from __future__ import annotations

import cv2
import numpy as np

from . import formats
from .abroad import brazilian, european, mexican
from .parts import Plate, draw_bolts, draw_frame, draw_serial, draw_stickers, draw_text, draw_upright, finish
from .styles import BR, EU, EU_WIDE, MX, SPECIAL, TWO_ROWS, STYLES, Style, background, ink, scalar
from .two_rows import two_rows

US_SIZE = (400, 200)  # px, 12 x 6 inch


def _words(rng: np.random.Generator, state: str, slogans: tuple[str, ...]) -> tuple[str, str]:
    """What is no part of the serial: a line (motto, county, or what the vehicle is for), and a word down one side; both may be empty."""
    legends = formats.COUNTIES[state] if state in formats.COUNTIES and rng.random() < 0.5 else slogans
    line = legends[int(rng.integers(len(legends)))] if legends else ""
    if rng.random() < 0.9:
        return line, ""
    use = formats.USES[int(rng.integers(len(formats.USES)))]
    return (line, use) if len(use) < 9 and rng.random() < 0.6 else (use, "")


def _us(rng: np.random.Generator, style: Style, text: str | None) -> Plate:
    w, h = US_SIZE
    state = style.state or list(formats.STATES)[int(rng.integers(len(formats.STATES)))]
    name, slogans, patterns, never = formats.STATES[state]
    patterns = style.formats or patterns
    if text is not None:
        marks = formats.lay(text, patterns + formats.ANY_FORMATS)
    elif rng.random() < style.personal:
        marks = formats.personal(rng)
        if style.symbols and rng.random() < style.symbols:
            marks = marks[:6]
            marks.insert(int(rng.integers(len(marks) + 1)), ("sep", "*"))
    elif rng.random() < style.any_format:
        marks = formats.fill(rng, formats.ANY_FORMATS[int(rng.integers(len(formats.ANY_FORMATS)))])
    else:
        marks = formats.fill(rng, patterns[int(rng.integers(len(patterns)))], never)

    canvas, serial, accent = background(rng, style, w, h)
    slogan, upright = _words(rng, state, slogans)
    top_name = rng.random() < style.name_on_top
    face = style.face or ("sans", "narrow", "script", "slab")[int(rng.integers(4))]
    upper = style.upper if style.upper is not None else rng.random() < 0.6
    size = 30 if top_name else 26
    if face == "script":
        upper, size = False, size + 6
    colour = ink(rng, style.name_ink) if style.name_ink else accent
    draw_text(canvas, rng, name, face, w / 2, (23 if top_name else h - 22) + rng.uniform(-2, 2),
          size * rng.uniform(0.85, 1.05), w * (0.56 if top_name else 0.7), colour, upper)
    if slogan and rng.random() < 0.85:
        tint = ink(rng, style.slogan_ink) if style.slogan_ink else accent
        draw_text(canvas, rng, slogan, ("sans", "narrow", "slab")[int(rng.integers(3))], w / 2,
              h - 17 if top_name else 18, rng.uniform(14, 19), w * 0.58, tint, rng.random() < 0.5)

    high = int(rng.uniform(82, 100))
    y0 = int(h * 0.53 - high / 2 + rng.uniform(-5, 5)) if top_name else int(h * 0.47 - high / 2)
    x0, x1 = int(rng.uniform(12, 20)), w - int(rng.uniform(12, 20))
    if upright:
        left = rng.random() < 0.4
        draw_upright(canvas, rng, upright, 20 if left else w - 20, y0 + rng.uniform(-8, 8), y0 + high + rng.uniform(-8, 8), serial)
        x0, x1 = (x0 + 24, x1) if left else (x0, x1 - 24)
    draw_serial(canvas, rng, marks, style.dies[int(rng.integers(len(style.dies)))], (x0, y0, x1, y0 + high), serial,
            rng.uniform(0.5, 1.3) if rng.random() < style.embossed else 0.0, symbols=bool(style.symbols))
    draw_stickers(canvas, rng, style, w, h)
    draw_bolts(canvas, rng, w, h)
    if rng.random() < 0.6:  # raised or printed rim
        cv2.rectangle(canvas, (4, 4), (w - 5, h - 5), scalar(serial * 0.5 + canvas[h // 2, 6] * 0.5),
                      int(rng.integers(1, 4)), cv2.LINE_AA)
    if rng.random() < 0.22:
        hides = draw_frame(canvas, rng, w, h)
        if hides[0 if top_name else 1]:
            state = ""  # the name is under the frame: nobody could tell
    return finish(canvas, rng, formats.text_of(marks), state, style.name)


#: How plates of other countries are drawn: (rng, text) -> Plate.
_FOREIGN = {EU: european, EU_WIDE: lambda rng, text: european(rng, text, wide=True), BR: brazilian, MX: mexican, TWO_ROWS: two_rows}


def style_names() -> list[str]:
    """All styles that draw_plate accepts."""
    return [*STYLES, *SPECIAL, *_FOREIGN]


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
    return _us(rng, STYLES.get(style) or SPECIAL[style], text)
