"""Averages, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from dassl.utils import AverageMeter, MetricMeter


def test_average_is_weighted_by_n():
    meter = AverageMeter()
    meter.update(1.0, 3)
    meter.update(torch.tensor(5.0), 1)
    assert (meter.val, meter.sum, meter.count, meter.avg) == (5.0, 8.0, 4, 2.0)
    meter.reset()
    assert (meter.val, meter.sum, meter.count, meter.avg) == (0, 0, 0, 0)


def test_ema_keeps_nine_tenths():
    meter = AverageMeter(ema=True)
    meter.update(10.0)
    meter.update(20.0)
    assert meter.avg == pytest.approx(0.9 * 1.0 + 2.0)


def test_metric_meter_prints_value_and_average():
    meter = MetricMeter()
    meter.update({"loss": 2.0, "acc": torch.tensor([50.0])})
    meter.update(None)
    meter.update({"loss": 1.0})
    assert str(meter) == "loss 1.0000 (1.5000) acc 50.0000 (50.0000)"
    assert str(MetricMeter("|")) == ""


def test_metric_meter_wants_a_dict():
    with pytest.raises(TypeError, match="dict of numbers"):
        MetricMeter().update(3.0)
