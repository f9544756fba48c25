"""A model as a list of ATen calls in JSON, with its tensors beside it.

``torch.export`` traces the model. What depends on no input is worked out once, so that LoRA is
merged, learned prompts become class features, and a text tower is left out. Reading runs nothing
but ATen operators: the file holds no code.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dassl.errors import UserError

_CHECKS = ("_assert", "sym_constrain", "sym_size_constrain")  # nothing to compute
_ON_SIZES: dict[str, Callable] = {
    name: getattr(operator, name)
    for name in ("getitem", "add", "sub", "mul", "floordiv", "mod", "neg")
}
_KINDS: dict[type, str] = {
    torch.dtype: "dtype",
    torch.memory_format: "memory_format",
    torch.layout: "layout",
}


@dataclass
class Program:
    """A traced function of tensors.

    Args:
        inputs: names of the arguments.
        steps: ``[name, operator, args, kwargs]`` of each call, in order.
        outputs: the results, in the form of an argument.
        tensors: name -> constant.
        batch: rows that it must be given; 0 for any number.
    """

    inputs: list[str]
    steps: list[list[Any]]
    outputs: Any
    tensors: dict[str, Tensor] = field(repr=False)
    batch: int = 0

    def __call__(self, *arguments: Tensor) -> Any:
        """The outputs for rows (B, ...); rows are repeated where the program takes a fixed B."""
        if not self.batch:
            return self._run(arguments)
        count, parts = len(arguments[0]), []
        for start in range(0, count, self.batch):
            index = torch.arange(start, start + self.batch).clamp(max=count - 1)
            made = self._run([a[index] for a in arguments])
            kept = min(self.batch, count - start)
            parts.append([None if x is None else x[:kept] for x in made])
        return [None if column[0] is None else torch.cat(column) for column in zip(*parts)]  # noqa: B905

    @torch.no_grad()
    def _run(self, arguments: Sequence[Tensor]) -> Any:
        return self.steps_of(arguments)

    def steps_of(self, arguments: Sequence[Tensor]) -> Any:
        """The outputs, for a number of rows that the program takes."""
        known: dict[str, Any] = dict(self.tensors)
        known.update(zip(self.inputs, arguments, strict=True))
        for name, call, args, kwargs in self.steps:
            known[name] = _operator(call)(*_decode(args, known), **_decode(kwargs, known))
        return _decode(self.outputs, known)

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "steps": self.steps,
            "outputs": self.outputs,
            "batch": self.batch,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], tensors: dict[str, Tensor]) -> Program:
        """The inverse of `to_json`.

        Raises:
            UserError: a call that is no ATen operator.
        """
        for step in values["steps"]:
            _operator(step[1])
        return cls(
            values["inputs"], values["steps"], values["outputs"], tensors, int(values["batch"])
        )


class _Function(nn.Module):
    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Tensor) -> Any:
        return self.function(*arguments)


def trace(function: Callable, example: Sequence[Tensor], any_batch: bool = True) -> Program:
    """The program of a function from tensors (B, ...) to a list of tensors.

    Args:
        example: arguments with B of at least 2.
        any_batch: for any B; where the function does not allow it, for the example's.

    Raises:
        UserError: it does what cannot be written down.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*example)  # what it keeps between calls is made now
        batch = torch.export.Dim("batch", min=1, max=2**20)
        shapes = {"arguments": tuple({0: batch} for _ in example)} if any_batch else None
        try:
            exported = torch.export.export(
                _Function(function), tuple(example), dynamic_shapes=shapes, strict=False
            )
        except Exception as error:  # torch raises many kinds
            if any_batch:
                return trace(function, example, any_batch=False)
            line = str(error).strip().splitlines()[0]
            raise UserError(f"torch.export cannot trace this model ({line})") from error
        return _program(exported, 0 if any_batch else len(example[0]))


def _program(exported: Any, batch: int) -> Program:
    """Steps that depend on an input; all others are worked out now."""
    signature, known = exported.graph_signature, {}
    constants = {**exported.state_dict, **exported.constants}
    sources = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    inputs: list[str] = []
    steps: list[list[Any]] = []
    outputs: Any = None
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            if node.name in sources:
                known[node.name] = constants[sources[node.name]].detach()
            else:
                inputs.append(node.name)
        elif node.op == "output":
            outputs = _encode(list(node.args[0]))
        elif node.op == "call_function":
            call = _name(node.target)
            if call.split(".")[1].startswith(_CHECKS) or call.startswith("aten.sym_constrain"):
                continue
            # A step that changes its argument must not change a constant for the steps before it.
            fixed = all(arg.name in known for arg in node.all_input_nodes)
            args, kwargs = _encode(list(node.args)), _encode(dict(node.kwargs))
            if not fixed:
                steps.append([node.name, call, args, kwargs])
                continue
            values = _decode(args, known)
            if call.split(".")[1].endswith("_") and isinstance(values[0], Tensor):
                values[0] = values[0].clone()
            known[node.name] = _operator(call)(*values, **_decode(kwargs, known))
        else:
            raise UserError(
                f"this model has a part that cannot be written down ({node.op} {node.target})"
            )
    used = _names([outputs, *[step[2:] for step in steps]])
    tensors = {name: value for name, value in known.items() if name in used}
    odd = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if odd:
        raise UserError(f"this model has a constant that is no tensor ({odd[0]})")
    return Program(inputs, steps, outputs, tensors, batch)


def _name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    for name, function in _ON_SIZES.items():
        if target is function:
            return f"size.{name}"
    raise UserError(
        f"this model runs {getattr(target, '__name__', target)}, which cannot be written down "
        "(mixed precision is a cause; train with PREC fp32)"
    )


def _operator(name: str) -> Callable:
    """The operator of a name; nothing but ATen and arithmetic of sizes."""
    space, _, rest = name.partition(".")
    try:
        if space == "size":
            return _ON_SIZES[rest]
        if space == "aten":
            packet, _, overload = rest.partition(".")
            return getattr(getattr(torch.ops.aten, packet), overload)
    except (KeyError, AttributeError):
        pass
    raise UserError(f"the export calls {name!r}, which this version does not run")


def _encode(value: Any) -> Any:
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, (list, tuple)):
        return [_encode(one) for one in value]
    if isinstance(value, dict):
        return {"dict": {key: _encode(one) for key, one in value.items()}}
    if isinstance(value, torch.device):
        return {"device": "cpu"}
    for kind, word in _KINDS.items():
        if isinstance(value, kind):
            return {word: str(value).removeprefix("torch.")}
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UserError(f"this model has an argument that cannot be written down ({value!r})")


def _decode(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_decode(one, known) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "node":
        return known[inner]
    if kind == "dict":
        return {key: _decode(one, known) for key, one in inner.items()}
    if kind == "device":
        return torch.device(inner)
    return float(inner) if kind == "float" else getattr(torch, inner)


def _names(value: Any) -> set[str]:
    """All nodes that an encoded value names."""
    if isinstance(value, list):
        return set().union(*map(_names, value)) if value else set()
    if isinstance(value, dict):
        return {value["node"]} if "node" in value else _names(list(value.values()))
    return set()
