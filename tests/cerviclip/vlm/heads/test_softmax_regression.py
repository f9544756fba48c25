"""Multinomial logistic regression along penalties, against scikit-learn's, run to its end."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cerviclip.vlm.heads.logistic import fit_logistic
from cerviclip.vlm.heads.softmax_regression import fit_path, principal
from dassl.errors import UserError

GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def problem(rows: int, features: int, classes: int, seed: int = 0):
    """Standardised features of unequal sizes that a random linear rule and noise label."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, features)) * np.exp(-np.arange(features) / 8)
    x = mixed @ np.linalg.qr(rng.normal(size=(features, features)))[0]
    x = (x - x.mean(0)) / x.std(0)
    noise = rng.gumbel(size=(rows, classes)) * 3
    y = (x @ rng.normal(size=(features, classes)) + noise).argmax(1)
    y[:classes] = np.arange(classes)
    return x, y


@pytest.mark.parametrize("rows, features, classes", [(40, 60, 3), (300, 24, 5), (60, 20, 2)])
def test_coefficients_are_those_of_scikit_learn_to_1e_4(rows, features, classes):
    x, y = problem(rows, features, classes)
    for c, (weight, bias) in zip(GRID, fit_logistic(x, y, classes, GRID), strict=True):
        model = LogisticRegression(C=c, solver="newton-cg", max_iter=1000, tol=1e-10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rounding ends the last line search
            model.fit(x, y)
        coef, intercept = model.coef_, model.intercept_
        if classes == 2:  # one row: the second class against the first
            coef, intercept = np.concatenate([-coef, coef]) / 2, np.array([-1, 1]) * intercept / 2
        coef, intercept = coef - coef.mean(0), intercept - intercept.mean()
        assert np.abs(weight - coef).max() <= 1e-4 * np.abs(coef).max(), c
        assert np.abs(bias - intercept).max() <= 1e-3 * max(1, np.abs(intercept).max()), c


def test_the_gradient_at_each_end_is_small():
    x, y = problem(50, 80, 4)
    for c, (weight, bias) in zip(GRID, fit_path(x, y, GRID, 100), strict=True):
        logits = x @ weight.T + bias
        probs = np.exp(logits - logits.max(1, keepdims=True))
        probs /= probs.sum(1, keepdims=True)
        gradient = (probs - np.eye(4)[y]).T @ x + weight / c
        assert c * np.linalg.norm(gradient) <= 1.1e-4 * np.linalg.norm(weight)


def test_the_order_of_the_grid_and_what_else_is_in_it_change_little():
    x, y = problem(60, 30, 3)
    whole = dict(zip(GRID, fit_path(x, y, GRID, 100), strict=True))
    for c, (weight, _) in zip(GRID[::-1], fit_path(x, y, GRID[::-1], 100), strict=True):
        assert np.array_equal(weight, whole[c][0])
    ((alone, _),) = fit_path(x, y, [1.0], 100)
    assert np.abs(alone - whole[1.0][0]).max() < 3e-4 * np.abs(alone).max()


def test_principal_axes_keep_the_rows():
    for rows, features in ((5, 9), (9, 5)):
        x = np.random.default_rng(1).normal(size=(rows, features))
        inside, axes = principal(x)
        np.testing.assert_allclose(inside @ axes.T, x, atol=1e-12)
        np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-12)


def test_rows_that_are_all_alike_give_the_classes_shares():
    ((weight, bias),) = fit_path(np.zeros((6, 4)), np.array([0, 0, 0, 1, 1, 2]), [1.0], 50)
    probs = np.exp(bias) / np.exp(bias).sum()
    assert not weight.any()
    np.testing.assert_allclose(probs, [1 / 2, 1 / 3, 1 / 6], atol=1e-9)


def test_too_few_steps_are_told():
    x, y = problem(60, 30, 3)
    with pytest.warns(UserWarning, match="C = 10 has not converged in 2 Newton steps"):
        fit_path(x, y, [10.0], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_path(x, y, [10.0], 50)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    x, y = problem(20, 8, 3)
    x[3, 2] = bad
    with pytest.raises(UserError, match="not finite"):
        fit_path(x, y, [1.0], 50)


@pytest.mark.parametrize("c", [0.0, -1.0, float("nan")])
def test_a_penalty_that_cannot_be_is_refused(c):
    x, y = problem(20, 8, 3)
    with pytest.raises(UserError, match="above 0"):
        fit_path(x, y, [1.0, c], 50)
