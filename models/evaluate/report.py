"""The standard report as one HTML page: figures by set and by condition, calibration, and every miss as a picture.

    python -m models.evaluate.report --out report/index.html FOLDER=READS [FOLDER=READS ...]

The page holds pieces of the photos and their texts: it is for the people who build the models, and its photos
are not ours to publish.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from .condition import conditions, load
from .outcome import Outcome, Outcomes, Seen, outcomes
from .score import abstaining, figures, rate, text_figures

STYLE = """body{font:16px/1.4 system-ui,sans-serif;margin:1.5rem auto;max-width:78rem;padding:0 1rem;color:#111}
table{border-collapse:collapse;margin:.6rem 0}td,th{border:1px solid #bbb;padding:.2rem .5rem;text-align:right}
td:first-child,th:first-child{text-align:left}.misses{display:flex;flex-wrap:wrap;gap:.6rem}
figure{margin:0;width:15rem;border:1px solid #ccc;padding:.3rem}figure img{width:100%;image-rendering:auto}
figcaption{font:13px/1.3 ui-monospace,monospace;overflow-wrap:anywhere}del{color:#a00;text-decoration:none}ins{color:#060;text-decoration:none}
.plots{display:flex;flex-wrap:wrap}.plots svg{height:17rem;width:auto}"""


def picture(grey: np.ndarray, label_box, seen: Seen | None) -> str:
    """An <img> of the plate with some surroundings; the corners seen are drawn beside the strokes, not over them."""
    height, width = grey.shape
    x1, y1, x2, y2 = label_box or (seen.box if seen else (0, 0, width, height))
    grow = 0.35 * (x2 - x1)
    left, top, right, bottom = int(max(0, x1 - grow)), int(max(0, y1 - grow)), int(min(width, x2 + grow)), int(min(height, y2 + grow))
    scale = 320 / max(1, right - left)
    patch = cv2.resize(grey[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    patch = cv2.cvtColor(patch, cv2.COLOR_GRAY2BGR)
    if seen:
        points = (np.array(seen.corners) - [left, top]) * scale
        cv2.polylines(patch, [np.round(points).astype(np.int32)], True, (0, 160, 255), 1, cv2.LINE_AA)
    _, data = cv2.imencode(".jpg", patch, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def miss(result: Outcomes, outcome: Outcome) -> str:
    """A <figure> of a plate that was missed or misread."""
    grey = load(result.folder, outcome.label.photo)
    if grey is None:
        return ""
    seen = outcome.seen
    said = "not found" if seen is None else f"<del>{seen.text or 'no text'}</del> {seen.confidence:.2f} {html.escape(seen.state)}"
    box = None if outcome.label.whole else outcome.label.box
    return (f"<figure>{picture(grey, box, seen)}<figcaption><ins>{outcome.label.text}</ins> {said}<br>"
            f"{html.escape(outcome.label.photo[:40])}</figcaption></figure>")


def html_table(rows: dict[str, dict[str, str]], first: str) -> str:
    """A <table> of rows by name."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    head = "".join(f"<th>{html.escape(c)}</th>" for c in [first, *columns])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(v)}</td>" for v in [name, *(row.get(c, "") for c in columns)]) + "</tr>"
                   for name, row in rows.items())
    return f"<table><tr>{head}</tr>{body}</table>"


def svg(figure) -> str:
    """A figure as inline SVG."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight")
    plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg"):]


def reliability(confidence: np.ndarray, right: np.ndarray, title: str, what: str = "confidence"):
    """Share right over the confidence said, in tenths, with how many each has."""
    index = np.minimum((confidence * 10).astype(int), 9)
    figure, axes = plt.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], color="#999", linewidth=1)
    for b in range(10):
        mine = index == b
        if mine.any():
            axes.bar(b / 10 + 0.05, right[mine].mean(), 0.09, color="#36c")
            axes.text(b / 10 + 0.05, 0.02, str(mine.sum()), ha="center", fontsize=8, color="white")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=what, ylabel="share right", title=title)
    return figure


def abstention(plates: list[Outcome], title: str):
    """Share of right texts over the share of plates left unread."""
    shares = np.linspace(0, 0.5, 51)
    figure, axes = plt.subplots(figsize=(4, 4))
    axes.plot(100 * shares, [100 * abstaining(plates, s) for s in shares], color="#36c")
    axes.set(xlabel="least sure plates left unread, %", ylabel="rest right, %", title=title)
    axes.grid(alpha=0.3)
    return figure


def by_condition(result: Outcomes) -> str:
    """Tables of a set by condition."""
    kinds: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in result.plates:
        grey = load(result.folder, outcome.label.photo)
        for kind, interval in (conditions(outcome, grey) if grey is not None else {}).items():
            kinds.setdefault(kind, {}).setdefault(interval, []).append(outcome)
    parts = []
    for kind, intervals in kinds.items():
        rows = {name: {"recall": rate(sum(o.seen is not None for o in mine), len(mine)),
                       **text_figures([o for o in mine if o.label.text])} for name, mine in sorted(intervals.items())}
        parts.append(html_table(rows, kind))
    return "".join(parts)


def page(results: list[Outcomes]) -> str:
    """The whole page."""
    parts = [html_table({r.name: figures(r) for r in results}, "set")]
    for result in results:
        parts.append(f"<h2>{html.escape(result.name)}</h2>")
        if result.texts:
            read = [o for o in result.texts if o.text]
            confidence, right = np.array([o.seen.confidence for o in read]), np.array([o.folded for o in read], float)
            plots = [reliability(confidence, right, "calibration"), abstention(result.texts, "abstention")]
            parts.append('<div class="plots">' + "".join(svg(p) for p in plots) + "</div>")
            parts.append(by_condition(result))
        wrong = [o for o in result.plates if o.seen is None or (o.label.text and not o.folded)]
        parts.append(f"<h3>{len(wrong)} plates missed or misread (folded)</h3>" if result.plates else "")
        parts.append('<div class="misses">' + "".join(miss(result, o) for o in wrong) + "</div>")
        parts.append(f"<h3>{len(result.false_texts)} texts where no plate is labelled</h3><div class='misses'>")
        for photo, seen in result.false_texts:
            grey = load(result.folder, photo)
            parts.append(f"<figure>{picture(grey, None, seen)}<figcaption><del>{seen.text}</del> {seen.confidence:.2f}<br>"
                         f"{html.escape(photo[:40])}</figcaption></figure>")
        parts.append("</div>")
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>Evaluation of the models</title><style>{STYLE}</style><h1>Evaluation of the models</h1>" + "".join(parts) + "</html>\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="FOLDER=READS")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results = [outcomes(Path(folder), Path(reads)) for folder, _, reads in (entry.rpartition("=") for entry in options.sets)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(results))
    print(options.out)


if __name__ == "__main__":
    main()
