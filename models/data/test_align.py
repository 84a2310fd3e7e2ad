"""Promises of the aligner's geometry: a window and its picture map onto each other, and what is no plate is refused."""

import unittest

import numpy as np

from models.data.align import HEIGHT, WIDTH, detected, from_window, likely, nominal, to_window, window

PLATE = np.array([[310, 100], [420, 112], [415, 170], [305, 160]], np.float32)


class Align(unittest.TestCase):
    def test_the_windows_nominal_corners_are_the_quads(self):
        np.testing.assert_allclose(from_window(PLATE, nominal()), PLATE, atol=0.01)

    def test_points_go_to_the_window_and_back(self):
        points = np.array([[300, 95], [430, 180], [350, 120], [400, 140]], np.float32)
        np.testing.assert_allclose(from_window(PLATE, to_window(PLATE, points)), points, atol=0.05)

    def test_a_bright_plate_lies_where_the_window_says(self):
        luma = np.zeros((240, 640), np.uint8)
        luma[100:160, 300:420] = 200
        seen = window(luma, np.array([[300, 100], [420, 100], [420, 160], [300, 160]], np.float32))
        (x0, y0), (x1, y1) = nominal()[0], nominal()[2]
        self.assertEqual(seen.shape, (HEIGHT, WIDTH))
        self.assertGreater(seen[int(y0) + 3:int(y1) - 2, int(x0) + 3:int(x1) - 2].min(), 150)
        self.assertEqual(max(seen[:int(y0) - 3].max(), seen[:, :int(x0) - 3].max()), 0)

    def test_mirrored_folded_or_far_too_large_corners_are_no_plate(self):
        self.assertTrue(likely(PLATE, PLATE + 3))
        for wrong in (PLATE[[1, 0, 3, 2]], PLATE[[0, 2, 1, 3]], (PLATE - PLATE.mean(0)) * 2 + PLATE.mean(0), PLATE * 0.2):
            self.assertFalse(likely(PLATE, wrong.astype(np.float32)))

    def test_a_detectors_quad_is_near_the_plate_and_often_more_level(self):
        rng = np.random.default_rng(1)
        lean = lambda quad: abs(quad[1, 1] - quad[0, 1])
        quads = [detected(rng, PLATE) for _ in range(200)]
        self.assertTrue(all(np.abs(q.mean(0) - PLATE.mean(0)).max() < 40 for q in quads))
        self.assertGreater(np.mean([lean(q) < lean(PLATE) for q in quads]), 0.5)


if __name__ == "__main__":
    unittest.main()
