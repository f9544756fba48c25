"""A training step of each method that goes through a tower, against the towers' own part of it.

The towers' calls in one step are noted (which images, which prompts, with a gradient or without)
and made again by themselves: forward, and backward to the same parameters and inputs. So the ratio
is what a method and the engine add to work that no implementation of the method could leave out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from cerviclip.tools.bench_parts.common import Bench, device, seconds
from cerviclip.tools.bench_parts.steps import build, stepper

BACKBONE = "ViT-B/32"
BATCH = 8  # a step through the vision tower takes about two seconds on one core
PROMPTS = (
    *("CoOp", "CoCoOp", "KgCoOp", "ProGrad", "BiomedCoOp", "TCP"),
    *("VPT", "IVLP", "MaPLe", "PromptSRC"),
)
WEIGHTS = (
    *("CLIPLoRA", "BitFit", "LNTuning", "FullFineTune", "FLYP", "WiSEFT"),
    *("CLIPSVD", "MMA", "TwoStageFewShot", "DAPD"),
)
_BACKWARD = ("model_backward_and_update", "prograd_backward_and_update")
_CALLS = ("forward", "finish", "encode", "stem", "run_blocks", "head")


@contextmanager
def noted_calls() -> Iterator[list[tuple[Callable[..., Any], tuple, dict, bool]]]:
    """The outermost calls of any tower: function, arguments, keywords, and whether a gradient was
    wanted."""
    import torch

    from cerviclip.vlm.base import Tower

    calls: list[tuple[Callable[..., Any], tuple, dict, bool]] = []
    inside = False

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return function(*args, **kwargs)
            calls.append((function, args, kwargs, torch.is_grad_enabled()))
            inside = True
            try:
                return function(*args, **kwargs)
            finally:
                inside = False

        return call

    with ExitStack() as stack:
        for kind in _with_subclasses(Tower):
            for name in _CALLS:
                if name in vars(kind):
                    patch = mock.patch.object(kind, name, noting(vars(kind)[name]))
                    stack.enter_context(patch)
        yield calls


def _with_subclasses(kind: type) -> list[type]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _with_subclasses(sub))]


def towers_step(trainer: Any, batch: Mapping[str, Any]) -> Callable[[], None]:
    """The towers' part of the training step at hand, to be made once."""
    import torch

    # A backward pass would free the graph of what learns beside the blocks.
    left_out = {name: _nothing for name in _BACKWARD if hasattr(trainer, name)}
    with mock.patch.multiple(trainer, **left_out), noted_calls() as calls:
        trainer.forward_backward(batch)

    def leaf(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.requires_grad:
            return x
        return x.detach().clone().requires_grad_()

    made = [(call, tuple(map(leaf, args)), kwargs, grad) for call, args, kwargs, grad in calls]

    def work() -> None:
        total: Any = 0.0
        for call, args, kwargs, grad in made:
            with torch.set_grad_enabled(grad), trainer.precision.autocast():
                out = call(*args, **kwargs)
            for part in out if isinstance(out, tuple) else (out,):
                if part.requires_grad:
                    total = total + part.float().sum()
        total.backward()

    return work


def _nothing(*args: Any, **kwargs: Any) -> None:
    """In the place of a backward pass."""


def optimiser_step(trainer: Any) -> Callable[[], None]:
    """torch's AdamW over all that learns in a trainer, which every step of weights ends with."""
    import torch

    models = [trainer._models[name] for name in trainer.get_model_names()]
    learning = [p for model in models for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=1e-6)

    def work() -> None:
        optimiser.step()
        optimiser.zero_grad()

    return work


def measure_method(
    bench: Bench, name: str, repeats: int, backbone: str = BACKBONE
) -> dict[str, float]:
    """Seconds of a step and of its towers alone (medians, on a CPU of processor time), and their
    ratio."""
    trainer = build(bench, name, backbone, {"DATALOADER.TRAIN_X.BATCH_SIZE": BATCH})
    batch = next(iter(trainer.train_loader_x))
    step = stepper(trainer, batch)
    optimise = optimiser_step(trainer) if name in WEIGHTS else _nothing
    clock = time.process_time if device().type == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {"step": [], "bare": []}
    for _ in range(1 + repeats):  # frozen texts and the like are made in the first
        times["step"].append(seconds(step, clock))
        towers = towers_step(trainer, batch)
        times["bare"].append(seconds(lambda work=towers: (work(), optimise()), clock))
    median = {key: statistics.median(found[1:]) for key, found in times.items()}
    return {**median, "ratio": median["step"] / median["bare"]}


def measure_methods(bench: Bench, key: str, repeats: int = 3) -> None:
    """``prompt_step_over_towers`` or ``weight_step_over_bare``: of the dearest method; all of them
    in the details."""
    found = {}
    for name in PROMPTS if key == "prompt_step_over_towers" else WEIGHTS:
        found[name] = measure_method(bench, name, repeats)
        bench.say(f"step of {name}: {found[name]['ratio']:.2f} of its towers")
    bench.details[key] = found
    bench.figures[key] = max(row["ratio"] for row in found.values())
