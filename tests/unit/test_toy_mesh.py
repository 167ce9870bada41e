"""The toy's mesh: closed, sound tetrahedra, of the right size, with a face."""

import numpy as np

from dexhil_env.sim.toy_mesh import signed_distance, surface, teddy, texture, texture_coordinates, volumes


def test_every_tetrahedron_is_sound():
    points, tets = teddy()
    volume = volumes(points, tets)
    assert volume.min() > 0.1 * 0.02**3 / 6  # no slivers: they make the flex stiff and ugly
    assert volume.max() < 0.02**3
    assert set(np.unique(tets)) == set(range(len(points)))


def test_the_skin_is_closed_and_in_one_piece():
    points, tets = teddy()
    faces = np.sort(surface(tets), axis=1)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [0, 2]]]), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count % 2 == 0).all()
    group = np.arange(len(points))
    for _ in range(len(points)):
        lowest = group[tets].min(axis=1)
        before = group.copy()
        np.minimum.at(group, tets.ravel(), np.repeat(lowest, 4))
        if (group == before).all():
            break
    assert (group == 0).all()


def test_shape_and_size():
    points, tets = teddy()
    size = np.ptp(points, axis=0)
    np.testing.assert_allclose(size, [0.24, 0.18, 0.07], atol=0.012)
    skin = np.unique(surface(tets))
    assert np.median(np.abs(signed_distance(points[skin]))) < 0.001
    assert signed_distance(np.array([[0.0, 0.0, 0.0], [0.068, 0.0, 0.0], [0.02, 0.2, 0.0]]))[:2].max() < -0.02
    assert signed_distance(np.array([[0.02, 0.2, 0.0]]))[0] > 0.02
    assert len(points) < 420  # collision cost grows with the skin


def test_finer_meshes_have_more_vertices_and_the_same_volume():
    coarse, fine = teddy(0.022), teddy(0.016)
    assert len(fine[0]) > 1.3 * len(coarse[0])
    assert abs(volumes(*fine).sum() / volumes(*coarse).sum() - 1) < 0.15


def test_the_face_is_painted_on_the_head():
    image = texture(256)
    points = np.array([[0.080, 0.019, 0.03], [0.080, -0.019, 0.03], [-0.014, 0.0, 0.03], [0.02, 0.07, 0.0]])
    spots = texture_coordinates(points)
    assert spots.min() >= 0
    assert spots.max() <= 1
    colours = [image[int(v * 255), int(u * 255)].astype(int) for u, v in spots]
    assert colours[0].max() < 60
    assert colours[1].max() < 60
    assert colours[2][2] > colours[3][2] + 60  # a cream belly, a yellow arm
    assert colours[3][0] > 200
    assert colours[3][2] < 120
