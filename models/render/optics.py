"""What light, lens, sensor and codec do to a picture. Everything works on uint8 images."""
from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np

_NOISE_SIDE = 1024
_noise: np.ndarray | None = None


def noise_tile() -> np.ndarray:
    """One tile of normal noise, float32 1024 x 1024, sigma 1: drawing it afresh is slow."""
    global _noise
    if _noise is None:
        _noise = np.random.default_rng(7).standard_normal((_NOISE_SIDE, _NOISE_SIDE)).astype(np.float32)
    return _noise


def add_noise(rng: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Sensor noise of sigma grey levels (half as much again in the light: shot noise)."""
    if sigma <= 0.2:
        return image
    h, w = image.shape[:2]
    tile = noise_tile()
    if h > _NOISE_SIDE or w > _NOISE_SIDE:
        tile = np.tile(tile, (h // _NOISE_SIDE + 2, w // _NOISE_SIDE + 2))
    y, x = int(rng.integers(tile.shape[0] - h + 1)), int(rng.integers(tile.shape[1] - w + 1))
    grain = tile[y:y + h, x:x + w] * sigma
    if rng.random() < 0.5:
        grain = grain[::-1, ::-1]
    if image.ndim == 3:
        grain = cv2.merge([np.ascontiguousarray(grain)] * image.shape[2])
    return cv2.convertScaleAbs(np.maximum(cv2.add(image, grain, dtype=cv2.CV_32F), 0))


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """Kernel of a straight smear: length in px, angle in radians."""
    n = int(np.ceil(length)) | 1
    n = max(n, 3)
    kernel = np.zeros((n * 4 + 1, n * 4 + 1), np.float32)  # drawn 4 times as large, then shrunk
    c = n * 2
    d = np.array([np.cos(angle), np.sin(angle)]) * length * 2
    cv2.line(kernel, (int(c - d[0]), int(c - d[1])), (int(c + d[0]), int(c + d[1])), 1.0, 4, cv2.LINE_AA)
    kernel = cv2.resize(kernel, (n, n), interpolation=cv2.INTER_AREA)
    return kernel / kernel.sum()


def smear(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Motion blur of length px."""
    if length < 1.2:
        return image
    return cv2.filter2D(image, -1, motion_kernel(length, angle), borderType=cv2.BORDER_REPLICATE)


def defocus(image: np.ndarray, sigma: float) -> np.ndarray:
    return image if sigma < 0.25 else cv2.GaussianBlur(image, (0, 0), sigma)


def tone(image: np.ndarray, gain: float, offset: float, gamma: float) -> np.ndarray:
    """out = 255 * (in * gain + offset)^gamma, clipped: exposure, haze and camera curve."""
    x = np.clip(np.arange(256) / 255.0 * gain + offset, 0, 1) ** gamma
    return cv2.LUT(image, np.round(x * 255).astype(np.uint8))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR)


def h264(rng: np.random.Generator, luma: np.ndarray) -> np.ndarray:
    """Through x264 as the last of one to three frames over which what is seen moved, each with noise of its own; uint8 h x w in and out.

    The quantiser is 24 to 38: from what a camera sends at night to what is left of a plate at a low bit rate.
    """
    h, w = luma.shape
    tall, wide = h + h % 2, w + w % 2
    coder, decoder = av.CodecContext.create("libx264", "w"), av.CodecContext.create("h264", "r")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = wide, tall, "yuv420p", Fraction(1, 30)
    coder.options = {"preset": "veryfast", "tune": "zerolatency", "threads": "1", "qp": str(rng.integers(24, 39))}
    packets, way = [], rng.normal(0, 8, 2)
    for before in range(int(rng.integers(3)), -1, -1):
        matrix = np.array([[1, 0, -before * way[0]], [0, 1, -before * way[1]]])
        seen = cv2.warpAffine(luma, matrix, (wide, tall), borderMode=cv2.BORDER_REPLICATE)
        planes = np.full((tall * 3 // 2, wide), 128, np.uint8)
        planes[:tall] = add_noise(rng, seen, rng.uniform(0.5, 5)) if before else seen
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts = 2 - before
        packets += coder.encode(frame)
    frames = [frame for packet in [*packets, *coder.encode(None), None] for frame in decoder.decode(packet)]
    return frames[-1].to_ndarray()[:h, :w]


def bloom(image: np.ndarray, lights: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Add lamps with halo: (x, y, radius px, peak 0-255+). One or three channels."""
    h, w = image.shape[:2]
    small = max(1, min(4, w // 160))
    glow = np.zeros((h // small + 1, w // small + 1), np.float32)
    for x, y, r, peak in lights:
        yy = (np.arange(glow.shape[0], dtype=np.float32) - y / small)[:, None]
        xx = (np.arange(glow.shape[1], dtype=np.float32) - x / small)[None]
        d2 = (xx * xx + yy * yy) * (small / max(r, 1.0)) ** 2
        glow += peak * (np.exp(-d2 * 0.8) + 0.22 / (1.0 + d2 * 0.35) ** 1.3)
    glow = cv2.resize(glow, (glow.shape[1] * small, glow.shape[0] * small))[:h, :w]
    if image.ndim == 3:
        glow = cv2.merge([glow * 1.0, glow * 0.97, glow * 0.92])
    return cv2.convertScaleAbs(cv2.add(image, glow, dtype=cv2.CV_32F))


def shade(rng: np.random.Generator, image: np.ndarray, depth: float) -> np.ndarray:
    """A hard or soft shadow edge across the picture; depth 0 (none) to 1 (black)."""
    h, w = image.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    a, b = rng.uniform(-0.2, 1.2, 2) * w
    side = 0 if rng.random() < 0.5 else w
    if rng.random() < 0.5:
        pts = [[a, 0], [b, h], [side, h], [side, 0]]
    else:
        c, d = rng.uniform(-0.2, 1.2, 2) * h
        edge = 0 if rng.random() < 0.5 else h
        pts = [[0, c], [w, d], [w, edge], [0, edge]]
    cv2.fillPoly(mask, [np.array(pts, np.int32)], 255)
    soft = rng.uniform(0.5, max(1.0, w * 0.02))
    mask = cv2.blur(mask, (int(soft) * 2 + 1, int(soft) * 2 + 1))
    factor = cv2.convertScaleAbs(mask, alpha=-depth, beta=255)
    if image.ndim == 3:
        factor = cv2.merge([factor] * 3)
    return cv2.multiply(image, factor, scale=1 / 255.0)


def rain(rng: np.random.Generator, image: np.ndarray, n: int) -> np.ndarray:
    """Bright slanted streaks."""
    h, w = image.shape[:2]
    layer = np.zeros((h, w), np.uint8)
    slant = rng.uniform(-0.3, 0.3)
    for _ in range(n):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        length = rng.uniform(0.02, 0.09) * h
        cv2.line(layer, (int(x), int(y)), (int(x + slant * length), int(y + length)),
                 int(rng.uniform(20, 90)), 1, cv2.LINE_AA)
    layer = cv2.blur(layer, (2, 3))
    return cv2.add(image, cv2.merge([layer] * 3) if image.ndim == 3 else layer)
