"""Serial formats: what the characters of a plate may be, state by state.

Pattern language, one string a format:
  A letter    9 digit    1 digit 1-9
  ' ' gap    '-' dash    '.' raised dot    '*' an emblem or the outline of the state
  {AA} two small letters stacked on top of one another, read top to bottom

The formats are facts carried over from the comments of the npm package
`license-plate-serial-generator` 0.2.4 (MIT, Patrik Csak), the table and the code are
ours. California is extended to the present 9-series. The *ranges* of that package are
deliberately dropped: a reader trained on serials issued up to now would learn that some
letters never start a plate, and be wrong next year.
"""
from __future__ import annotations

import re

import numpy as np

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"

# code: (name, slogans, passenger formats, letters that are never issued)
STATES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], str]] = {
    "US-AL": ("Alabama", ("Sweet Home", "Heart of Dixie"), ("1AA9999", "19AA999", "1A999A9"), ""),
    "US-AK": ("Alaska", ("The Last Frontier",), ("AAA 999", "AAA*999"), ""),
    "US-AZ": ("Arizona", ("Grand Canyon State",), ("AAA9999", "A9A AA9A"), ""),
    "US-AR": ("Arkansas", ("The Natural State",), ("999 AAA", "AAA 99A"), ""),
    "US-CA": ("California", ("dmv.ca.gov", "The Golden State"), ("1AAA999",), ""),
    "US-CO": ("Colorado", (), ("AAA-999", "AAA-A99", "999*AAA"), "IQ"),
    "US-CT": ("Connecticut", ("Constitution State",), ("AA.99999", "999-AAA", "9AA-AA9"), ""),
    "US-DE": ("Delaware", ("The First State",), ("999999", "99999"), ""),
    "US-FL": ("Florida", ("Sunshine State", "In God We Trust"),
              ("A99 9AA", "AAA*A99", "999*AAA", "99A*AAA"), "O"),
    "US-GA": ("Georgia", ("In God We Trust", "Peach State"), ("AAA9999", "AAA*9999"), ""),
    "US-HI": ("Hawaii", ("Aloha State",), ("AAA 999",), ""),
    "US-ID": ("Idaho", ("Famous Potatoes", "Scenic Idaho"),
              ("1A 999999", "1A A9999", "1A AA999", "A 999999"), ""),
    "US-IL": ("Illinois", ("Land of Lincoln",), ("AA 99999", "AA*99999", "A99 9999"), ""),
    "US-IN": ("Indiana", ("In God We Trust", "Hoosier State"), ("999AAA", "999AA", "999A"), ""),
    "US-IA": ("Iowa", (), ("AAA 999", "999 AAA"), ""),
    "US-KS": ("Kansas", ("To the Stars",), ("999 AAA", "9999AAA"), ""),
    "US-KY": ("Kentucky", ("Bluegrass State", "In God We Trust"), ("999 AAA", "A9A 999"), ""),
    "US-LA": ("Louisiana", ("Sportsmans Paradise",), ("999 AAA", "AAA 999"), ""),
    "US-ME": ("Maine", ("Vacationland",), ("9999 AA", "999 AAA"), ""),
    "US-MD": ("Maryland", ("MyMaryland.gov",), ("1AA9999", "1AA 9999"), ""),
    "US-MA": ("Massachusetts", ("The Spirit of America",),
              ("1AAA 99", "199 AA9", "99AA 99", "1AA 999"), "IOQU"),
    "US-MI": ("Michigan", ("Great Lakes", "Pure Michigan"), ("AAA 9999", "AAA9999", "AAA 999"), ""),
    "US-MN": ("Minnesota", ("10,000 lakes",), ("AAA-999", "999-AAA", "AAA*999"), ""),
    "US-MS": ("Mississippi", ("In God We Trust", "Magnolia State"), ("AAA 9999", "AAA*999"), ""),
    "US-MO": ("Missouri", ("Show-Me State", "Bicentennial"), ("AA9*A9A", "AA9 A9A"), ""),
    "US-MT": ("Montana", ("Big Sky Country", "Treasure State"), ("1-99999A", "19-9999A", "AAA 999"), ""),
    "US-NE": ("Nebraska", (), ("AAA 999", "1-A9999", "19-A999"), ""),
    "US-NV": ("Nevada", ("Home Means Nevada", "The Silver State"), ("999.A99", "99A.999"), ""),
    "US-NH": ("New Hampshire", ("Live Free or Die",), ("199 9999", "AAA 999"), ""),
    "US-NJ": ("New Jersey", ("Garden State",), ("A99-AAA", "A99*AAA", "AAA-99A"), "IOQ"),
    "US-NM": ("New Mexico", ("Land of Enchantment",), ("999-AAA", "AAA*A99"), ""),
    "US-NY": ("New York", ("Empire State", "Excelsior"), ("AAA-9999", "AAA*9999"), ""),
    "US-NC": ("North Carolina", ("First in Flight", "First in Freedom"), ("AAA-9999",), ""),
    "US-ND": ("North Dakota", ("Peace Garden State", "Legendary"), ("999 AAA", "AAA 999"), ""),
    "US-OH": ("Ohio", ("Birthplace of Aviation",), ("AAA 9999", "AAA*9999"), ""),
    "US-OK": ("Oklahoma", ("Explore Oklahoma", "Native America"), ("AAA-999", "AAA*999"), ""),
    "US-OR": ("Oregon", ("Pacific Wonderland",), ("999 AAA", "999*AAA"), ""),
    "US-PA": ("Pennsylvania", ("visitPA.com", "Keystone State"), ("AAA-9999", "AAA*9999"), ""),
    "US-RI": ("Rhode Island", ("Ocean State",), ("AA-999", "99999", "1AA 999"), ""),
    "US-SC": ("South Carolina", ("While I Breathe I Hope",), ("AAA 999", "AAA*999"), ""),
    "US-SD": ("South Dakota", ("Great Faces Great Places",), ("1A9 999", "1AA 999", "19A 999"), ""),
    "US-TN": ("Tennessee", ("The Volunteer State",), ("AAA-999", "A99-99A", "AAA 9999"), ""),
    "US-TX": ("Texas", ("The Lone Star State",), ("AAA-9999", "AAA*9999", "AA9*A999"), ""),
    "US-UT": ("Utah", ("Life Elevated", "Greatest Snow on Earth"), ("A99 9AA", "A999AA", "9A9AA"), ""),
    "US-VT": ("Vermont", ("Green Mountain State",), ("AAA 999",), ""),
    "US-VA": ("Virginia", ("Virginia is for Lovers",), ("AAA-9999", "AAA*9999"), ""),
    "US-WA": ("Washington", ("Evergreen State",), ("AAA9999", "999-AAA"), ""),
    "US-WV": ("West Virginia", ("Wild Wonderful",), ("1A 9999", "1AA 999", "AAA 999"), ""),
    "US-WI": ("Wisconsin", ("Americas Dairyland",), ("AAA-9999", "999-AAA"), ""),
    "US-WY": ("Wyoming", ("Forever West",), ("1-99999", "19-99999"), ""),
    "US-DC": ("Washington DC", ("Taxation Without Representation",), ("AA-9999", "AA*9999"), ""),
}

# Formats that belong to no one state: special plates, trucks, trailers, short ones.
ANY_FORMATS = (
    "AAA999", "AAA 999", "999 AAA", "AA 9999", "AA99999", "A999999", "9999999", "999999",
    "99999", "9999", "AAA9999", "AAA-9999", "9A99999", "99A999", "{AA}9999", "{AA}999A",
    "{AA}A99", "A{AA}999", "9999{AA}", "99{AA}99", "AA*999", "AA9 A99", "9AAA999", "A99999", "999A",
)

# country letters on the blue band, formats, share of yellow plates
EU_COUNTRIES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("SK", ("AA*999AA", "AA 999AA", "AA999AA"), 0), ("CZ", ("9A9 9999", "9AA 9999"), 0),
    ("D", ("AA*AA 999", "A*AA 9999", "AAA*A 99"), 0), ("RO", ("AA 99 AAA", "A 999 AAA"), 0),
    ("PL", ("AA 99999", "AAA 9999", "AA 999AA"), 0), ("H", ("AAA-999", "AA AA-999"), 0),
    ("I", ("AA 999AA",), 0), ("F", ("AA-999-AA",), 0), ("E", ("9999 AAA",), 0),
    ("NL", ("99-AAA-9", "AA-999-A", "A-999-AA"), 1), ("A", ("AA*999AA", "A*9999A"), 0),
    ("GB", ("AA99 AAA",), 0.5), ("BG", ("AA 9999 AA", "A 9999 AA"), 0), ("HR", ("AA*999-AA",), 0),
)


def fill(rng: np.random.Generator, pattern: str, never: str = "") -> list[tuple[str, str]]:
    """Fill a pattern with uniformly drawn characters.

    Returns (kind, character) per mark: kind is "char", "stack" or "sep". Uniform over
    the allowed alphabet so that 0/O/D/Q, 1/I, 2/Z, 5/S, 8/B, 6/G are all equally seen.
    """
    letters = [c for c in LETTERS if c not in never]
    marks, stacked = [], False
    for p in pattern:
        if p in "{}":
            stacked = p == "{"
            continue
        kind = "stack" if stacked else "char"
        if p == "A":
            marks.append((kind, letters[int(rng.integers(len(letters)))]))
        elif p == "9":
            marks.append((kind, DIGITS[int(rng.integers(10))]))
        elif p == "1":
            marks.append((kind, DIGITS[int(rng.integers(1, 10))]))
        else:
            marks.append(("sep", p))
    return marks


def lay(text: str, patterns: tuple[str, ...]) -> list[tuple[str, str]]:
    """Marks for a given text: with the separators of the first pattern that it fits."""
    for pattern in patterns:
        if re.fullmatch(regex(pattern), text):
            chars, marks, stacked = iter(text), [], False
            for p in pattern:
                if p in "{}":
                    stacked = p == "{"
                elif p in "A91":
                    marks.append(("stack" if stacked else "char", next(chars)))
                else:
                    marks.append(("sep", p))
            return marks
    return [("char", c) for c in text]


def regex(pattern: str, never: str = "") -> str:
    """The texts (separators dropped) that a pattern allows, as a regular expression."""
    letter = "[" + "".join(c for c in LETTERS if c not in never) + "]"
    return "".join({"A": letter, "9": "[0-9]", "1": "[1-9]"}.get(p, "") for p in pattern)


def text_of(marks: list[tuple[str, str]]) -> str:
    """What a reader should answer: A-Z0-9 in reading order, no separators."""
    return "".join(c for kind, c in marks if kind != "sep")


def personal(rng: np.random.Generator) -> list[tuple[str, str]]:
    """A personalised plate: 2 to 7 uniformly drawn letters with few digits.

    Deliberately not words: a reader that learns words invents them.
    """
    n = int(rng.integers(2, 8))
    share = rng.choice([0.0, 0.15, 0.5])
    chars = [DIGITS[int(rng.integers(10))] if rng.random() < share
             else LETTERS[int(rng.integers(26))] for _ in range(n)]
    marks = [("char", c) for c in chars]
    if n > 3 and rng.random() < 0.3:
        marks.insert(int(rng.integers(1, n)), ("sep", " "))
    return marks
