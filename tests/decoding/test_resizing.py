"""Resizing by torch, and turning, on arrays."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from featx.decoding.resizing import resize_pixels, resized_size, turn_upright

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("wanted", [(40, 30), (80, 60), (33, 25), (200, 150)])
def test_pixels_are_torchvisions_of_a_tensor(interpolation, wanted):
    found = resize_pixels(NOISE, (80, 60), wanted, interpolation)
    tensor = torch.from_numpy(NOISE).permute(2, 0, 1)
    mode = InterpolationMode(interpolation)
    expected = TF.resize(tensor, wanted[::-1], mode, antialias=True).permute(1, 2, 0).numpy()
    assert np.array_equal(found, expected)


def test_a_fraction_of_a_pixel_at_the_far_edge_counts():
    # A ramp of 8 levels a pixel, 30.25 pixels wide: 31 are there, and the last is a quarter full.
    ramp = np.repeat(np.arange(31, dtype=np.uint8)[None, :, None] * 8, 16, axis=0)
    ramp = np.ascontiguousarray(np.repeat(ramp, 3, axis=2))
    found = resize_pixels(ramp, (30.25, 16), (11, 8), "bilinear")[4, :, 0]
    assert found.shape == (11,)
    # The middle of each new pixel, in old ones: (i + 1/2) * 30.25 / 11 - 1/2, away from the edges.
    middles = 8 * ((np.arange(11) + 0.5) * 30.25 / 11 - 0.5)
    assert np.abs(found[1:-1] - middles[1:-1]).max() <= 1


@pytest.mark.parametrize("size", [(801, 400), (1001, 333), (640, 480), (4000, 3001)])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_reduced_picture_has_the_size_that_is_wanted(size, scale):
    reduced = tuple(one / scale for one in size)
    stored = np.zeros((-(-size[1] // scale), -(-size[0] // scale), 3), np.uint8)
    for short in (3, 16):
        wanted = resized_size(reduced, short)
        assert resize_pixels(stored, reduced, wanted, "bilinear").shape[1::-1] == wanted


def test_every_orientation_of_exif():
    # What has to be done with stored rows and columns, by hand.
    a = np.arange(6).reshape(2, 3)
    turned = {
        1: [[0, 1, 2], [3, 4, 5]],
        2: [[2, 1, 0], [5, 4, 3]],
        3: [[5, 4, 3], [2, 1, 0]],
        4: [[3, 4, 5], [0, 1, 2]],
        5: [[0, 3], [1, 4], [2, 5]],
        6: [[3, 0], [4, 1], [5, 2]],
        7: [[5, 2], [4, 1], [3, 0]],
        8: [[2, 5], [1, 4], [0, 3]],
    }
    for orientation, expected in turned.items():
        assert turn_upright(a, orientation).tolist() == expected
    for nonsense in (0, 9, None, "6", (6,)):
        assert turn_upright(a, nonsense).tolist() == a.tolist()


def test_the_calling_thread_resizes_alone():
    before = torch.get_num_threads()
    large = np.ascontiguousarray(np.tile(NOISE, (10, 10, 1)))
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(resize_pixels(large, (800, 600), (341, 256), "bilinear"))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*made)
