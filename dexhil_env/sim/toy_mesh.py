"""A tetrahedral mesh of a teddy-like toy, made from blended ellipsoids; no asset file needed.

Recipe: a signed distance of smoothly joined ellipsoids, a cube grid around it, five tetrahedra per cube (alternating, so that faces
match), and the boundary vertices pulled onto the surface.
"""

import itertools
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dexhil_env.types import F64

I32 = NDArray[np.int32]

PARTS: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = (
    ((-0.012, 0.0, 0.0), (0.062, 0.044, 0.036)),  # body
    ((0.070, 0.0, 0.0), (0.040, 0.040, 0.034)),  # head
    ((0.098, 0.033, 0.0), (0.018, 0.018, 0.018)),  # ears
    ((0.098, -0.033, 0.0), (0.018, 0.018, 0.018)),
    ((0.022, 0.056, 0.0), (0.022, 0.027, 0.020)),  # arms
    ((0.022, -0.056, 0.0), (0.022, 0.027, 0.020)),
    ((-0.078, 0.032, 0.0), (0.032, 0.021, 0.022)),  # legs
    ((-0.078, -0.032, 0.0), (0.032, 0.021, 0.022)),
)
"""(centre, radii) of the ellipsoids [m]; x points to the head, the toy lies on its back along x-y."""
BLEND_M = 0.008
_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))
_EVEN = ((0, 1, 2, 4), (1, 2, 3, 7), (1, 4, 5, 7), (2, 4, 6, 7), (1, 2, 4, 7))
_ODD = ((0, 1, 3, 5), (0, 2, 3, 6), (0, 4, 5, 6), (3, 5, 6, 7), (0, 3, 5, 6))


def signed_distance(points: F64) -> F64:
    """Approximate distance (N,) of points (N, 3) to the toy's surface [m], negative inside."""
    distances = np.stack([(np.linalg.norm((points - centre) / radii, axis=1) - 1.0) * min(radii) for centre, radii in PARTS])
    weights = np.exp(-distances / BLEND_M)
    return -BLEND_M * np.log(weights.sum(axis=0))


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
    return faces[first[count == 1]]


@cache
def teddy(spacing_m: float = 0.020) -> tuple[F64, I32]:
    """Return vertices (V, 3) [m] around the toy's centre and tetrahedra (T, 4).

    Args:
        spacing_m: edge of the grid's cubes; 20 mm gives about 300 vertices.
    """
    reach = np.array([0.12, 0.10, 0.05])
    counts = np.ceil(2 * reach / spacing_m).astype(int)
    origin = -0.5 * counts * spacing_m
    cells = np.array(list(np.ndindex(*counts)))
    inside = signed_distance(origin + (cells + 0.5) * spacing_m) < 0.25 * spacing_m
    corners = cells[inside][:, None] + _CORNERS
    numbers, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    cubes = index.reshape(-1, 8)
    parity = cells[inside].sum(axis=1) % 2
    tets = np.concatenate([cubes[parity == side][:, list(tet)] for side, split in ((0, _EVEN), (1, _ODD)) for tet in split])
    points = _snap(origin + numbers * spacing_m, np.unique(surface(tets)), spacing_m)
    tets = _oriented(points, tets)
    tets = tets[volumes(points, tets) > 0.02 * spacing_m**3 / 6.0]
    used, tets = np.unique(tets, return_inverse=True)
    return points[used], tets.reshape(-1, 4).astype(np.int32)


def _snap(points: F64, boundary: NDArray[np.int64], spacing_m: float) -> F64:
    """Pull boundary vertices onto the surface, by at most a good third of a cube."""
    points = points.copy()
    for _ in range(4):
        here = points[boundary]
        distance = signed_distance(here)
        step = 1e-4
        gradient = np.stack([signed_distance(here + step * axis) - distance for axis in np.eye(3)], axis=1) / step
        gradient /= np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-9)
        points[boundary] -= np.clip(distance, -0.2 * spacing_m, 0.2 * spacing_m)[:, None] * gradient
    return points
