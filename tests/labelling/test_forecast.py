"""What more labels would bring: the law, its band, and how far it is believed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.stats import t

from featx.config import FORECAST_GAIN, FORECAST_REACH
from featx.labelling.forecast import (
    _EXPONENTS,
    Curve,
    fit_laws,
    forecast_gain,
    measure_curve,
    measure_luck,
)

SIZES = np.array([10, 20, 40, 60, 80])


def make_curve(errors, n_images=400, units=None):
    """Held-out images of which such shares are wrong, the same ones longest."""
    places = (np.arange(n_images) + 0.5) / n_images
    right = np.array([places > error for error in errors], np.float64)
    return Curve(SIZES, right, np.arange(n_images) if units is None else units)


@pytest.mark.parametrize(("scale", "k", "floor"), [(0.8, 9, 0.05), (2.0, 24, 0.0), (0.3, 0, 0.0)])
def test_a_law_is_found_again(scale, k, floor):
    errors = floor + scale * SIZES ** -_EXPONENTS[k]
    found = fit_laws(SIZES, errors[None])
    assert found.scale[0] == pytest.approx(scale)
    assert found.exponent[0] == _EXPONENTS[k]
    assert found.floor[0] == pytest.approx(floor, abs=1e-12)
    assert found.predict(160)[0] == pytest.approx(floor + scale * 160.0 ** -_EXPONENTS[k])


def test_it_is_the_least_squares_of_non_negative_parts():
    errors = np.random.default_rng(0).uniform(0, 1, (30, len(SIZES)))
    found = fit_laws(SIZES, errors)
    root = np.sqrt(np.arange(1, 6) / 15)
    for i, curve in enumerate(errors):
        designs = [np.stack([SIZES**-b, np.ones(5)], axis=1) for b in _EXPONENTS]
        best = min(nnls(root[:, None] * one, root * curve)[1] for one in designs)
        told = found.floor[i] + found.scale[i] * SIZES ** -found.exponent[i]
        assert np.linalg.norm(root * (told - curve)) == pytest.approx(best)


def test_more_labels_never_harm():
    found = fit_laws(SIZES, np.linspace(0.1, 0.3, 5)[None])
    assert found.scale[0] == 0
    assert found.floor[0] == pytest.approx(
        np.average(np.linspace(0.1, 0.3, 5), weights=range(1, 6))
    )


def test_the_gain_has_a_band_that_more_images_make_narrower():
    errors = 0.05 + 2.0 * SIZES ** -_EXPONENTS[18]
    few, many = (forecast_gain(make_curve(errors, n), 80, 40) for n in (100, 4000))
    for one in (*few.rounds, *many.rounds):
        low, high = one.interval
        assert 0 <= low <= one.gain <= high
    assert np.diff(many.rounds[0].interval) < np.diff(few.rounds[0].interval) / 3
    law = fit_laws(SIZES, 1 - make_curve(errors, 4000).accuracies[None])
    for i, one in enumerate(many.rounds, start=1):
        assert one.labels == 80 + 40 * i <= 320
        assert one.gain == pytest.approx(float(law.predict(80)[0] - law.predict(one.labels)[0]))
    assert len(many.rounds) == 6


def test_the_luck_of_the_labels_is_in_the_band():
    flat = make_curve([0.2] * 5)  # of which every law says that more bring nothing
    assert forecast_gain(flat, 80, 40).rounds[0].interval == pytest.approx((0, 0), abs=1e-12)
    found = forecast_gain(replace(flat, luck=0.5, freedom=9), 80, 40)
    for one in found.rounds:
        half = t.ppf(0.975, 9) * np.sqrt(0.5 * (1 / 80 - 1 / one.labels))
        assert one.interval == pytest.approx((-half, half), rel=0.12)
        assert one.gain == 0
    assert found.level == 0.95
    assert found.now == pytest.approx(0.8)
    wide = forecast_gain(replace(flat, luck=100.0), 80, 40)
    assert wide.rounds[0].interval == pytest.approx((-0.8, 0.2))  # nothing beyond 0 and 100 %


def test_luck_by_hand():
    # Of two draws the second label makes both images right, or none: variances of gains are 1/2.
    seen = np.zeros((2, 2, 2))
    seen[0, 1] = 1
    assert measure_luck(np.array([1, 2]), [seen]) == pytest.approx(0.5 / (1 - 1 / 2))
    # One image each: nothing in common, and of two images a mean has half of their variance.
    apart = seen * [1, 0] + seen[::-1] * [0, 1]
    assert measure_luck(np.array([1, 2]), [apart]) == 0


@pytest.mark.parametrize("n_folds", [1, 5])
def test_luck_is_found_again(n_folds):
    """Accuracy is a mean over the labels, drawn from few: the variance is theirs all the same."""
    rng = np.random.default_rng(0)
    sizes, seen = np.array([10, 20, 40]), []
    for _ in range(n_folds):
        values = rng.normal(0, 0.5, 60)
        right = np.empty((600 // n_folds, 3, 400 // n_folds))
        for draw in range(len(right)):
            order = rng.permutation(values)
            for k, size in enumerate(sizes):
                right[draw, k] = rng.random(right.shape[2]) < 0.5 + order[:size].mean()
        seen.append(right)
    # Every image is drawn anew here, so that a mean over 400 has their variance as well.
    images = np.average(2 * 0.25 / 400 / (1 / sizes[:-1] - 1 / sizes[1:]), weights=[1, 2])
    assert measure_luck(sizes, seen) == pytest.approx(0.25 + images, rel=0.25)


def test_images_of_one_group_are_one_observation():
    errors = 0.05 + 2.0 * SIZES ** -_EXPONENTS[18]
    alone = forecast_gain(make_curve(errors), 80, 40)
    rows = np.tile(make_curve(errors).right, 5)
    copied = forecast_gain(Curve(SIZES, rows, np.tile(np.arange(400), 5)), 80, 40)
    for one, other in zip(alone.rounds, copied.rounds, strict=True):
        assert other.gain == pytest.approx(one.gain)
        assert other.interval == pytest.approx(one.interval)


def test_nothing_is_said_beyond_four_times_what_was_measured():
    errors = 0.05 + 2.0 * SIZES ** -_EXPONENTS[18]
    last = forecast_gain(make_curve(errors), 100, FORECAST_REACH * 80 - 100)
    assert last.reach == 320
    assert [one.labels for one in last.rounds] == [320]
    beyond = forecast_gain(make_curve(errors), 100, FORECAST_REACH * 80 - 99)
    assert (beyond.rounds, beyond.enough) == ((), None)
    assert beyond.to_dict()["points"][0]["labels"] == 10


def test_where_labels_stop_to_pay():
    errors = 4.0 * SIZES**-1.0
    found = forecast_gain(make_curve(errors, 4000), 80, 20)
    law = fit_laws(SIZES, 1 - make_curve(errors, 4000).accuracies[None])
    gains = {m: float((law.predict(m) - law.predict(m + 20))[0]) for m in range(80, 301)}
    assert gains[80] > FORECAST_GAIN > gains[300]
    assert found.enough == next(m for m in gains if gains[m] < FORECAST_GAIN)
    flat = forecast_gain(make_curve([0.2] * 5), 80, 20)
    assert (flat.rounds[0].gain, flat.enough) == (0.0, 80)
    assert forecast_gain(make_curve(1.0 * SIZES**-0.1, 4000), 80, 200).enough is None


def test_a_curve_is_measured_on_what_is_held_out():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = (np.where(y, 3.0, -3.0)[:, None] + rng.normal(0, 0.1, (60, 3))).astype(np.float32)
    y[50:] = 1 - y[50:]  # judged alone, and all wrong
    folds = ((np.arange(40), np.arange(40, 60)),)
    curve = measure_curve(X, y, folds, np.arange(60), C=1.0)
    assert curve.sizes.tolist() == [5, 10, 20, 30, 40]
    assert curve.units.tolist() == list(range(40, 60))
    assert curve.accuracies[-1] == 0.5
    assert (curve.right[2, :10] == 1).all()
    assert (curve.right[:, 10:] == 0)[2:].all()
    assert curve.freedom == 9


def test_a_few_labels_are_no_curve():
    X, y = np.eye(12, dtype=np.float32), np.arange(12) % 2
    assert measure_curve(X, y, (), np.arange(12), 1.0) is None
    assert measure_curve(X, y, ((np.arange(6), np.arange(6, 12)),), np.arange(12), 1.0) is None
