"""Promises of the clip's score: duplicates, inventions and misses are each counted as such."""

import unittest

from models.evaluate.score_clip import score

PLATE = [[100, 100], [200, 100], [200, 150], [100, 150]]
FAR = [[900, 900], [990, 900], [990, 940], [900, 940]]


def truth(*texts):
    """Passes one after the other, each at the same place, ten frames long."""
    return {"passes": [
        {"text": t, "state": "US-CA", "kind": "day",
         "frames": [{"frame": 100 * i + f, "corners": PLATE} for f in range(10)]}
        for i, t in enumerate(texts)]}


def read(text, frame, corners=PLATE):
    """A line of the replay."""
    return {"kind": "read", "frame": frame,
            "read": {"plate_text": text, "plate_corners_px": corners, "state": {"code": "US-CA"}}}


class Score(unittest.TestCase):
    def test_each_pass_read_once_is_all_right(self):
        r = score(truth("1ABC234", "7XYZ890"), [read("1ABC234", 5), read("7XYZ890", 105)])
        self.assertEqual((r["kinds"]["all"]["exact"], r["kinds"]["all"]["duplicates"], r["invented"]), (2, 0, []))

    def test_a_second_read_of_a_pass_is_a_duplicate(self):
        r = score(truth("1ABC234"), [read("1ABC234", 5), read("1ABC234", 7)])
        self.assertEqual(r["kinds"]["all"]["duplicates"], 1)

    def test_a_read_where_no_plate_was_is_invented(self):
        r = score(truth("1ABC234"), [read("1ABC234", 5, FAR), read("1ABC234", 50)])
        self.assertEqual((len(r["invented"]), r["kinds"]["all"]["missed"]), (2, ["1ABC234"]))

    def test_a_wrong_text_is_named_with_the_right_one(self):
        r = score(truth("1ABC234"), [read("1A8C234", 5)])
        self.assertEqual(r["kinds"]["all"]["wrong"], [("1ABC234", ["1A8C234"])])


if __name__ == "__main__":
    unittest.main()
