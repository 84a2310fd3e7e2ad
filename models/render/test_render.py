"""What the renderer promises. Run: python -m unittest models.render.test_render"""
from __future__ import annotations

import json
import re
import shutil
import tempfile
import unittest
from pathlib import Path

import cv2
import numpy as np

from . import clip, formats, optics
from .parts import draw_serial
from .plates import draw_plate, style_names
from .scene import draw_scene
from .sensor import plate_on_sensor, travel
from .track import make_plan


def clockwise(quad: np.ndarray) -> bool:
    """Whether a quad goes clockwise on a picture, whose y points down, and is convex."""
    q = np.asarray(quad, np.float64)
    a, b = np.roll(q, -1, 0) - q, np.roll(q, -2, 0) - np.roll(q, -1, 0)
    return bool((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0).all())


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two grey pictures of one size, -1 to 1."""
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))


class Plates(unittest.TestCase):
    def test_a_seed_gives_the_same_plate_whatever_was_drawn_before(self):
        first = draw_plate(np.random.default_rng(3))
        for n in range(20):
            draw_plate(np.random.default_rng(100 + n))
        again = draw_plate(np.random.default_rng(3))
        self.assertEqual((first.text, first.state, first.style), (again.text, again.state, again.style))
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.ir, again.ir)

    def test_every_format_of_every_state_is_filled_validly(self):
        rng = np.random.default_rng(0)
        for state, (_, _, patterns, never) in formats.STATES.items():
            for pattern in patterns:
                text = formats.text_of(formats.fill(rng, pattern, never))
                self.assertRegex(text, f"^{formats.regex(pattern, never)}$", state)
        self.assertEqual(len(formats.STATES), 51)

    def test_california_is_one_of_nine_three_letters_three_digits(self):
        rng = np.random.default_rng(1)
        for _ in range(50):
            text = formats.text_of(formats.fill(rng, formats.STATES["US-CA"][2][0]))
            self.assertRegex(text, r"^[1-9][A-Z]{3}[0-9]{3}$")

    def test_every_style_draws_and_tells_the_truth_in_plain_characters(self):
        for k, style in enumerate(style_names()):
            plate = draw_plate(np.random.default_rng(k), style)
            self.assertRegex(plate.text, r"^[A-Z0-9]{2,10}$")
            self.assertTrue(plate.state in ("", "EU", "BR", "MX") or plate.state in formats.STATES)
            self.assertEqual(plate.image.shape[:2], plate.ir.shape)
            self.assertEqual(plate.image.dtype, np.uint8)

    def test_a_given_text_is_what_is_drawn(self):
        for style, text in (("ca", "7ABC123"), ("eu", "BA123XY"), ("any", "ZZZZZZZ"), ("nj", "A12BCD")):
            self.assertEqual(draw_plate(np.random.default_rng(5), style, text).text, text)

    def test_characters_are_evenly_spread_over_a_format(self):
        rng = np.random.default_rng(2)
        seen = "".join(formats.text_of(formats.fill(rng, "AAA999")) for _ in range(4000))
        for c in formats.LETTERS:
            self.assertAlmostEqual(seen.count(c) / 12000, 1 / 26, delta=0.008)

    def test_serials_stay_visible_under_the_lamp(self):
        rng = np.random.default_rng(4)
        spans = []
        for _ in range(120):
            h = (ir := draw_plate(rng).ir).shape[0]
            middle = ir[h // 3:h * 2 // 3]
            spans.append(np.percentile(middle, 95) - np.percentile(middle, 5))
        self.assertGreater(np.percentile(spans, 3), 40)


class Scenes(unittest.TestCase):
    def test_a_seed_gives_the_same_scene(self):
        a, b = (draw_scene(np.random.default_rng(9), 320, 192) for _ in range(2))
        np.testing.assert_array_equal(a.bgr, b.bgr)
        self.assertEqual([p.text for p in a.plates], [p.text for p in b.plates])

    def test_corners_lie_in_the_picture_clockwise(self):
        rng = np.random.default_rng(10)
        count = 0
        for _ in range(30):
            scene = draw_scene(rng, 320, 192)
            self.assertEqual((scene.luma.shape, scene.bgr.shape), ((192, 320), (192, 320, 3)))
            for plate in scene.plates:
                count += 1
                self.assertTrue(clockwise(plate.corners))
                self.assertTrue((plate.corners >= 0).all() and (plate.corners <= [320, 192]).all())
        self.assertGreater(count, 15)

    def test_a_plate_on_the_sensor_is_reproducible_and_lies_inside_it(self):
        for seed in range(30):
            (a, quad, plate), (b, *_) = (plate_on_sensor(np.random.default_rng(seed)) for _ in range(2))
            np.testing.assert_array_equal(a, b)
            self.assertTrue(clockwise(quad))
            self.assertTrue((quad > 0).all() and (quad < a.shape[::-1]).all(), plate.style)

    def test_what_is_nearer_is_smeared_farther(self):
        bars = np.tile(np.repeat(np.array([40, 210], np.uint8), 8), (64, 16))
        sharp = lambda luma: float(np.square(np.diff(luma.astype(float), axis=1)).mean())
        near, far = (np.mean([sharp(optics.smear(bars, travel(np.random.default_rng(s), px), 0.0)) for s in range(40)]) for px in (900.0, 300.0))
        self.assertLess(near, 0.8 * far)

    def test_no_character_of_a_serial_stands_on_another_or_is_cut_off(self):
        # An H is of one piece, so pieces of ink are characters.
        for seed in range(400):
            rng = np.random.default_rng(seed)
            marks = [("char", "H")] * 5
            at = int(rng.integers(6))
            marks[at:at] = [("stack", "H"), ("stack", "H")]
            canvas = np.zeros((120, 400, 4), np.float32)
            draw_serial(canvas, rng, marks, "semi", (20, 16, 380, 104), np.full(4, 255, np.float32), 0.0)
            ink = (canvas[..., 0] > 128).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(ink)  # the ground is the first
            self.assertEqual(count - 1, 7, seed)
            self.assertGreater(stats[1:, cv2.CC_STAT_HEIGHT].min(), 25, seed)


class Optics(unittest.TestCase):
    def test_a_picture_comes_out_of_the_codec_at_its_size_and_place_and_not_as_it_went_in(self):
        rng = np.random.default_rng(4)
        ys, xs = np.mgrid[0:45, 0:101]
        image = (120 + 60 * np.sin(xs / 6.0) + 40 * np.cos(ys / 5.0) + rng.normal(0, 6, (45, 101))).clip(0, 255).astype(np.uint8)
        for _ in range(8):  # one to three frames, coarse and fine
            out = optics.h264(rng, image)
            self.assertEqual((out.shape, out.dtype), (image.shape, image.dtype))
            error = np.abs(out.astype(int) - image).mean()
            self.assertGreater(error, 0.3)
            self.assertLess(error, 0.5 * np.abs(np.roll(out, 6, 1).astype(int) - image).mean())


class Clip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plan = make_plan(1)
        cls.renderer = clip.Renderer(cls.plan, 960, 540)

    def test_the_plan_holds_what_was_asked_for(self):
        with_plate = [p for p in self.plan.passes if p.plate is not None]
        self.assertEqual(len(with_plate), 24)
        self.assertEqual(len({p.plate.text for p in with_plate}), 24)
        self.assertEqual(sum(p.kind == "day" for p in with_plate), 12)
        self.assertEqual({p.direction for p in with_plate}, {"approaching", "receding"})
        self.assertGreaterEqual(sum(p.plate is None for p in self.plan.passes), 1)
        self.assertLessEqual(self.plan.frames / self.plan.fps, 75)
        self.assertGreaterEqual(max((p.speed < 0.01).sum() for p in with_plate), 5.5 * self.plan.fps)
        for kind, start, end in (("day", 0, self.plan.day_frames), ("ir", self.plan.day_frames, self.plan.frames)):
            for p in self.plan.passes:
                if p.kind == kind:
                    self.assertTrue(start <= p.first_frame and p.first_frame + len(p.z) <= end)

    def test_the_same_seed_gives_the_same_frame(self):
        other = clip.Renderer(make_plan(1), 960, 540)
        for i in (40, self.plan.day_frames + 60):
            np.testing.assert_array_equal(self.renderer.frame(i)[0], other.frame(i)[0])

    def test_the_truth_lies_on_the_plate(self):
        checked = 0
        for i in range(0, self.plan.frames, 23):
            image, seen = self.renderer.frame(i)
            grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            for ident, corners in seen:
                plate = self.plan.passes[ident].plate
                quad = np.array(corners, np.float32)
                self.assertTrue(clockwise(quad))
                flat = cv2.getPerspectiveTransform(quad, np.array([[0, 0], [80, 0], [80, 40], [0, 40]], np.float32))
                found = cv2.warpPerspective(grey, flat, (80, 40))
                drawn = plate.ir if image.ndim == 2 else cv2.cvtColor(plate.image, cv2.COLOR_BGR2GRAY)
                drawn = cv2.resize(drawn, (80, 40), interpolation=cv2.INTER_AREA)
                inside = quad.min() >= 0 and (quad.max(0) < grey.shape[::-1]).all()
                if inside and quad[1, 0] - quad[0, 0] > 45:  # smaller ones are too blurred to compare
                    self.assertGreater(likeness(found[6:-6, 4:-4], drawn[6:-6, 4:-4]), 0.6, plate.text)
                    checked += 1
        self.assertGreater(checked, 10)

    def test_a_van_hides_the_slow_car_for_a_moment(self):
        van = next(p for p in self.plan.passes if np.ptp(p.x) > 1)
        slow = self.plan.passes[van.ident - 1]
        frames = range(slow.first_frame, slow.first_frame + len(slow.z))
        seen = [any(ident == slow.ident for ident, _ in self.renderer.frame(i)[1]) for i in frames]
        self.assertTrue(re.search(r"1+0{6,18}1+", "".join(str(int(s)) for s in seen)))

    @unittest.skipUnless(shutil.which("gst-launch-1.0"), "GStreamer is not installed")
    def test_the_command_writes_a_clip_and_its_truth(self):
        with tempfile.TemporaryDirectory() as out:
            clip.render(Path(out), seed=2, passes=2, width=320, height=180, fps=10, workers=1)
            truth = json.loads((Path(out) / "truth.json").read_text())
            self.assertEqual(len(truth["passes"]), 2)
            self.assertGreater((Path(out) / "demo.mp4").stat().st_size, 1000)


if __name__ == "__main__":
    unittest.main()
