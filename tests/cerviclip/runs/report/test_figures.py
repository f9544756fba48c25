"""Figures show the numbers they are given, and a template serves run after run."""

import numpy as np
import pytest
from PIL import Image

from cerviclip.runs.report.curves import save_pooled_confusion, shots_figure, side_by_side
from cerviclip.runs.report.figures import (
    ConfusionTemplate,
    filled,
    headline,
    render_history,
    run_figures,
    short_name,
    with_same_classes,
)
from cerviclip.runs.report.groups import group_runs

CLASSES = ["cancer", "high-grade_squamous_intraepithelial_lesion", "mild_inflammation"]


def center(matrix):
    counts = np.array(matrix)
    accuracy = 100 * np.trace(counts) / max(counts.sum(), 1)
    value = {"value": accuracy if counts.sum() else None, "low": None, "high": None}
    return {
        "n_images": int(counts.sum()), "accuracy": value, "per_class": dict.fromkeys(CLASSES, {}),
        "confusion_matrix": counts.tolist(),
    }  # fmt: skip


GOOD = center([[9, 0, 0], [0, 8, 0], [0, 0, 7]])
POOR = center([[0, 9, 0], [8, 0, 0], [0, 0, 0]])
NONE = center([[0, 0, 0]] * 3)


def test_template_draws_each_run_anew(tmp_path):
    pixels = []
    for i, entry in enumerate((GOOD, POOR, GOOD)):
        folder = tmp_path / str(i)
        folder.mkdir()
        run_figures(folder, {"test": entry, "Far": GOOD}, [], "a run")
        pixels.append(np.asarray(Image.open(folder / "confusion.png")))
    np.testing.assert_array_equal(pixels[0], pixels[2])
    assert (pixels[0] != pixels[1]).any()


def test_dark_cells_are_where_the_counts_are():
    template = ConfusionTemplate(["test"], CLASSES)
    image = template.render([np.array(GOOD["confusion_matrix"])], ["test"], "t")
    axes = template.images[0].axes
    height = image.shape[0]
    for r in range(3):
        for c in range(3):
            x, y = axes.transData.transform((c - 0.4, r - 0.4))
            red = int(image[int(height - y), int(x), 0])
            assert (red < 120) == (r == c), (r, c, red)


def test_missing_class_is_grey_not_white():
    template = ConfusionTemplate(["test"], CLASSES)
    template.fill([np.array(POOR["confusion_matrix"])], ["test"], "t")
    colours = np.asarray(template.images[0].get_array())
    assert np.allclose(colours[2], 0xEE / 255)
    assert not np.allclose(colours[0], 0xEE / 255)


def test_center_without_images_is_left_out(tmp_path):
    run_figures(tmp_path, {"test": NONE}, [], "a run")
    assert list(tmp_path.iterdir()) == []
    run_figures(tmp_path, {"test": GOOD, "Far": NONE}, [], "a run")
    assert [p.name for p in tmp_path.iterdir()] == ["confusion.png"]


def test_history_needs_two_points_and_shows_val(tmp_path):
    row = {"epoch": 1, "loss": 1.0, "lr": 0.1}
    run_figures(tmp_path, {"test": GOOD}, [row], "a run")
    assert not (tmp_path / "history.png").exists()
    run_figures(tmp_path, {"test": GOOD}, [row, row | {"epoch": 2, "loss": 0.5}], "a run")
    assert (tmp_path / "history.png").is_file()
    plain = render_history([row, row], "t")
    val = render_history([row | {"val_accuracy": 50.0}, row | {"val_accuracy": 60.0}], "t")
    assert (plain != val).any()


@pytest.mark.parametrize(
    "name, shown",
    [(CLASSES[1], "HSIL"), (CLASSES[2], "mild inflammation"), ("x" * 30, "x" * 17 + "…")],
)
def test_short_names(name, shown):
    assert short_name(name) == shown


def make_runs():
    def one(trainer, shots, seed, entry):
        return {
            "status": "done", "dataset": "PhantomOCT", "trainer": trainer, "backbone": "b",
            "variant": "default", "shots": shots, "fold": "", "seed": seed,
            "test_read_early": False,
            "centers": {"test": entry, "Far": entry},
        }  # fmt: skip

    runs = [one("CoOp", k, s, POOR if k == 1 else GOOD) for k in (1, 4, "full") for s in (1, 2)]
    return [*runs, one("ZeroShotCLIP", 0, 0, POOR)]


def test_curves_have_a_panel_per_center_and_a_line_per_method():
    figure = shots_figure(group_runs(make_runs()), "accuracy")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["test", "Far"]
    lines = {line.get_label(): line for line in panels[0].lines}
    assert set(lines) == {"CoOp", "ZeroShotCLIP"}
    assert list(lines["CoOp"].get_ydata()) == [0, 100, 100]
    assert lines["ZeroShotCLIP"].get_linestyle() == "--"
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["1", "4", "full"]
    assert "phantom data" in figure._suptitle.get_text()


def test_long_names_of_methods_stand_beside_the_panels():
    """The legend's lines lay within the last panel, where they looked like points."""
    runs = [run | {"variant": "on-imagenet-weights"} for run in make_runs()]
    figure = shots_figure(group_runs(runs), "accuracy")
    figure.canvas.draw()
    [legend] = figure.legends
    edges = [axes.get_window_extent().x1 for axes in figure.axes]
    assert legend.get_window_extent().x0 > max(edges)
    assert legend.get_window_extent().x1 <= figure.get_window_extent().x1


def test_a_point_of_fewer_seeds_is_open_and_has_no_band_of_no_width():
    """One of three seeds has no deviation: with a band of no width it looked the most certain."""
    more = [r | {"seed": 3} for r in make_runs() if r["shots"] and r["seed"] == 2]
    runs = [r for r in [*make_runs(), *more] if not (r["shots"] == 4 and r["seed"] > 1)]
    figure = shots_figure(group_runs(runs), "accuracy")
    panel = figure.axes[0]
    [few] = [line for line in panel.lines if line.get_markerfacecolor() == "white"]
    assert (list(few.get_xdata()), list(few.get_ydata())) == ([1], [100])
    band, bars = panel.collections
    # The points beside the open one stand alone: no band from one to the next.
    assert all(np.ptp(path.vertices[:, 0]) == 0 for path in band.get_paths())
    assert [segment[0][0] for segment in bars.get_segments()] == [0, 2]
    key = "\n".join(text.get_text() for text in figure.texts)
    assert "mean ± 1 standard deviation over 3 seeds" in key
    assert "open marker: fewer runs than the others" in key


def test_the_key_explains_what_the_figure_has():
    figure = shots_figure(group_runs(make_runs()), "accuracy")
    key = "\n".join(text.get_text() for text in figure.texts)
    assert "over 2 seeds" in key and "open marker" not in key
    assert len(figure.axes[0].collections[0].get_paths()) == 1
    one = shots_figure(group_runs([r for r in make_runs() if r["seed"] < 2]), "accuracy")
    assert "one run each" in "\n".join(text.get_text() for text in one.texts)


def test_the_key_is_no_wider_than_the_figure_and_no_higher_than_its_place():
    runs = make_runs()
    runs += [run | {"trainer": "VPT"} for run in runs if run["shots"] != 0 and run["seed"] == 1]
    for run in runs:
        run["centers"] = {"test": run["centers"]["test"]}  # one narrow panel
        run["test_read_early"] = True
    figure = shots_figure(group_runs(runs), "accuracy")
    figure.canvas.draw()
    key = figure.texts[-1]
    assert key.get_text().count("\n") > 2, "this test would prove nothing"
    assert key.get_window_extent().x1 <= figure.bbox.x1
    label = figure.axes[0].xaxis.label.get_window_extent()
    assert key.get_window_extent().y1 < label.y0


def test_a_line_whose_runs_read_the_test_set_early_is_marked():
    runs = make_runs()
    assert "†" not in "".join(
        t.get_text() for t in shots_figure(group_runs(runs), "accuracy").texts
    )
    runs[0]["test_read_early"] = True
    figure = shots_figure(group_runs(runs), "accuracy")
    labels = {line.get_label() for line in figure.axes[0].lines}
    assert labels == {"CoOp†", "ZeroShotCLIP"}
    assert "† the test set was read before" in "\n".join(t.get_text() for t in figure.texts)


def test_no_two_of_many_methods_look_alike():
    runs = [r | {"variant": f"v{n}"} for n in range(12) for r in make_runs() if r["shots"]]
    lines = shots_figure(group_runs(runs), "accuracy").axes[0].lines
    looks = {(ln.get_color(), ln.get_marker(), ln.get_linestyle()) for ln in lines}
    assert len(lines) == len(looks) >= 12


def test_folds_are_pooled_in_confusion_matrices(tmp_path, monkeypatch):
    runs = [r | {"fold": f"{n}/2"} for n in (1, 2) for r in make_runs() if r["shots"] == 4]
    drawn = []
    monkeypatch.setattr(ConfusionTemplate, "save", lambda self, *args: drawn.append(args))
    save_pooled_confusion(group_runs(runs)[0], "CoOp", tmp_path / "c.png")
    [(_, counts, _, title)] = drawn
    assert counts[0].tolist() == (4 * np.array(GOOD["confusion_matrix"])).tolist()
    assert title == "CoOp on PhantomOCT, 4 shots, 2 folds x 2 seeds, counts added up"


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_seeds_are_pooled_in_confusion_matrices(tmp_path, suffix):
    group = next(g for g in group_runs(make_runs()) if g.shots == 4)
    path = tmp_path / f"c.{suffix}"
    save_pooled_confusion(group, "CoOp", path)
    assert path.stat().st_size > 1000


def test_results_without_class_names_are_passed_over():
    named = {"confusion_matrix": [[1, 0], [0, 1]], "per_class": {"a": {}, "b": {}}}
    bare = {"confusion_matrix": [[1]]}
    assert with_same_classes({"old": bare, "test": named, "coarse": {}}) == {"test": named}


def test_a_long_heading_is_set_smaller_in_two_lines():
    assert headline("PhantomOCT", 5.0, 11, 9) == ("PhantomOCT", 11)
    words, size = headline("Hospital of the city " * 4, 5.0, 11, 9, 7.5)
    assert size == 9 and words.count("\n") == 1


def test_a_heading_in_chinese_is_as_wide_as_its_letters():
    title = "基于视觉语言模型的宫颈光学相干断层成像少样本多中心诊断研究（三家医院，二〇二六年）"
    shown, size = headline(f"CoOp on {title} (phantom data), shots 16", 4.9, 10, 8, 6.5)
    assert shown.replace("\n", "").replace(" ", "").endswith("(phantomdata),shots16")
    assert shown.startswith("CoOp on 基于")
    for line in shown.split("\n"):
        em = sum(1.0 if ord(char) > 0x2E80 else 0.55 for char in line)
        assert em * size / 72 <= 4.9 * 1.05
    assert filled("ab 宫颈", 20) == "ab 宫颈"
    narrow, _ = headline(f"CoOp on {title} (phantom data), shots 16", 2.4, 10, 8, 6.5)
    assert narrow.count("\n") == 1 and "…" in narrow
    assert narrow.startswith("CoOp") and narrow.endswith("shots 16")


def test_curves_are_headed_by_the_title(monkeypatch):
    def made(seed, title):
        return {
            "status": "done", "dataset": "PhantomOCT", "trainer": "CoOp", "backbone": "B",
            "variant": "default", "shots": 4, "fold": "", "seed": seed, "test_read_early": False,
            "centers": {"test": GOOD}, "runtime": {"title": title},
        }  # fmt: skip

    def heads(*titles):
        groups = group_runs([made(i, t) for i, t in enumerate(titles)])
        saved = []
        monkeypatch.setattr(ConfusionTemplate, "save", lambda *words: saved.append(words[-1]))
        save_pooled_confusion(groups[0], "CoOp", None)
        return shots_figure(groups, "accuracy").get_suptitle(), saved[0]

    curves, confusion = heads("Cervix OCT", "Cervix OCT")
    assert curves == "Cervix OCT (phantom data)"
    assert confusion == "CoOp on Cervix OCT (phantom data), 4 shots, 2 seeds, counts added up"
    assert heads("A", "B")[0] == "PhantomOCT (phantom data)"


def test_a_band_ends_where_its_metric_does():
    def run(seed, shots, value):
        entry = {"macro_auc": {"value": value, "low": None, "high": None}, "n_images": 9}
        return {
            "status": "done", "dataset": "D", "trainer": "T", "backbone": "B", "fold": "",
            "variant": "default", "shots": shots, "seed": seed, "test_read_early": False,
            "centers": {"test": entry}, "runtime": {},
        }  # fmt: skip

    runs = [run(seed, k, v) for k in (1, 2) for seed, v in ((1, 0.8), (2, 1.0))]
    figure = shots_figure(group_runs(runs), "macro_auc")
    [band] = figure.axes[0].collections
    assert band.get_paths()[0].vertices[:, 1].max() == 1.0


def named(trainer, runs):
    return [run | {"trainer": trainer} for run in runs]


def test_methods_at_one_number_of_shots_stand_side_by_side():
    """Methods with equal scores hid each other."""
    trained = [run for run in make_runs() if run["shots"]]
    runs = [run for name in ("A", "B", "C") for run in named(name, trained)]
    figure = shots_figure(group_runs(runs), "accuracy")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert [list(lines[name].get_ydata()) for name in "ABC"] == [[0, 100, 100]] * 3
    starts = [lines[name].get_xdata()[0] for name in "ABC"]
    np.testing.assert_allclose(starts, [-0.08, 0, 0.08])
    bands = [band.get_paths()[0].vertices[:, 0].min() for band in figure.axes[0].collections]
    np.testing.assert_allclose(bands, starts)
    assert "stand side by side" in "\n".join(text.get_text() for text in figure.texts)
    alone = shots_figure(group_runs(make_runs()), "accuracy")
    assert "side by side" not in "\n".join(text.get_text() for text in alone.texts)


def test_many_methods_stay_nearer_to_their_number_than_to_the_next():
    for count in (1, 2, 8, 40):
        asides = side_by_side(count)
        assert len(set(asides)) == count and max(map(abs, asides)) < 0.31
        assert abs(sum(asides)) < 1e-9


def test_methods_that_train_nothing_have_lines_of_their_own():
    idle = [run for run in make_runs() if not run["shots"]]
    runs = [*make_runs(), *named("CALIP", idle)]
    lines = {
        line.get_label(): line for line in shots_figure(group_runs(runs), "accuracy").axes[0].lines
    }
    assert lines["ZeroShotCLIP"].get_linestyle() != lines["CALIP"].get_linestyle()


def test_a_method_without_a_score_at_the_first_center_is_in_the_legend():
    runs = make_runs()
    for run in runs:
        if not run["shots"]:
            run["centers"] = {"Far": POOR}
    figure = shots_figure(group_runs(runs), "accuracy")
    assert "ZeroShotCLIP" in [text.get_text() for text in figure.legends[0].get_texts()]
