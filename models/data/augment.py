"""Looks of a roadside camera, applied to grey float images in 0..1: night, lamp, blur, noise, JPEG, H.264."""

from __future__ import annotations

import cv2
import numpy as np

from ..render import optics


def motion_kernel(rng: np.random.Generator, length: int) -> np.ndarray:
    """Line kernel [k, k] of the given length in pixels at a mostly horizontal angle."""
    size = max(3, length | 1)
    kernel = np.zeros((size, size), np.float32)
    angle = rng.normal(0, 0.35) if rng.random() < 0.7 else rng.uniform(0, np.pi)
    half = size / 2 - 0.5
    dx, dy = np.cos(angle) * half, np.sin(angle) * half
    cv2.line(kernel, (round(half - dx), round(half - dy)), (round(half + dx), round(half + dy)), 1.0)
    return kernel / kernel.sum()


def tone(rng: np.random.Generator, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Random gamma, contrast and brightness; image float32 0..1, any shape."""
    gamma = np.exp(rng.normal(0, 0.25 * strength))
    image = np.power(np.clip(image, 0, 1), gamma, dtype=np.float32)
    gain = np.exp(rng.normal(0, 0.2 * strength))
    return (image - 0.5) * np.float32(gain) + np.float32(0.5 + rng.normal(0, 0.08 * strength))


def darken(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Night: little light, crushed blacks."""
    return np.power(np.clip(image, 0, 1), np.float32(rng.uniform(1.0, 1.8))) * np.float32(rng.uniform(0.12, 0.5))


def shade(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A linear light gradient or the hard edge of a shadow across the image [h, w]."""
    height, width = image.shape
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = (xs / width - 0.5) * np.cos(angle) + (ys / height - 0.5) * np.sin(angle)
    if rng.random() < 0.4:
        ramp = np.clip((ramp - rng.uniform(-0.3, 0.3)) * 20, -0.5, 0.5)
    return image * (1 + np.float32(rng.uniform(0.1, 0.8)) * ramp.astype(np.float32))


def noise(rng: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian noise, sometimes coarser than a pixel as after a camera's own denoising."""
    height, width = image.shape
    if rng.random() < 0.3:
        grain = cv2.resize(rng.standard_normal((height // 2 + 1, width // 2 + 1), np.float32), (width, height))
    else:
        grain = rng.standard_normal((height, width), np.float32)
    return image + np.float32(sigma) * grain


def jpeg(rng: np.random.Generator, image: np.ndarray, low: int = 25) -> np.ndarray:
    """Through JPEG at a random quality; image float32 0..1."""
    return optics.jpeg(as_bytes(image), int(rng.integers(low, 90))).astype(np.float32) / 255


def h264(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Through a stream's codec at a random quantiser; image float32 0..1."""
    return optics.h264(rng, as_bytes(image)).astype(np.float32) / 255


def as_bytes(image: np.ndarray) -> np.ndarray:
    """An image of 0..1 as uint8."""
    return np.clip(image * 255, 0, 255).astype(np.uint8)


def scene_look(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The whole chain for a scene; image float32 0..1 [h, w], result clipped to 0..1."""
    if rng.random() < 0.12:
        image = darken(rng, image)
    if rng.random() < 0.8:
        image = tone(rng, image)
    if rng.random() < 0.2:
        image = shade(rng, image)
    kind = rng.random()
    if kind < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    elif kind < 0.33:
        image = cv2.filter2D(image, -1, motion_kernel(rng, int(rng.integers(3, 8))))
    if rng.random() < 0.35:
        image = noise(rng, image, abs(rng.normal(0, 0.03)))
    codec = rng.random()
    if codec < 0.15:
        image = jpeg(rng, image)
    elif codec > 0.9:
        image = h264(rng, image)
    return np.clip(image, 0, 1)
