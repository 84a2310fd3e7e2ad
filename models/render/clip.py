"""Render the demo clip and its truth.

    python -m models.render.clip --out DIR --seed N [--passes 24] [--width 1920 --height 1080 --fps 30]

Writes DIR/demo.mp4 (H.264) and DIR/truth.json. The same seed gives the same frames.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    __package__ = "models.render"

from . import body, compose, roadside
from .track import HEIGHT, Camera, Pass, Plan, make_plan

EXPOSURE_S = {"day": 1 / 900, "ir": 1 / 1600}
HIDDEN = 0.30  # a plate covered by more than this is not in the truth


class Renderer:
    """Draws any frame of a plan; holds what is drawn once: backgrounds, faces, plates, noise."""

    def __init__(self, plan: Plan, width: int, height: int):
        self.plan, self.camera = plan, Camera(width, height)
        self.ground = {"day": roadside.background(self.camera, plan.seed, False),
                       "ir": roadside.background(self.camera, plan.seed, True)}
        self._looks: dict[int, tuple] = {}
        rng = np.random.default_rng([plan.seed, 5])
        self.grain = {}
        for kind, sigma in (("day", 2.0), ("ir", 3.2)):
            # Twice as large as the picture needs, so that each frame cuts another piece.
            tile = rng.standard_normal((height + 128, width + 128)).astype(np.float32) * sigma
            up, down = cv2.convertScaleAbs(np.maximum(tile, 0)), cv2.convertScaleAbs(np.maximum(-tile, 0))
            self.grain[kind] = (up, down) if kind == "ir" else (cv2.merge([up] * 3), cv2.merge([down] * 3))
        y, x = np.mgrid[-1:1:129j, -1:1:129j]
        r2 = x * x + y * y
        edge = np.clip(1 - r2, 0, 1)
        self.pool = (90 * np.exp(-r2 * 4.5) * edge).astype(np.uint8)
        self.glow = np.clip(255 * (1.6 * np.exp(-r2 * 60) + 0.22 / (1 + r2 * 30)) * edge, 0, 255).astype(np.uint8)

    def _look(self, p: Pass):
        """Face and plate in the section's channels, made on first use."""
        if p.ident not in self._looks:
            if p.kind == "day":
                face = np.ascontiguousarray(p.car.image[..., :3])
                plate = None if p.plate is None else p.plate.image
            else:
                face = cv2.extractChannel(p.car.image, 3)
                plate = None if p.plate is None else p.plate.ir
            if len(self._looks) > 12:
                self._looks.clear()
            self._looks[p.ident] = (face, plate)
        return self._looks[p.ident]

    def _add_glow(self, image, centre, radius: float, gain: float) -> None:
        """Add a lamp's halo to the picture; radius px."""
        r = max(3, int(radius))
        x0, y0 = int(centre[0]) - r, int(centre[1]) - r
        h, w = image.shape[:2]
        a, b, c, d = max(x0, 0), max(y0, 0), min(x0 + 2 * r, w), min(y0 + 2 * r, h)
        if a >= c or b >= d:
            return
        glow = cv2.resize(self.glow, (2 * r, 2 * r))[b - y0:d - y0, a - x0:c - x0]
        glow = cv2.convertScaleAbs(glow, alpha=gain)
        view = image[b:d, a:c]
        cv2.add(view, glow if image.ndim == 2 else cv2.merge([glow] * 3), dst=view)

    def _beam(self, image, p: Pass, k: int) -> None:
        """Headlights on the road before an approaching vehicle: brightens what is there."""
        quad = self.camera.px([[p.x[k] - 2.0, 0, p.z[k] - 0.3], [p.x[k] + 2.0, 0, p.z[k] - 0.3],
                               [p.x[k] + 2.6, 0, max(p.z[k] - 10, 4)], [p.x[k] - 2.6, 0, max(p.z[k] - 10, 4)]])
        box = compose.quad_box(quad, image.shape[1], image.shape[0])
        if box is None:
            return
        x0, y0, x1, y1 = box
        n = self.pool.shape[0]
        m = cv2.getPerspectiveTransform(np.array([[0, 0], [n, 0], [n, n], [0, n]], np.float32), (quad - [x0, y0]).astype(np.float32))
        pool = cv2.warpPerspective(self.pool, m, (x1 - x0, y1 - y0))
        view = image[y0:y1, x0:x1]
        cv2.add(view, pool, dst=view)

    def frame(self, i: int) -> tuple[np.ndarray, list[tuple[int, list]]]:
        """Frame i: the picture (BGR by day, luma at night) and (pass, corners) of every plate seen."""
        kind = "day" if i < self.plan.day_frames else "ir"
        image = self.ground[kind].copy()
        here = [(p, p.at(i)) for p in self.plan.passes if p.kind == kind and p.at(i) is not None]
        here.sort(key=lambda e: -e[0].z[e[1]])
        plates: list[tuple[Pass, np.ndarray, np.ndarray]] = []  # pass, corners, covered mask over its box
        glows = []
        for p, k in here:
            face, picture = self._look(p)
            z, px = float(p.z[k]), p.project(self.camera, k)
            scale = self.camera.focal / z
            # Motion blur: how far the face moves down the picture while the shutter is open.
            travel = HEIGHT * scale / z * p.speed[k] * EXPOSURE_S[kind]
            smear = int(round(travel)) if travel > 1.4 else 0
            if kind == "day":
                light = roadside.shade_at(z, self.plan.seed) * 1.06
                dim = light
            else:
                light = p.exposure * float(np.clip((20.0 / z) ** 0.6, 0.65, 1.25))
                dim = 0.58 * float(np.clip((16.0 / z) ** 1.2, 0.2, 1.3))
                if p.direction == "approaching":
                    self._beam(image, p, k)
            lit = cv2.convertScaleAbs(face, alpha=dim)
            covers = body.draw(image, p.car, px, lambda side: (p.x[k] + side) * side < 0, p.car.length, lit,
                               smear, 0.7 if kind == "day" else 0.0, dim)
            for _, quad, mask in plates:
                self._cover(mask, quad, covers)
            if picture is not None:
                quad = p.corners(self.camera, k)
                kernel = np.full((smear, 1), 1 / smear, np.float32) if smear > 1 else None
                compose.place(image, cv2.convertScaleAbs(picture, alpha=light), p.plate.alpha, quad, kernel)
                plates.append((p, quad, np.zeros((24, 48), np.uint8)))
            if kind == "ir":
                for x, y in p.car.lamps:
                    at = px([[x, p.car.plate_y - y, -0.05]])[0]
                    big = p.direction == "approaching"
                    glows.append((at, scale * (0.62 if big else 0.26), 1.0 if big else 0.5, z))
        for at, radius, gain, _ in glows:
            self._add_glow(image, at, radius, gain)
        rng = np.random.default_rng([self.plan.seed, i])
        dy, dx = (int(v) for v in rng.integers(0, 128, 2))
        up, down = (g[dy:dy + image.shape[0], dx:dx + image.shape[1]] for g in self.grain[kind])
        image = cv2.subtract(cv2.add(image, up), down)
        seen = []
        for p, quad, mask in plates:
            # A plate cut by the picture's edge counts until its centre has gone: a read may be of it.
            x, y = quad.mean(0)
            if 0 <= x < image.shape[1] and 0 <= y < image.shape[0] and mask.mean() <= 255 * HIDDEN:
                seen.append((p.ident, [[round(float(x), 2), round(float(y), 2)] for x, y in quad]))
        return image, seen

    @staticmethod
    def _cover(mask: np.ndarray, quad: np.ndarray, covers: list[np.ndarray]) -> None:
        """Mark in a plate's own coordinates what nearer polygons hide of it."""
        h, w = mask.shape
        m = cv2.getPerspectiveTransform(quad.astype(np.float32), np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32))
        for c in covers:
            if (c.min(0) > quad.max(0)).any() or (c.max(0) < quad.min(0)).any():
                continue
            flat = cv2.perspectiveTransform(c[None].astype(np.float32), m)[0]
            cv2.fillPoly(mask, [np.round(flat).clip(-9999, 9999).astype(np.int32)], 255)


_renderer: Renderer | None = None


def _start(seed: int, passes: int, width: int, height: int, fps: int) -> None:
    global _renderer
    cv2.setNumThreads(1)
    _renderer = Renderer(make_plan(seed, passes, fps), width, height)


def _one(i: int) -> tuple[bytes, list]:
    """Frame i as I420 bytes, and the plates seen in it."""
    image, seen = _renderer.frame(i)
    if image.ndim == 2:
        # Video luma runs from 16 to 235; without this a decoder crushes the night to black.
        return cv2.convertScaleAbs(image, alpha=219 / 255, beta=16).tobytes() + b"\x80" * (image.size // 2), seen
    return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).tobytes(), seen


def _encoder(path: Path, width: int, height: int, fps: int) -> subprocess.Popen:
    return subprocess.Popen(
        ["gst-launch-1.0", "-q", "fdsrc", "fd=0", f"blocksize={width * height * 3 // 2}", "!",
         "rawvideoparse", f"width={width}", f"height={height}", "format=i420", f"framerate={fps}/1", "!",
         # As many threads on every machine: the bytes depend on their number.
         "x264enc", "threads=1", "speed-preset=veryfast", "pass=qual", "quantizer=21", "key-int-max=30", "bframes=0", "!",
         "h264parse", "!", "mp4mux", "faststart=true", "!", "filesink", f"location={path}"],
        stdin=subprocess.PIPE)


def render(out: Path, seed: int, passes: int = 24, width: int = 1920, height: int = 1080, fps: int = 30,
           workers: int = 2) -> dict:
    """Render everything into `out`; returns the truth as written."""
    plan = make_plan(seed, passes, fps)
    out.mkdir(parents=True, exist_ok=True)
    encoder = _encoder(out / "demo.mp4", width, height, fps)
    seen: dict[int, list] = {}
    with multiprocessing.get_context("spawn").Pool(workers, _start, (seed, passes, width, height, fps)) as pool:
        for i, (data, plates) in enumerate(pool.imap(_one, range(plan.frames), chunksize=4)):
            encoder.stdin.write(data)
            for ident, corners in plates:
                seen.setdefault(ident, []).append({"frame": i, "corners": corners})
    encoder.stdin.close()
    if encoder.wait() != 0:
        raise RuntimeError("the encoder failed: are the GStreamer x264 and mp4 plug-ins installed?")
    truth = {"fps": fps, "width": width, "height": height, "seed": seed, "frames": plan.frames,
             "day_frames": plan.day_frames, "passes": []}
    for p in plan.passes:
        if p.plate is not None and p.ident in seen:
            frames = seen[p.ident]
            truth["passes"].append({
                "text": p.plate.text, "state": p.plate.state, "style": p.plate.style, "direction": p.direction,
                "kind": p.kind, "first_frame": frames[0]["frame"], "last_frame": frames[-1]["frame"], "frames": frames})
    truth["passes"].sort(key=lambda t: t["first_frame"])
    (out / "truth.json").write_text(json.dumps(truth, separators=(",", ":")) + "\n")
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--passes", type=int, default=24)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    start = time.monotonic()
    truth = render(args.out, args.seed, args.passes, args.width, args.height, args.fps, args.workers)
    size = (args.out / "demo.mp4").stat().st_size / 1e6
    print(f"{truth['frames']} frames ({truth['frames'] / args.fps:.1f} s), {len(truth['passes'])} passes, "
          f"{size:.1f} MB, rendered in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
