"""Promises of the texts by eye: every row is usable, names its plate once, and teaches only what is certain."""

import unittest
from collections import Counter

from models.data.sources import ALPHABET, BOX, STATE_INDEX, UNREAD, box_of, by_eye, known_of, place_class


class Labels(unittest.TestCase):
    def test_no_plate_has_two_rows(self):
        for file, key in (("photos.csv", ("source", "image", "x1", "y1")), ("crops.csv", ("image",)), ("unboxed.csv", ("source", "image", *BOX))):
            twice = [row for row, count in Counter(tuple(r[k] for k in key) for r in by_eye(file)).items() if count > 1]
            self.assertEqual(twice, [], file)

    def test_texts_are_serials_uncertain_or_none(self):
        for file in ("photos.csv", "crops.csv"):
            for row in by_eye(file):
                self.assertTrue(row["text"] == UNREAD or set(row["text"]) <= set(ALPHABET), row)

    def test_every_place_has_a_class_and_a_misspelt_state_is_refused(self):
        for row in by_eye("photos.csv"):
            self.assertIn(place_class(row["place"]), [-1, *STATE_INDEX.values()], row)
        self.assertEqual([place_class(p) for p in ("", "US", "GB", "AU")], [-1, -1, STATE_INDEX["EU"], STATE_INDEX["other"]])
        with self.assertRaises(KeyError):
            place_class("US-XX")

    def test_what_no_label_boxed_is_a_word_or_a_plate_in_a_box_of_its_own(self):
        plates = {(row["source"], row["image"], row["x1"], row["y1"]) for row in by_eye("photos.csv")}
        for row in by_eye("unboxed.csv"):
            x1, y1, x2, y2 = box_of(row)
            self.assertTrue(x1 < x2 and y1 < y2, row)
            self.assertIn(row["what"], ("word", "plate"))
            self.assertNotIn((row["source"], row["image"], row["x1"], row["y1"]), plates)

    def test_two_rows_are_no_line_of_a_known_origin_and_no_plate_has_none(self):
        row = {"text": "ZZ99ZZ9999", "place": "GB", "remark": "two"}
        self.assertEqual(known_of(row), ("", STATE_INDEX["EU"]))
        self.assertEqual(known_of({**row, "text": "", "remark": ""}), ("", -1))
        self.assertEqual(known_of({**row, "remark": "mirror"}), (UNREAD, -1))
        self.assertEqual(known_of({**row, "text": UNREAD, "remark": ""}), (UNREAD, STATE_INDEX["EU"]))


if __name__ == "__main__":
    unittest.main()
