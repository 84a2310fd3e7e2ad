"""Single road scenes for detector training, with every plate's corners known exactly."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from . import body, compose, glyphs, optics, vehicles
from .parts import EU_M, US_M
from .plates import draw_plate
from .styles import scalar

_STOCK = 120  # vehicle faces drawn once and used again; numbered, so a seed stays reproducible


@dataclass(frozen=True)
class ScenePlate:
    """One plate in a scene."""

    corners: np.ndarray  # float32 4 x 2, px, clockwise from the plate's own top left
    text: str
    state: str


@dataclass(frozen=True)
class Scene:
    """One picture with its plates: those whose corners all lie in it and that are not covered."""

    luma: np.ndarray  # uint8 H x W
    bgr: np.ndarray  # uint8 H x W x 3
    plates: list[ScenePlate]
    night: bool


@lru_cache(maxsize=_STOCK)
def _face(number: int) -> vehicles.Vehicle:
    rng = np.random.default_rng([number, 41])
    return vehicles.draw_vehicle(rng, front=number % 3 == 0, lettered=number % 9 == 1)


def _texture(rng, h: int, w: int, grain: float) -> np.ndarray:
    """Smooth to rough noise around 0, float32 h x w x 1."""
    out = np.zeros((h, w), np.float32)
    for cells, amp in ((4, 0.5), (17, 0.3), (61, 0.2)):
        out += amp * cv2.resize(rng.uniform(-1, 1, (cells, cells)).astype(np.float32), (w, h))
    out += optics.noise_tile()[:h, :w] * 0.12 if h <= 1024 and w <= 1024 else 0
    return (out * grain)[..., None]


def _colour(rng, low=20, high=230) -> tuple[float, ...]:
    """A colour of the world: little saturation, unrelated IR."""
    grey = rng.uniform(low, high)
    c = np.clip(grey + rng.normal(0, 18, 3), 0, 255)
    return (*scalar(c), float(np.clip(grey * rng.uniform(0.3, 1.1), 0, 255)))


def _sign(rng, canvas, x, y, w, h) -> None:
    """Something with characters that is no plate: a street, shop or speed sign, a number."""
    ground = _colour(rng, 10, 250)
    cv2.rectangle(canvas, (int(x), int(y)), (int(x + w), int(y + h)), ground, -1)
    light = sum(ground[:3]) / 3 < 120
    tone = rng.uniform(190, 250) if light else rng.uniform(5, 60)
    words = (*vehicles.SIGNS, "SPEED LIMIT 45", "MAIN ST", "EXIT 27B", "NO PARKING 8-6", "1408", "OPEN", "TOW ZONE")
    lines = int(rng.integers(1, 4))
    for k in range(lines):
        vehicles.write(canvas, words[int(rng.integers(len(words)))], x + w / 2, y + h * (k + 0.5) / lines,
                       h / lines * 0.62, w * 0.86, (tone,) * 4, list(glyphs.LEGENDS)[int(rng.integers(4))])


def _surroundings(rng, w: int, h: int) -> np.ndarray:
    """Sky, buildings, trees, road and signs: uint8 h x w x 4."""
    canvas = np.empty((h, w, 4), np.float32)
    horizon = int(h * rng.uniform(0.02, 0.55))
    sky, low = np.array(_colour(rng, 110, 250)), np.array(_colour(rng, 140, 250))
    road_far, road_near = np.array(_colour(rng, 70, 160)), np.array(_colour(rng, 50, 150))
    t = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    canvas[:] = sky + (low - sky) * np.minimum(1, t * h / max(horizon, 1))
    canvas[horizon:] = (road_far + (road_near - road_far) * t)[horizon:]
    for _ in range(int(rng.integers(2, 9))):  # buildings with windows, hedges, walls
        bw, bh = rng.uniform(0.05, 0.4) * w, rng.uniform(0.08, 0.6) * h
        x, base = rng.uniform(-0.1, 1) * w, horizon + rng.uniform(-0.02, 0.1) * h
        c = _colour(rng)
        cv2.rectangle(canvas, (int(x), int(base - bh)), (int(x + bw), int(base)), c, -1)
        if rng.random() < 0.6:
            nx, ny = int(rng.integers(2, 8)), int(rng.integers(1, 7))
            pane = _colour(rng, 10, 200)
            for i in range(nx):
                for j in range(ny):
                    px, py = x + bw * (i + 0.2) / nx, base - bh + bh * (j + 0.2) / ny
                    cv2.rectangle(canvas, (int(px), int(py)), (int(px + bw / nx * 0.55), int(py + bh / ny * 0.5)), pane, -1)
        elif rng.random() < 0.6:
            for _ in range(12):
                cv2.circle(canvas, (int(x + rng.uniform(0, bw)), int(base - rng.uniform(0, bh))),
                           int(rng.uniform(0.02, 0.08) * w), tuple(v * rng.uniform(.6, 1.2) for v in c), -1)
    for _ in range(int(rng.integers(0, 5))):  # lane marks, kerbs, cracks
        vanish = rng.uniform(0.2, 0.8) * w
        foot = rng.uniform(-0.4, 1.4) * w
        tone = _colour(rng, 120, 250)
        thick = rng.uniform(0.004, 0.02) * w
        pts = np.array([[vanish, horizon], [vanish + 1, horizon], [foot + thick, h], [foot - thick, h]], np.int32)
        cv2.fillPoly(canvas, [pts], tone, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):  # light rectangles of a plate's shape: the hard negatives
        bw = rng.uniform(0.02, 0.16) * w
        bh = bw * rng.uniform(0.15, 0.8)
        x, y = rng.uniform(0, w - bw), rng.uniform(0, h - bh)
        if rng.random() < 0.65:
            _sign(rng, canvas, x, y, bw, bh)
        else:
            cv2.rectangle(canvas, (int(x), int(y)), (int(x + bw), int(y + bh)), _colour(rng, 120, 250), -1)
    for _ in range(int(rng.integers(0, 4))):  # poles
        x = rng.uniform(0, w)
        cv2.line(canvas, (int(x), 0), (int(x + rng.normal(0, 8)), h), _colour(rng), max(1, int(rng.uniform(.003, .012) * w)), cv2.LINE_AA)
    canvas += _texture(rng, h, w, rng.uniform(8, 34))
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    return (np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
            @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
            @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]))


class _Pose:
    """Where a vehicle's face stands: metres on the face (x right, y down, z behind) to px."""

    def __init__(self, rng, w: int, h: int, plate_px: float, plate_m: tuple[float, float]):
        self.focal = w * rng.uniform(0.7, 2.6)
        self.plate_m = plate_m
        self.depth = self.focal * plate_m[0] / plate_px
        self.r = _rotation(np.radians(np.clip(rng.normal(0, 18), -40, 40)),
                           np.radians(rng.uniform(-4, 30)), np.radians(np.clip(rng.normal(0, 4), -12, 12)))
        u, v = rng.uniform(0.08, 0.92) * w, rng.uniform(0.25, 0.95) * h
        self.at = np.array([(u - w / 2) / self.focal, (v - h / 2) / self.focal, 1.0]) * self.depth
        self.middle = np.array([w / 2, h / 2])

    def px(self, points) -> np.ndarray:
        p = np.asarray(points, np.float64) @ self.r.T + self.at
        return p[:, :2] / np.maximum(p[:, 2:], 0.2) * self.focal + self.middle

    def sees(self, side: float) -> bool:
        """Whether the flank at x = side (m) is turned to the camera."""
        return float(np.dot(self.r[:, 0] * np.sign(side), self.at + self.r[:, 0] * side)) < 0


def _inside(quad: np.ndarray, w: int, h: int, edge: float = 1.0) -> bool:
    return bool(quad.min() >= edge and quad[:, 0].max() < w - edge and quad[:, 1].max() < h - edge)


def draw_scene(rng: np.random.Generator, width: int, height: int, night: bool | None = None) -> Scene:
    """One still scene of 0 to 4 vehicles with plates of 1.5 % to 35 % of the picture's width.

    night is drawn at random where not given; most nights are IR, some are street light.
    """
    if night is None:
        night = bool(rng.random() < 0.45)
    ir = night and rng.random() < 0.75
    canvas = _surroundings(rng, width, height)
    if ir:
        canvas[..., 3] = cv2.convertScaleAbs(canvas[..., 3], alpha=rng.uniform(0.02, 0.3))
    elif night:
        canvas = cv2.convertScaleAbs(canvas, alpha=rng.uniform(0.08, 0.35))

    count = int(rng.choice(5, p=(0.08, 0.42, 0.27, 0.15, 0.08)))
    cars = []
    for k in range(count):
        high = 0.35 if k == 0 else 0.14
        share = float(np.exp(rng.uniform(np.log(0.015), np.log(high))))
        eu = bool(rng.random() < 0.16)
        cars.append((_Pose(rng, width, height, share * width, EU_M if eu else US_M), eu))
    cars.sort(key=lambda c: -c[0].depth)

    found: list[tuple[np.ndarray, str, str]] = []
    lamps: list[tuple[float, float, float, float]] = []
    lamp_gain = rng.uniform(0.35, 1.7)  # how hard the camera's own lamp hits the plates
    for pose, eu in cars:
        car = _face(int(rng.integers(_STOCK)))
        if night:
            gain = rng.uniform(0.06, 0.45)
            car = replace(car, image=cv2.convertScaleAbs(car.image, alpha=gain),
                          paint=tuple(v * gain for v in car.paint))
        covered = body.draw(canvas, car, pose.px, pose.sees, min(car.length, max(0.1, pose.depth * 0.6)))
        lamps = [lamp for lamp in lamps if not any(
            cv2.pointPolygonTest(c.astype(np.float32), lamp[:2], False) > 0 for c in covered)]
        kept = []
        for quad, text, state in found:  # is an earlier, farther plate now hidden?
            mask = np.zeros((height, width), np.uint8)
            box = compose.quad_box(quad, width, height)
            for c in covered:
                cv2.fillPoly(mask, [np.round(c).clip(-9999, 9999).astype(np.int32)], 255)
            if mask[box[1]:box[3], box[0]:box[2]].mean() < 255 * 0.3:
                kept.append((quad, text, state))
        found = kept
        pw, ph = pose.plate_m
        lean = np.radians(rng.normal(0, 1.2))
        c, s = np.cos(lean), np.sin(lean)
        offset = rng.uniform(-0.25, 0.25) if rng.random() < 0.12 else 0.0
        flat = np.array([[-pw, -ph], [pw, -ph], [pw, ph], [-pw, ph]]) / 2 @ np.array([[c, s], [-s, c]])
        quad = pose.px(np.column_stack([flat + [offset, 0], np.full(4, -0.02)]))
        if _inside(quad, width, height) and rng.random() < 0.94:
            plate = draw_plate(rng, "eu" if eu else None)
            while not eu and plate.state == "EU":  # the quad has a US plate's shape
                plate = draw_plate(rng)
            picture = np.dstack([plate.image, plate.ir])
            if ir:
                picture[..., 3] = cv2.convertScaleAbs(plate.ir, alpha=lamp_gain * rng.uniform(0.7, 1.2))
            elif night:
                picture = cv2.convertScaleAbs(picture, alpha=rng.uniform(0.25, 0.9))
            compose.place(canvas, picture, plate.alpha, quad)
            found.append((quad, plate.text, plate.state))
        if night and rng.random() < (0.75 if not ir else 0.5):
            scale = pose.focal / pose.depth
            for x, y in car.lamps:
                u, v = pose.px([[x, car.plate_y - y, -0.02]])[0]
                peak = rng.uniform(120, 420) if car.front else rng.uniform(30, 140)
                lamps.append((float(u), float(v), max(1.5, scale * rng.uniform(0.05, 0.16)), peak))

    image = cv2.merge([cv2.extractChannel(canvas, 3)] * 3) if ir else cv2.cvtColor(canvas, cv2.COLOR_BGRA2BGR)
    if not night and rng.random() < 0.35:
        image = optics.shade(rng, image, rng.uniform(0.2, 0.65))
    if lamps:
        image = optics.bloom(image, lamps)
    elif not night and rng.random() < 0.08:
        image = optics.bloom(image, [(rng.uniform(0, width), rng.uniform(0, height), rng.uniform(.02, .1) * width, rng.uniform(80, 250))])
    if rng.random() < 0.15:
        image = optics.rain(rng, image, int(rng.integers(20, 160)))
    if not night or rng.random() < 0.5:
        image = optics.tone(image, rng.uniform(0.7, 1.6), rng.uniform(-0.05, 0.1), rng.uniform(0.7, 1.3))
    if rng.random() < 0.3:
        image = optics.smear(image, rng.uniform(1.0, 0.011 * width), rng.normal(np.pi / 2, 0.8))
    if rng.random() < 0.6:
        image = optics.defocus(image, abs(rng.normal(0, 0.0016)) * width)
    gray = ir or rng.random() < 0.2
    if gray:  # one sensor, one noise
        image = cv2.extractChannel(image, 0) if ir else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    image = optics.add_noise(rng, image, float(rng.choice([0.5, 2, 5, 11])) * rng.uniform(0.5, 1.3))
    if rng.random() < 0.7:
        image = optics.jpeg(image, int(rng.uniform(30, 95)))
    luma = image if gray else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if gray else image
    return Scene(luma, bgr, [ScenePlate(q.astype(np.float32), t, s) for q, t, s in found], night)
