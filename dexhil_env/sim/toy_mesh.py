"""A tetrahedral mesh of a teddy-like toy, made from blended ellipsoids; no asset file needed.

Recipe: a signed distance of smoothly joined ellipsoids, a cube grid around it, five tetrahedra per cube (alternating, so that faces
match), and the boundary vertices pulled onto the surface.
"""

import itertools
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dexhil_env.types import F64, U8

I32 = NDArray[np.int32]

PARTS: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = (
    ((-0.018, 0.0, 0.0), (0.060, 0.039, 0.035)),  # body
    ((0.068, 0.0, 0.0), (0.041, 0.044, 0.036)),  # head
    ((0.098, 0.041, 0.0), (0.019, 0.018, 0.018)),  # ears
    ((0.098, -0.041, 0.0), (0.019, 0.018, 0.018)),
    ((0.016, 0.057, 0.0), (0.019, 0.030, 0.019)),  # arms
    ((0.016, -0.057, 0.0), (0.019, 0.030, 0.019)),
    ((-0.084, 0.034, 0.0), (0.036, 0.021, 0.021)),  # legs
    ((-0.084, -0.034, 0.0), (0.036, 0.021, 0.021)),
)
"""(centre, radii) of the ellipsoids [m]; x points to the head, the toy lies on its back along x-y."""
BLEND_M = 0.006
_YELLOW, _CREAM, _DARK = (0.97, 0.76, 0.12), (0.97, 0.86, 0.55), (0.10, 0.06, 0.05)
_PATCHES = (
    ((-0.014, 0.0), (0.036, 0.029), _CREAM),  # belly
    ((0.103, 0.044), (0.010, 0.010), _CREAM),  # ears
    ((-0.108, 0.038), (0.011, 0.013), _CREAM),  # soles
    ((0.056, 0.0), (0.017, 0.021), _CREAM),  # muzzle
    ((0.080, 0.019), (0.0065, 0.006), _DARK),  # eyes
    ((0.063, 0.0), (0.006, 0.008), _DARK),  # nose
    ((0.052, 0.0), (0.007, 0.0015), _DARK),  # mouth
)
"""(centre, radii, colour) of painted ellipses in the toy's x-y plane [m]; those off the middle line come in pairs."""
_REACH_M = np.array([0.13, 0.10, 0.05])
_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))
_EVEN = ((0, 1, 2, 4), (1, 2, 3, 7), (1, 4, 5, 7), (2, 4, 6, 7), (1, 2, 4, 7))
_ODD = ((0, 1, 3, 5), (0, 2, 3, 6), (0, 4, 5, 6), (3, 5, 6, 7), (0, 3, 5, 6))


def signed_distance(points: F64) -> F64:
    """Approximate distance (N,) of points (N, 3) to the toy's surface [m], negative inside."""
    distances = np.stack([(np.linalg.norm((points - centre) / radii, axis=1) - 1.0) * min(radii) for centre, radii in PARTS])
    weights = np.exp(-distances / BLEND_M)
    return -BLEND_M * np.log(weights.sum(axis=0))


def texture_coordinates(points: F64) -> F64:
    """Where the vertices (V, 3) lie on :func:`texture` (V, 2): straight from above, both sides alike."""
    return np.clip(0.5 + points[:, :2] / (2 * _REACH_M[:2]), 0.0, 1.0)


def texture(size: int = 128) -> U8:
    """Paint the toy, (size, size, 3): yellow plush, cream belly and muzzle, dark eyes and nose. Rows run along y, columns along x."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = axis[None, :] * _REACH_M[0], axis[:, None] * _REACH_M[1]
    image = np.full((size, size, 3), _YELLOW)
    image *= 1.0 + np.random.default_rng(0).normal(0.0, 0.02, (size, size, 1))
    for (cx, cy), (rx, ry), colour in _PATCHES:
        for side in (1, -1) if cy else (1,):
            image[((x - cx) / rx) ** 2 + ((y - side * cy) / ry) ** 2 < 1.0] = colour
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def _oriented(points: F64, tets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order the corners so that every tetrahedron has a positive volume."""
    flipped = volumes(points, tets) < 0
    tets[flipped, 2], tets[flipped, 3] = tets[flipped, 3], tets[flipped, 2].copy()
    return tets


def volumes(points: F64, tets: NDArray[np.integer]) -> F64:
    """Signed volume (T,) of tetrahedra (T, 4) [m^3]."""
    a, b, c, d = (points[tets[:, i]] for i in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6.0


def surface(tets: NDArray[np.integer]) -> NDArray[np.int64]:
    """Triangles (F, 3) that belong to exactly one tetrahedron."""
    faces = np.concatenate([tets[:, list(skip)] for skip in itertools.combinations(range(4), 3)])
    ordered = np.sort(faces, axis=1)
    _, first, count = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    return faces[first[count == 1]].astype(np.int64)


@cache
def teddy(spacing_m: float = 0.020) -> tuple[F64, I32]:
    """Return vertices (V, 3) [m] around the toy's centre and tetrahedra (T, 4).

    Args:
        spacing_m: edge of the grid's cubes; 20 mm gives about 300 vertices.
    """
    counts = np.ceil(2 * _REACH_M / spacing_m).astype(int)
    origin = -0.5 * counts * spacing_m
    cells = np.array(list(np.ndindex(*counts)))
    inside = signed_distance(origin + (cells + 0.5) * spacing_m) < 0.25 * spacing_m
    corners = cells[inside][:, None] + _CORNERS
    numbers, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    cubes = index.reshape(-1, 8)
    parity = cells[inside].sum(axis=1) % 2
    tets = np.concatenate([cubes[parity == side][:, list(tet)] for side, split in ((0, _EVEN), (1, _ODD)) for tet in split])
    grid = origin + numbers * spacing_m
    tets = _oriented(grid, tets)
    return _snapped(grid, tets, spacing_m), tets.astype(np.int32)


def _snapped(grid: F64, tets: NDArray[np.int64], spacing_m: float) -> F64:
    """Pull boundary vertices onto the surface, each only so far that no tetrahedron around it gets flat."""
    boundary = np.unique(surface(tets))
    shift = np.zeros_like(grid)
    shift[boundary] = _to_surface(grid[boundary], 0.75 * spacing_m) - grid[boundary]
    least = 0.12 * spacing_m**3 / 6.0
    for _ in range(40):
        flat = volumes(grid + shift, tets) < least
        if not flat.any():
            break
        shift[np.unique(tets[flat])] *= 0.85
    return grid + shift


def _to_surface(points: F64, limit_m: float) -> F64:
    """Move points (N, 3) along the gradient of the distance until they lie on the surface, by at most ``limit_m`` [m]."""
    start, step = points, 1e-4
    for _ in range(6):
        distance = signed_distance(points)
        gradient = np.stack([signed_distance(points + step * axis) - distance for axis in np.eye(3)], axis=1) / step
        points = points - (distance / np.maximum(np.einsum("ij,ij->i", gradient, gradient), 1e-6))[:, None] * gradient
        away = points - start
        length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)
        points = start + away * np.minimum(1.0, limit_m / length)
    return points
