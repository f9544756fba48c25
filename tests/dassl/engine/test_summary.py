"""TensorBoard's absence is said once in a process, not in every run of a sweep."""

from dassl.engine import summary


def test_an_absent_tensorboard_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(summary, "find_spec", lambda name: None)
    summary._say_once.cache_clear()
    for run in ("a", "b"):
        summary.SummaryWriter(log_dir=run)
    summary._say_once.cache_clear()
    assert capsys.readouterr().out.count("tensorboard is not installed") == 1
