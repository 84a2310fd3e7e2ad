"""Serial formats: what the characters of a plate may be, and names and slogans, state by state.

The formats of the Americas and their pattern language are in models/formats.toml, which the appliance shares.
"""
from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"

_TABLE = tomllib.loads((Path(__file__).resolve().parents[1] / "formats.toml").read_text())

# code: (name, slogans)
_LEGENDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "US-AL": ("Alabama", ("Sweet Home", "Heart of Dixie")),
    "US-AK": ("Alaska", ("The Last Frontier",)),
    "US-AZ": ("Arizona", ("Grand Canyon State",)),
    "US-AR": ("Arkansas", ("The Natural State",)),
    "US-CA": ("California", ("dmv.ca.gov", "The Golden State")),
    "US-CO": ("Colorado", ()),
    "US-CT": ("Connecticut", ("Constitution State",)),
    "US-DE": ("Delaware", ("The First State",)),
    "US-FL": ("Florida", ("Sunshine State", "In God We Trust")),
    "US-GA": ("Georgia", ("In God We Trust", "Peach State")),
    "US-HI": ("Hawaii", ("Aloha State",)),
    "US-ID": ("Idaho", ("Famous Potatoes", "Scenic Idaho")),
    "US-IL": ("Illinois", ("Land of Lincoln",)),
    "US-IN": ("Indiana", ("In God We Trust", "Hoosier State")),
    "US-IA": ("Iowa", ()),
    "US-KS": ("Kansas", ("To the Stars",)),
    "US-KY": ("Kentucky", ("Bluegrass State", "In God We Trust")),
    "US-LA": ("Louisiana", ("Sportsmans Paradise",)),
    "US-ME": ("Maine", ("Vacationland",)),
    "US-MD": ("Maryland", ("MyMaryland.gov",)),
    "US-MA": ("Massachusetts", ("The Spirit of America",)),
    "US-MI": ("Michigan", ("Great Lakes", "Pure Michigan")),
    "US-MN": ("Minnesota", ("10,000 lakes",)),
    "US-MS": ("Mississippi", ("In God We Trust", "Magnolia State")),
    "US-MO": ("Missouri", ("Show-Me State", "Bicentennial")),
    "US-MT": ("Montana", ("Big Sky Country", "Treasure State")),
    "US-NE": ("Nebraska", ()),
    "US-NV": ("Nevada", ("Home Means Nevada", "The Silver State")),
    "US-NH": ("New Hampshire", ("Live Free or Die",)),
    "US-NJ": ("New Jersey", ("Garden State",)),
    "US-NM": ("New Mexico", ("Land of Enchantment",)),
    "US-NY": ("New York", ("Empire State", "Excelsior")),
    "US-NC": ("North Carolina", ("First in Flight", "First in Freedom")),
    "US-ND": ("North Dakota", ("Peace Garden State", "Legendary")),
    "US-OH": ("Ohio", ("Birthplace of Aviation",)),
    "US-OK": ("Oklahoma", ("Explore Oklahoma", "Native America")),
    "US-OR": ("Oregon", ("Pacific Wonderland",)),
    "US-PA": ("Pennsylvania", ("visitPA.com", "Keystone State")),
    "US-RI": ("Rhode Island", ("Ocean State",)),
    "US-SC": ("South Carolina", ("While I Breathe I Hope",)),
    "US-SD": ("South Dakota", ("Great Faces Great Places",)),
    "US-TN": ("Tennessee", ("The Volunteer State",)),
    "US-TX": ("Texas", ("The Lone Star State",)),
    "US-UT": ("Utah", ("Life Elevated", "Greatest Snow on Earth")),
    "US-VT": ("Vermont", ("Green Mountain State",)),
    "US-VA": ("Virginia", ("Virginia is for Lovers",)),
    "US-WA": ("Washington", ("Evergreen State",)),
    "US-WV": ("West Virginia", ("Wild Wonderful",)),
    "US-WI": ("Wisconsin", ("Americas Dairyland",)),
    "US-WY": ("Wyoming", ("Forever West",)),
    "US-DC": ("Washington DC", ("Taxation Without Representation",)),
}

# code: (name, slogans, passenger formats, letters that are never issued)
STATES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], str]] = {
    code: (*_LEGENDS[code], tuple(row["passenger"]), row.get("never", "")) for code, row in _TABLE["states"].items()
    if code in _LEGENDS
}

# Counties, some of each state whose plates name them.
COUNTIES: dict[str, tuple[str, ...]] = {
    "US-FL": ("MIAMI-DADE", "BROWARD", "ORANGE", "DUVAL", "HILLSBOROUGH"), "US-GA": ("FULTON", "COBB", "GWINNETT", "DEKALB", "CHATHAM", "BIBB"),
    "US-IA": ("POLK", "LINN", "SCOTT", "JOHNSON", "BLACK HAWK"), "US-IN": ("MARION", "LAKE", "ALLEN", "HAMILTON"),
    "US-KY": ("JEFFERSON", "FAYETTE", "KENTON", "BOONE", "WARREN"), "US-MS": ("HINDS", "RANKIN", "HARRISON", "DESOTO", "LEE"),
    "US-OH": ("FRANKLIN", "CUYAHOGA", "HAMILTON", "LUCAS"), "US-TN": ("DAVIDSON", "SHELBY", "KNOX", "HAMILTON", "RUTHERFORD"),
}

# What plates say of their vehicle or owner: no part of the serial.
USES = ("DEALER", "TRUCK", "TRAILER", "APPORTIONED", "COMMERCIAL", "TAXI", "LIVERY", "FLEET", "TRANSPORTER", "FARM", "EXEMPT", "RENTAL", "BUS",
        "PASSENGER", "MUNICIPAL", "VETERAN", "REPAIR", "MOTORCYCLE")

# Mexican states and Brazilian towns as plates name them: those of the border first of all.
MX_STATES = ("Baja California", "Baja California", "Baja California", "Sonora", "Chihuahua", "Jalisco", "Sinaloa", "Nuevo León",
             "Tamaulipas", "México", "CDMX", "Baja California Sur")
MX_LINES = ("MEXICO", "TRANSPORTE PRIVADO", "AUTOMOVIL", "FRONTERA BC", "CAMIONETA", "DELANTERA", "TRASERA", "PRIVADO")
BR_TOWNS = ("SP-SAO PAULO", "RJ-RIO DE JANEIRO", "MG-BELO HORIZONTE", "PR-CURITIBA", "BA-SALVADOR", "SC-JOINVILLE", "RS-PORTO ALEGRE",
            "GO-GOIANIA", "SP-CAMPINAS", "PE-RECIFE", "CE-FORTALEZA", "DF-BRASILIA", "SP-SANTOS", "ES-VITORIA")

def of_country(code: str) -> tuple[tuple[str, ...], str]:
    """Formats and letters that are never issued of a country of models/formats.toml."""
    row = _TABLE["states"][code]
    return tuple(row["passenger"]), row.get("never", "")


# Formats that belong to no one state: special plates, trucks, trailers, short ones.
ANY_FORMATS = tuple(_TABLE["special"])

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
