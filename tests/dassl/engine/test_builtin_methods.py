"""The smaller built-in methods: each trains, and does the one thing that it is about."""

from __future__ import annotations

import shutil

import pytest
import torch
import torch.nn.functional as F

from dassl.engine import TRAINER_REGISTRY, TrainerXU, build_trainer
from dassl.engine.dg.crossgrad import loss_gradient
from dassl.engine.progress import EpochProgress
from dassl.errors import UserError
from dassl.modeling.ops import entropy
from dassl.utils import set_random_seed

DOMAINS = {"DATASET__SOURCE_DOMAINS": ("a", "b")}
OPTIONS = {
    "CrossGrad": DOMAINS,
    "DDAIG": {**DOMAINS, "TRAINER__DDAIG__G_ARCH": "fcn_3x32_gctx", "OPTIM__MAX_EPOCH": 1},
    "MCD": {},
    "MME": {},
    "SourceOnly": {},
    "SupBaseline": {},
    "EntMin": {},
    "MeanTeacher": {},
    "MixMatch": {"DATALOADER__K_TRANSFORMS": 2},
}
HERE_ELSEWHERE = {"Vanilla", "DomainMix", "DANN", "FixMatch", "AdaBN"}


def make(tiny, name, **options):
    set_random_seed(1)
    return build_trainer(tiny(name, **{**OPTIONS.get(name, {}), **options}))


def weights(*networks):
    return [p.detach().clone() for network in networks for p in network.parameters()]


def moved(before, *networks):
    after = weights(*networks)
    return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def batches(trainer):
    trainer.num_batches, trainer.batch_idx = 3, 0
    trainer.set_model_mode("train")
    return next(iter(trainer.train_loader_x)), next(iter(trainer.train_loader_u))


def test_every_built_in_trainer_is_tested():
    built_in = {n for n, c in TRAINER_REGISTRY._obj_map.items() if "dassl.engine" in c.__module__}
    assert set(OPTIONS) | HERE_ELSEWHERE == built_in


@pytest.mark.parametrize("name", OPTIONS)
def test_trains_saves_and_tests(tiny, name, capsys):
    trainer = make(tiny, name)
    before = weights(*trainer._models.values())
    trainer.train()
    assert moved(before, *trainer._models.values())
    out = capsys.readouterr().out
    assert "* accuracy: " in out and "epoch [1/" in out
    again = make(tiny, name)  # the folder holds a finished run: loads it, and only tests
    again.train()
    assert f"accuracy: {out.split('accuracy: ')[1].split('%')[0]}%" in capsys.readouterr().out


ON_META = {
    **OPTIONS,
    "Vanilla": DOMAINS,
    "DomainMix": {**DOMAINS, "TRAINER__DOMAINMIX__TYPE": "crossdomain"},
    "DANN": {},
    "FixMatch": {"TRAINER__FIXMATCH__STRONG_TRANSFORMS": ("random_flip", "normalize")},
}


@pytest.mark.parametrize("name", ON_META)
def test_a_step_reads_nothing_back_from_its_device(tiny, name, monkeypatch):
    """Torch's meta device has shapes and no values: what would wait for a GPU fails on it."""
    trainer_class = TRAINER_REGISTRY.get(name)
    plain = trainer_class.build_data_loader

    def build_data_loader(self):
        plain(self)
        self.device = torch.device("meta")

    monkeypatch.setattr(trainer_class, "build_data_loader", build_data_loader)
    trainer = build_trainer(tiny(name, **ON_META[name]))
    trainer.max_epoch = 3
    trainer._begin_epoch()
    labelled, unlabelled = batches(trainer)
    progress = EpochProgress(trainer, trainer.cfg.TRAIN.PRINT_FREQ)
    both = isinstance(trainer, TrainerXU)
    summary = trainer.forward_backward(labelled, *([unlabelled] if both else []))
    progress.print_freq, trainer.num_batches = 1000, 1000
    progress.batch_done(summary)
    assert all(value.device == trainer.device for value in summary.values())


def test_crossgrad_moves_images_up_the_loss_and_not_far():
    torch.manual_seed(0)
    network, x = (
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)),
        torch.rand(4, 3, 2, 2),
    )
    target = torch.tensor([0, 1, 2, 0])
    gradient = loss_gradient(network, x, target)
    assert gradient.abs().max() <= 0.1 and not gradient.requires_grad
    assert F.cross_entropy(network(x + gradient), target) > F.cross_entropy(network(x), target)
    assert network[1].weight.grad is None


def test_ddaig_moves_each_network_by_its_own_loss(tiny):
    trainer = make(tiny, "DDAIG")
    batch, _ = batches(trainer)
    for name in ("F", "D", "G"):
        trainer.model_backward_and_update, kept = (
            lambda loss, part, only=name, step=trainer.model_backward_and_update: (
                step(loss, part) if part == only else None
            ),
            trainer.model_backward_and_update,
        )
        parts = [trainer._models[other] for other in ("F", "D", "G") if other != name]
        before, own = weights(*parts), weights(trainer._models[name])
        trainer.forward_backward(batch)
        assert not moved(before, *parts) and moved(own, trainer._models[name])
        trainer.model_backward_and_update = kept
    with pytest.raises(UserError, match="G_ARCH.*fcn_3x32_gctx"):
        make(tiny, "DDAIG", TRAINER__DDAIG__G_ARCH="fcn")


def test_mcd_step_c_moves_features_only_and_lowers_the_discrepancy(tiny):
    trainer = make(tiny, "MCD", OPTIM__LR=0.5, OPTIM__WEIGHT_DECAY=0.0)
    _, batch_u = batches(trainer)
    trainer.set_model_mode("eval")
    classifiers = weights(trainer.C1, trainer.C2)
    first = trainer.discrepancy(trainer.F(batch_u["img"]))
    for _ in range(5):
        loss = trainer.discrepancy(trainer.F(batch_u["img"]))
        trainer.model_backward_and_update(loss, "F")
    assert trainer.discrepancy(trainer.F(batch_u["img"])) < first
    assert not moved(classifiers, trainer.C1, trainer.C2)


def test_mme_prototypes_raise_and_features_lower_the_entropy(tiny):
    for part, sign in (("C", 1), ("F", -1)):
        trainer = make(tiny, "MME", OPTIM__LR=0.01, OPTIM__WEIGHT_DECAY=0.0)
        _, batch_u = batches(trainer)
        trainer.set_model_mode("eval")

        def target_entropy(trainer=trainer, x=batch_u["img"]):
            return entropy(F.softmax(trainer.C(trainer.revgrad(trainer.F(x))), 1)).mean()

        before = target_entropy()
        trainer.model_backward_and_update(-before, part)
        assert sign * (target_entropy() - before) > 0


def test_entropy():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert torch.allclose(entropy(p), torch.tensor([0.6931, 0.0]), atol=1e-3)


def test_the_mean_teacher_is_the_mean_of_the_first_students(tiny):
    trainer = make(tiny, "MeanTeacher", OPTIM__MAX_EPOCH=1)
    batch_x, batch_u = batches(trainer)
    students = []
    for trainer.batch_idx in range(3):
        trainer.forward_backward(batch_x, batch_u)
        students.append(weights(trainer.model))
    for teacher, *student in zip(weights(trainer.teacher), *students, strict=True):
        assert torch.allclose(teacher, torch.stack(student).mean(0), atol=1e-6)
    assert not any(p.requires_grad for p in trainer.teacher.parameters())


def test_a_mean_teacher_of_upstreams_which_saved_no_teacher_goes_on(tiny, tmp_path, capsys):
    make(tiny, "MeanTeacher", OPTIM__MAX_EPOCH=1).train()
    shutil.rmtree(tmp_path / "run" / "teacher")
    again = make(tiny, "MeanTeacher", OPTIM__MAX_EPOCH=2)
    assert again.resume_model_if_exist(str(tmp_path / "run")) == 1
    assert "No teacher at" in capsys.readouterr().out
    loaded = make(tiny, "MeanTeacher", out="other")
    loaded.load_model(str(tmp_path / "run"), epoch=1)
    for trainer in (again, loaded):
        assert trainer.get_model_names() == ["model", "teacher"]
        for ours, student in zip(weights(trainer.teacher), weights(loaded.model), strict=True):
            assert torch.equal(ours, student)
    loaded.load_model("")  # nothing named, nothing loaded
    assert "No teacher" not in capsys.readouterr().out.split("Load ")[-1]


def test_source_only_parses_what_upstreams_does(tiny):
    trainer = make(tiny, "SourceOnly")
    batch_x, batch_u = batches(trainer)
    input, label = trainer.parse_batch_train(batch_x, batch_u)
    assert input is batch_x["img"] and label is batch_x["label"]


def test_mixmatch_guesses_by_the_mean_of_the_views_sharpened(tiny):
    trainer = make(tiny, "MixMatch")
    trainer.set_model_mode("eval")
    views = [torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)]
    with torch.no_grad():
        mean = sum(F.softmax(trainer.model(v), 1) for v in views) / 2
    expected = mean**2 / (mean**2).sum(1, keepdim=True)
    assert torch.allclose(trainer.guess_labels(views), expected, atol=1e-6)
    with pytest.raises(UserError, match="K_TRANSFORMS"):
        make(tiny, "MixMatch", DATALOADER__K_TRANSFORMS=1)


def test_mixmatch_mixes_every_view_and_takes_the_mean_over_classes_too(tiny):
    trainer = make(tiny, "MixMatch", DATALOADER__K_TRANSFORMS=3, TRAINER__MIXMATCH__RAMPUP=1)
    batch_x, batch_u = batches(trainer)
    trainer.set_model_mode("eval")
    trainer.epoch, trainer.num_batches = 1, 3  # past the ramp-up
    x, views = batch_x["img"][0], batch_u["img"]
    torch.manual_seed(4)
    with torch.no_grad():
        guess = trainer.guess_labels(views)
        every = torch.cat([x, *views])
        labels = torch.cat([F.one_hot(batch_x["label"], 3).float(), *[guess] * 3])
        order = torch.randperm(len(every))  # one draw for all, then the shares of both mixtures
        losses = []
        for part, power in ((slice(0, len(x)), 1), (slice(len(x), None), 2)):
            one, other = (every[part], labels[part]), (every[order][part], labels[order][part])
            beta = torch.distributions.Beta(0.75, 0.75).sample((len(one[0]), 1, 1, 1))
            share = torch.max(beta, 1 - beta)
            output = F.softmax(trainer.model(one[0] * share + other[0] * (1 - share)), 1)
            target = one[1] * share[:, :, 0, 0] + other[1] * (1 - share[:, :, 0, 0])
            if power == 1:
                losses.append(-(target * torch.log(output + 1e-5)).sum(1).mean())
            else:
                losses.append(((target - output) ** 2).mean())
    torch.manual_seed(4)
    summary = trainer.forward_backward(batch_x, batch_u)
    assert list(summary) == ["loss_x", "loss_u"]
    assert torch.allclose(torch.stack(list(summary.values())), torch.stack(losses), atol=1e-6)


def test_adabn_changes_the_statistics_and_nothing_else(tiny, tmp_path, capsys):
    with pytest.raises(UserError, match="INIT_WEIGHTS"):
        make(tiny, "AdaBN")
    source = make(tiny, "SourceOnly", out="source", OPTIM__MAX_EPOCH=1)
    source.train()
    file = tmp_path / "source" / "model" / "model.pth.tar-1"
    trainer = make(tiny, "AdaBN", MODEL__INIT_WEIGHTS=str(file), OPTIM__MAX_EPOCH=1)
    before, norm = weights(trainer.model), trainer.model.backbone.norm
    mean = norm.running_mean.clone()
    trainer.train()
    assert not moved(before, trainer.model)
    assert not torch.equal(norm.running_mean, mean) and norm.num_batches_tracked == 3
    assert "epoch [1/1] batch [3/3]" in capsys.readouterr().out
