"""The plan of the demo clip: one fixed camera, who drives past it, when, and how fast.

World, in metres: x right, y up from the road, z ahead along the road; the camera is at
(0, HEIGHT, 0). Two lanes: the left one approaches, the right one recedes. A plan holds
no picture, so that its promises can be tested without rendering.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .parts import EU_M, US_M, Plate
from .plates import draw_plate
from .vehicles import Vehicle, draw_vehicle

HEIGHT = 3.2  # m; lower than most real poles, so that a plate stays in view from 70 to 190 px
LANES = {"approaching": -1.78, "receding": 1.36}  # x of the lane's middle, m
Z_FAR, Z_NEAR = 54.0, 6.0  # where vehicles come and go, out of view
FACE_PPM = 320
STYLES = ("ca", "ca", "ca", "ca", "ca", "ca", "nv", "az", "or", "tx", "wa", "any", "ny", "fl", "nj", "ut",
          "mi", "pa", "oh", "ca-legacy", "ga", "co")


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; the focal length grows with the picture's width (9000 px at 1920)."""

    width: int
    height: int

    @property
    def focal(self) -> float:
        return 9000.0 * self.width / 1920

    def px(self, world) -> np.ndarray:
        """World points n x 3 (m) to pixels n x 2."""
        p = np.asarray(world, np.float64)
        tilt, roll = np.arctan(1075 / 9000), np.radians(0.6)
        c, s = np.cos(tilt), np.sin(tilt)
        x, y, z = p[:, 0] - 0.02, HEIGHT - p[:, 1], p[:, 2]
        yy, zz = c * y - s * z, np.maximum(s * y + c * z, 0.5)
        u, v = self.focal * x / zz, self.focal * yy / zz
        cr, sr = np.cos(roll), np.sin(roll)
        return np.stack([cr * u - sr * v + self.width / 2, sr * u + cr * v + self.height / 2], 1)


@dataclass
class Pass:
    """One vehicle going by. z and x hold one value a frame from first_frame on."""

    kind: str  # "day" or "ir"
    direction: str
    car: Vehicle
    plate: Plate | None
    first_frame: int
    z: np.ndarray  # m, the face's distance
    x: np.ndarray  # m
    speed: np.ndarray  # m/s
    lean: float  # the plate hangs askew, radians
    exposure: float  # how bright the lamp finds the plate, IR only
    ident: int = 0

    def at(self, frame: int) -> int | None:
        """Index into z and x at a frame of the clip, None when the vehicle is away."""
        k = frame - self.first_frame
        return k if 0 <= k < len(self.z) else None

    def project(self, camera: Camera, k: int):
        """The projection of this vehicle's own metres (see body.py) at index k."""
        return lambda p: camera.px(np.asarray(p, float) * [1, -1, 1] + [self.x[k], self.car.plate_y, self.z[k]])

    def corners(self, camera: Camera, k: int) -> np.ndarray:
        """The plate's corners, px, clockwise from its top left."""
        w, h = EU_M if self.plate is not None and self.plate.state == "EU" else US_M
        c, s = np.cos(self.lean), np.sin(self.lean)
        flat = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 @ np.array([[c, s], [-s, c]])
        return self.project(camera, k)(np.column_stack([flat, np.full(4, -0.03)]))


@dataclass
class Plan:
    """Everything that happens in the clip. Frames before day_frames are day, the rest IR."""

    seed: int
    fps: int
    day_frames: int
    frames: int
    passes: list[Pass] = field(default_factory=list)


def _drive(direction: str, speed: float, fps: int, stop_at: float | None = None, wait: float = 6.0):
    """z and speed a frame, from one end of the road to the other; stop_at (m) parks on the way."""
    away = direction == "receding"
    z, v, out_z, out_v = (Z_NEAR if away else Z_FAR), speed, [], []
    held = 0.0
    while Z_NEAR <= z <= Z_FAR:
        out_z.append(z)
        out_v.append(v)
        want, brake = speed, 5.0
        if stop_at is not None:
            left = (stop_at - z) * (1 if away else -1)
            if held < wait and left < v * v / (2 * brake) + 0.05:
                v = max(0.0, v - brake / fps)
                if v <= 0.2:
                    v, held = 0.0, held + 1 / fps
            elif held >= wait:
                v = min(want, v + 2.8 / fps)
        z += (v if away else -v) / fps
    return np.array(out_z), np.array(out_v)


def _contrast(plate: Plate, kind: str) -> float:
    """Grey levels between the serial's strokes and the ground, roughly."""
    luma = plate.ir if kind == "ir" else plate.image.mean(2)
    middle = luma[luma.shape[0] // 3:luma.shape[0] * 2 // 3, luma.shape[1] // 10:-luma.shape[1] // 10]
    return float(np.percentile(middle, 88) - np.percentile(middle, 12))


def _plate(rng: np.random.Generator, kind: str, taken: set[str]) -> Plate:
    """A plate that a person can read, with a serial that no other in the clip has."""
    while True:
        plate = draw_plate(rng, STYLES[int(rng.integers(len(STYLES)))])
        if 5 <= len(plate.text) <= 7 and plate.text not in taken and _contrast(plate, kind) > 95:
            taken.add(plate.text)
            return plate


def _section(rng, kind: str, count: int, start: int, fps: int, taken: set[str], out: list[Pass]) -> int:
    """Add one section's passes from frame `start` on; returns the frame after it."""
    free = {"approaching": start + fps // 3, "receding": start + fps // 6}

    def add(direction, first, z, v, x=None, car=None, plate=True):
        kinds = ("sedan", "suv", "pickup", "van")
        car = car or draw_vehicle(rng, direction == "approaching", kinds[int(rng.choice(4, p=(.45, .3, .17, .08)))], ppm=FACE_PPM)
        lane = np.full(len(z), LANES[direction] + rng.uniform(-0.08, 0.08)) if x is None else x
        p = Pass(kind, direction, car, _plate(rng, kind, taken) if plate else None, first, z, lane, v,
                 np.radians(rng.normal(0, 0.8)), rng.uniform(0.75, 1.15), len(out))
        out.append(p)
        free[direction] = max(free[direction], first + len(z) + int(fps * rng.uniform(0.05, 0.3)))

    def normal(direction, kmh=None, first=None, **more):
        z, v = _drive(direction, (kmh or rng.uniform(38, 105)) / 3.6, fps)
        add(direction, free[direction] if first is None else first, z, v, **more)

    def pair():  # side by side: both reach the middle of the picture in the same frame
        rides = {d: _drive(d, rng.uniform(32, 60) / 3.6, fps) for d in LANES}
        reach = {d: int(np.argmin(np.abs(rides[d][0] - 21.0))) for d in LANES}
        meet = max(free[d] + reach[d] for d in LANES)
        for d in LANES:
            add(d, meet - reach[d], *rides[d])

    def overtake():  # a van passes a slow car and hides its plate for about 0.4 s
        z, v = _drive("receding", 26 / 3.6, fps)
        first = max(free.values())
        add("receding", first, z, v, car=draw_vehicle(rng, False, "sedan", ppm=FACE_PPM))
        zv, vv = _drive("receding", 78 / 3.6, fps)
        along = np.clip((zv - 8.5) / 12.5, 0, 1)
        x = 1.02 - (1.02 + 1.72) * along * along * (3 - 2 * along)
        enter = int(np.argmax(z > 18.6))
        add("receding", first + enter, zv, vv, x=x, car=draw_vehicle(rng, False, "van", ppm=FACE_PPM))
        free["approaching"] = max(free["approaching"], first + enter + len(zv))

    done = len(out)
    if kind == "day":
        normal("receding", 62)
        if count >= 2:
            normal("approaching", 88)
        if count >= 4:
            pair()
        if count >= 7:
            overtake()
        if count >= 8:
            z, v = _drive("approaching", 44 / 3.6, fps, stop_at=19.5)
            add("approaching", free["approaching"], z, v)
    else:
        normal("approaching", 48)
        if count >= 2:
            normal("receding", 70)
        if count >= 4:
            pair()
    lettered = False
    while len(out) - done - lettered < count:
        if not lettered and len(out) - done >= count // 2:
            z, v = _drive("receding", 52 / 3.6, fps)
            add("receding", free["receding"], z, v, plate=False,
                car=draw_vehicle(rng, False, "truck" if kind == "ir" else "van", lettered=True, ppm=FACE_PPM))
            lettered = True
        normal(min(free, key=free.get))
    return max(free.values()) + fps // 6


def make_plan(seed: int, passes: int = 24, fps: int = 30) -> Plan:
    """Half of the passes by day, then the rest at night under the IR lamp."""
    rng = np.random.default_rng(seed)
    out: list[Pass] = []
    taken: set[str] = set()
    day = _section(rng, "day", passes // 2, 0, fps, taken, out)
    end = _section(rng, "ir", passes - passes // 2, day, fps, taken, out)
    return Plan(seed, fps, day, end, out)
