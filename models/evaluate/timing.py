"""Time the ONNX files on one core, as the appliance runs them.

    python -m models.evaluate.timing
"""

from __future__ import annotations

import time

import numpy as np

from .read_photos import Models


def measure(session, name: str, shape: tuple[int, ...], rounds: int = 60) -> tuple[float, float]:
    """Median and best time of a run in milliseconds."""
    x = np.random.default_rng(0).random(shape, np.float32)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        session.run(None, {name: x})
        times.append((time.perf_counter() - start) * 1000)
    return float(np.median(times)), min(times)


def main() -> None:
    """Command line."""
    models = Models()
    for label, session, name, shape in (
        ("detector 640x384", models.detector, "luma", (1, 1, 384, 640)),
        ("detector 640x480", models.detector, "luma", (1, 1, 480, 640)),
        ("aligner, 1 plate", models.aligner, "window", (1, 1, 64, 128)),
        ("reader, 1 plate", models.reader, "plate", (1, 1, 64, 160)),
        ("reader, 4 plates", models.reader, "plate", (4, 1, 64, 160)),
    ):
        median, best = measure(session, name, shape)
        print(f"{label}: median {median:.2f} ms, best {best:.2f} ms")


if __name__ == "__main__":
    main()
