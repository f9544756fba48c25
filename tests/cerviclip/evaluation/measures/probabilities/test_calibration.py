"""Against scikit-learn's calibration curve and isotonic map, and statsmodels' regressions."""

import numpy as np
import pytest
import statsmodels.api as sm
from measures_fixtures import binary_sample, make_sample
from scipy.special import expit, logit, softmax
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from cerviclip.evaluation.bootstrap import MIN_PATIENTS
from cerviclip.evaluation.measures import (
    Home,
    Isotonic,
    Sample,
    Settings,
    Temperature,
    binary_calibration,
    calibration,
    net_benefit,
    reliability,
)
from cerviclip.evaluation.measures.probabilities.calibration import (
    ONE_PATIENT,
    SEPARATED,
    _regression,
    logistic,
)
from cerviclip.evaluation.measures.probabilities.losses import (
    classwise_ece,
    loss_cells,
    top_label_ece,
)
from cerviclip.evaluation.measures.sample import FEW_PATIENTS


@pytest.fixture(scope="module")
def overconfident():
    """Log odds twice as far out as they should be, and half a unit too high; 80 patients."""
    rng = np.random.default_rng(5)
    true = rng.normal(0, 1.5, 800)
    outcome = rng.random(800) < expit(true)
    return binary_sample(expit(2 * true + 0.5), outcome, np.repeat(np.arange(80), 10))


def test_intercept_and_slope_are_statsmodels(overconfident):
    sample = overconfident
    x = logit(sample.score)
    family = sm.families.Binomial()
    outcome = sample.is_positive.astype(float)
    slope = sm.GLM(outcome, sm.add_constant(x), family=family).fit()
    beta, covariance = logistic(np.column_stack([np.ones(len(x)), x]), outcome, sample.patients)
    assert beta == pytest.approx(slope.params, rel=1e-6)
    by_patient = {"groups": sample.patients, "use_correction": True}
    robust = slope.model.fit(cov_type="cluster", cov_kwds=by_patient).bse  # 80 patients: nearly it
    assert np.sqrt(np.diag(covariance)) == pytest.approx(robust, rel=0.05)
    level = sm.GLM(outcome, np.ones((len(x), 1)), family=family, offset=x).fit()
    found = binary_calibration(sample, sample.score)
    assert found["intercept"]["value"] == pytest.approx(level.params[0], rel=1e-6)
    assert found["slope"]["value"] == pytest.approx(slope.params[1], rel=1e-6)
    assert found["slope"]["low"] < 0.5 < found["slope"]["high"]  # the truth of this sample


def test_errors_are_those_of_leaving_out_one_patient_after_the_other():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(9), 4)
    x = np.column_stack([np.ones(36), rng.normal(size=36)])
    outcome = (rng.random(36) < expit(x[:, 1])).astype(float)
    beta, covariance = logistic(x, outcome, patients)
    moves = []
    for one in range(9):
        rest = patients != one
        p = expit(x[rest] @ beta)
        bread = x[rest].T @ (x[rest] * (p * (1 - p))[:, None])
        moves.append(np.linalg.solve(bread, x[rest].T @ (outcome[rest] - p)))
    assert covariance == pytest.approx(np.transpose(moves) @ moves * 8 / 9)


def test_slopes_interval_holds_the_truth_with_few_patients():
    """Eight patients with the event, alike images: the sandwich with Student's t of all patients
    holds 0.82."""
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(48), 3)
        outcome = patients < 8
        finding = np.sqrt(0.8) * rng.normal(size=48)[patients] + np.sqrt(0.2) * rng.normal(size=144)
        score = expit(3 * (finding + 3 * outcome - 1.5) + np.log(8 / 40))  # calibrated: slope 1
        sample = binary_sample(score, outcome, patients)
        slope = _regression(sample, score)["slope"]
        if slope["low"] is not None:
            held.append(slope["low"] <= 1 <= slope["high"])
    assert len(held) > 250
    assert np.mean(held) >= 0.91


def test_regressors_that_cannot_be_told_apart_have_no_coefficients():
    """Two that are alike, and one that is zero throughout."""
    outcome, patients = np.array([0.0, 1, 0, 1, 1, 0]), np.arange(6)
    for x in (np.ones((6, 2)), np.zeros((6, 1))):
        beta, covariance = logistic(x, outcome, patients)
        assert beta.shape == x.shape[1:] and covariance.shape == 2 * x.shape[1:]
        assert np.isnan(beta).all() and np.isnan(covariance).all()


def test_probabilities_of_exactly_0_and_1_are_calibrated_as_any_others():
    score = np.array([0.0, 0.2, 0.4, 0.6, 1.0, 0.0, 0.3, 0.7, 0.9, 1.0])
    sample = binary_sample(score, [0, 0, 1, 0, 1, 1, 0, 1, 1, 0])
    found = binary_calibration(sample, sample.score)
    for name in ("intercept", "slope"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_what_is_missing_for_a_number_is_its_reason():
    one_kind = binary_sample([0.2, 0.4, 0.6], [0, 0, 0])
    found = binary_calibration(one_kind, one_kind.score)
    for name in ("intercept", "slope"):
        assert found[name]["value"] is None and found[name]["reason"] == "no positive image here"
    never = binary_sample([0.0] * 4, [0, 0, 1, 1])
    found = binary_calibration(never, never.score)["observed_expected"]
    assert found["value"] is None and found["reason"] == "no positive is foretold"


@pytest.mark.parametrize("count", [MIN_PATIENTS - 1, MIN_PATIENTS])
def test_intervals_of_losses_start_at_the_fewest_patients(count):
    sample = make_sample(patients=count, images=6, skill=0.5)
    found = loss_cells(sample.labels, sample.probs, sample.patients)
    for cell in found.values():
        assert (cell["low"] is not None) == (count >= MIN_PATIENTS)
        assert cell.get("reason", FEW_PATIENTS) == FEW_PATIENTS


def test_one_patient_that_holds_the_slope_leaves_no_interval():
    score = np.array([0.2, 0.2, 0.7, 0.7, 0.4, 0.4, 0.4, 0.4])
    outcome = np.array([False, True, True, True, True, False, False, True])
    sample = binary_sample(score, outcome, np.array([0, 0, 0, 0, 1, 1, 2, 2]))
    assert binary_calibration(sample, score)["slope"]["reason"] == ONE_PATIENT


def test_losses_and_curve_are_scikit_learns(overconfident):
    sample = overconfident
    found = binary_calibration(sample, sample.score)
    truth = sample.is_positive
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(truth, sample.score))
    assert found["log_loss"]["value"] == pytest.approx(log_loss(truth, sample.score))
    assert found["observed_expected"]["value"] == pytest.approx(truth.mean() / sample.score.mean())
    observed, predicted = calibration_curve(truth, sample.score, n_bins=10)
    assert found["reliability"]["observed"] == pytest.approx(observed)
    assert found["reliability"]["predicted"] == pytest.approx(predicted)
    assert sum(found["reliability"]["images"]) == len(sample)
    bounds = zip(*(found["reliability"][key] for key in ("low", "observed", "high")), strict=True)
    assert all(low <= value <= high and low < high for low, value, high in bounds)
    for name in ("brier", "log_loss", "ece", "observed_expected", "intercept"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_calibration_errors_are_their_definitions():
    sample = make_sample(seed=1)
    confidence, right = sample.probs.max(axis=1), sample.predicted == sample.labels

    def by_hand(p, y):
        bins = np.minimum((p * 15).astype(int), 14)
        gaps = [abs((y - p)[bins == k].sum()) for k in range(15)]
        return sum(gaps) / len(p)

    top = by_hand(confidence, right)
    assert top_label_ece(sample)["value"] == pytest.approx(top)
    each = [by_hand(sample.probs[:, c], sample.labels == c) for c in range(4)]
    assert classwise_ece(sample)["value"] == pytest.approx(np.mean(each))


def test_temperature_is_found_again_and_repairs_abroad_too():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (6000, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    ids = [str(i) for i in range(3000)]

    def sample(name, rows):
        probs = softmax(3 * logits[rows], axis=1)  # three times too sure
        return Sample.of(name, labels[rows], probs, ids, ("a", "b", "c"), ("c",))

    val, test = sample("val", slice(3000)), sample("test", slice(3000, 6000))
    home = Home.fit(val, Settings())
    assert home.temperature.value == pytest.approx(3, rel=0.08) and not home.temperature.at_limit
    entry = calibration(test, home)
    before, after = (entry[key]["classes"] for key in ("before", "temperature"))
    for name in ("brier", "log_loss", "ece", "classwise_ece"):
        assert after[name]["value"] < before[name]["value"], name
    binary = [entry[key]["binary"]["ece"]["value"] for key in ("before", "temperature", "isotonic")]
    assert max(binary[1:]) < binary[0]
    mended = home.temperature.apply(test.probs)
    assert mended.sum(axis=1) == pytest.approx(1)
    assert (mended.argmax(axis=1) == test.predicted).all()  # no predicted class changes


def test_a_temperature_that_runs_away_says_so():
    sure = binary_sample([0.4] * 10 + [0.6] * 10, [0] * 10 + [1] * 10)
    assert Temperature.fit(sure).at_limit


def test_isotonic_is_scikit_learns_within_its_bounds(overconfident):
    sample = overconfident
    theirs = IsotonicRegression(out_of_bounds="clip").fit(sample.score, sample.is_positive)
    expected = np.clip(theirs.predict(sample.score), 1 / 1600, 1 - 1 / 1600)
    fitted = Isotonic.fit(sample)
    assert fitted.apply(sample.score) == pytest.approx(expected)
    again = Isotonic.from_json(fitted.to_json())
    assert (again.apply(np.linspace(0, 1, 9)) == fitted.apply(np.linspace(0, 1, 9))).all()


def test_a_separated_sample_has_no_slope_but_a_reason():
    found = binary_calibration(sample := binary_sample([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]),
                               sample.score)  # fmt: skip
    assert found["slope"] == {"value": None, "low": None, "high": None, "reason": SEPARATED}
    flat = binary_sample([0.3] * 6, [0, 1] * 3)
    assert "equal" in binary_calibration(flat, flat.score)["slope"]["reason"]


def test_few_patients_have_no_interval_but_a_reason():
    sample = binary_sample([0.1, 0.6, 0.4, 0.9], [0, 0, 1, 1], [0, 0, 1, 1])
    found = binary_calibration(sample, sample.score)
    for name in ("brier", "log_loss", "ece", "observed_expected", "slope", "intercept"):
        assert found[name]["low"] is None and "at least 3 patients" in found[name]["reason"], name
    assert reliability(sample, sample.score)["low"] == [None] * 4


def test_net_benefit_is_vickers_and_elkins_definition():
    """Net benefit = TP / n - FP / n * t / (1 - t); for all, n are called positive."""
    sample = make_sample(seed=2, skill=1.0)
    score, truth, n = sample.score, sample.is_positive, len(sample)
    curve = binary_calibration(sample, score)["decision_curve"]
    for t, model, everybody in zip(curve["threshold"], curve["model"], curve["all"], strict=True):
        said = score >= t
        by_hand = (said & truth).sum() / n - (said & ~truth).sum() / n * t / (1 - t)
        assert model == pytest.approx(by_hand, abs=1e-6)
        share = truth.mean()
        assert everybody == pytest.approx(share - (1 - share) * t / (1 - t), abs=1e-6)
    assert len(curve["threshold"]) == 99
    # A published worked example (Vickers, Van Calster, Steyerberg 2016, BMJ 352:i6): at a threshold
    # of 10 %, 1000 patients, 65 true and 225 false alarms have a net benefit of 0.040.
    made = np.r_[np.full(65, 0.5), np.full(225, 0.5), np.full(710, 0.01)]
    positive = np.r_[np.ones(65, bool), np.zeros(935, bool)]
    assert net_benefit(made, positive, np.array([0.1]))[0] == pytest.approx(0.040, abs=5e-4)
