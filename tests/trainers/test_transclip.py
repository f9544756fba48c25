"""TransCLIP: its start, its equations, and that predictions are of a whole set."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import TrainerCase

from cerviclip.vlm.heads.neighbours import NearestQueries

CASE = (TrainerCase("TransCLIP"), TrainerCase("TransCLIPZS"))
NOTHING_ADDED = ("LIKELIHOOD", 0.0, "GRAPH", 0.0, "LAMBDA", 1.0)


def opts(name: str, *pairs: object) -> list[object]:
    return [f"TRAINER.{name}.{v}" if i % 2 == 0 else v for i, v in enumerate(pairs)]


def features_of(trainer) -> torch.Tensor:
    return trainer.image_features(next(iter(trainer.make_loader(trainer.dm.dataset.test)))["img"])


@pytest.mark.parametrize(("name", "shots"), [("TRANSCLIP", 4), ("TRANSCLIPZS", 0)])
def test_without_mixture_and_graph_it_is_zero_shot(build, name, shots):
    trainer = build(name.replace("TRANS", "Trans"), *opts(name, *NOTHING_ADDED), shots=shots)
    trainer.train() if shots else None
    zero_shot = build("ZeroShotCLIP", shots=0)
    x = features_of(trainer)
    expected = zero_shot.model_inference(x).double().softmax(-1)
    torch.testing.assert_close(trainer.transduce(x), expected, rtol=1e-5, atol=1e-7)


def test_an_image_at_a_time_it_is_zero_shot(build, assert_is_zero_shot):
    trainer = build("TransCLIP")
    trainer.train()
    assert_is_zero_shot(trainer)


def case() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    return {
        "queries": F.normalize(torch.randn(7, 5, generator=g, dtype=torch.float64), dim=-1),
        "start": torch.randn(7, 3, generator=g, dtype=torch.float64).softmax(-1),
        "shots": F.normalize(torch.randn(6, 5, generator=g, dtype=torch.float64), dim=-1),
        "values": F.one_hot(torch.tensor([0, 0, 1, 1, 2, 2]), 3).double(),
    }


def by_hand(queries, start, mu, shots, values, gamma, lam, rounds, steps) -> list[list[float]]:
    """Equations of the paper, one image, class and neighbour at a time."""
    n_q, n_s, n_c, dim = len(queries), len(shots), 3, queries.shape[1]
    every = torch.cat([queries, shots])
    near: dict[tuple[int, int], float] = {}  # (row, query): similarity
    for i in range(n_q + n_s):
        others = sorted((float(every[i] @ queries[j]), j) for j in range(n_q) if j != i)
        near |= {(i, j): w for w, j in others[-3:]}
    variance, z = torch.full((dim,), 1 / dim, dtype=torch.float64), start.clone()
    for step in range(rounds + 1):
        for _ in range(steps):
            of_all, new = torch.cat([z, values]), torch.zeros_like(z)
            for i in range(n_q):
                for c in range(n_c):
                    power = -float(((queries[i] - mu[c]) ** 2 / variance).sum()) / 2 / 50
                    for j in range(n_q + n_s):
                        edge = near.get((j, i), 0.0) + (near.get((i, j), 0.0) if j < n_q else 0.0)
                        power += edge * float(of_all[j, c]) / 6
                    new[i, c] = float(start[i, c]) ** lam * math.exp(power)
            z = new / new.sum(-1, keepdim=True)
        if step == rounds:
            return z
        weights = torch.cat([z / n_q, 50 * gamma / n_s * values])
        mu = torch.stack(
            [sum(weights[i, c] * every[i] for i in range(len(every))) for c in range(3)]
        )
        mu = mu / mu.norm(dim=-1, keepdim=True)
        spread = sum(
            weights[i, c] * (every[i] - mu[c]) ** 2 for i in range(len(every)) for c in range(3)
        )
        variance = spread / weights.sum()


def test_the_solver_follows_the_equations(module_of, build):
    given, module = case(), module_of("TransCLIP")
    section = build("TransCLIP", *opts("TRANSCLIP", "ROUNDS", 3, "STEPS", 2)).cfg.TRAINER.TRANSCLIP
    mu = module.class_means(given["shots"], given["values"])
    found = module.transclip(mu=mu, gamma=0.02, cfg=section, **given)
    expected = by_hand(mu=mu, gamma=0.02, lam=0.5, rounds=3, steps=2, **given)
    torch.testing.assert_close(found, expected)


def test_zero_shot_means_start_from_the_surest_queries(build):
    trainer = build("TransCLIPZS", *opts("TRANSCLIPZS", "CONFIDENT", 2, "ROUNDS", 0), shots=0)
    x = features_of(trainer)
    probs = trainer.clip_logits(x).softmax(-1)
    seen = {}
    module = __import__("sys").modules[type(trainer).__module__]
    solver, module.transclip = module.transclip, lambda q, s, mu, *rest: seen.setdefault("mu", mu)
    try:
        trainer.transduce(x)
    finally:
        module.transclip = solver
    for c in range(3):
        best = probs[:, c].argsort(descending=True)[:2]
        mean = sum(probs[i, c] * x[i] for i in best)
        torch.testing.assert_close(seen["mu"][c], mean / mean.norm())


def test_few_queries_have_fewer_neighbours_and_one_has_none(module_of, build):
    given, section = case(), build("TransCLIP").cfg.TRAINER.TRANSCLIP
    mu = module_of("TransCLIP").class_means(given["shots"], given["values"])
    for count in (1, 2):
        few = {**given, "queries": given["queries"][:count], "start": given["start"][:count]}
        z = module_of("TransCLIP").transclip(mu=mu, gamma=0.02, cfg=section, **few)
        torch.testing.assert_close(z.sum(-1), torch.ones(count, dtype=torch.float64))
    alone = NearestQueries(given["queries"][:1], given["shots"][:0], given["values"][:0], 3)
    assert not alone.sums(given["start"][:1]).any()


def test_predictions_depend_on_the_other_images_but_not_on_batches(build, monkeypatch):
    trainer = build("TransCLIP")
    trainer.train()
    loader = trainer.make_loader(trainer.dm.dataset.test)
    whole, labels = trainer.predict_together(loader)
    (batch,) = loader
    halves = [{k: v[s] for k, v in batch.items()} for s in (slice(0, 5), slice(5, None))]
    assert torch.equal(trainer.predict_together(halves)[0], whole)
    assert not torch.allclose(trainer.predict_together(halves[:1])[0], whole[:5])
    assert torch.equal(labels, batch["label"])


def test_results_say_transductive(run):
    _, results = run("TransCLIP")
    assert results["transductive"] is True and results["search"]["tries"] == 4
    _, results = run("GDA")
    assert results["transductive"] is False
