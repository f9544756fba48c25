"""The edge to Flower (flwr): a client for a run, a strategy that is the same every time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

from cerviclip.federated.leaks import check_same_classes
from cerviclip.federated.weights import check_finite, size_of
from cerviclip.places import install_hint
from dassl.errors import UserError


class Turns(Protocol):
    """A run that waits at the end of each round (`center.Turns`)."""

    def take(self) -> tuple[Any, int, float, str]: ...

    def set(self, weights: Any) -> None: ...


def import_flower() -> SimpleNamespace:
    """What is used of Flower, imported when a federation runs.

    Raises:
        UserError: it is not installed.
    """
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # it would report each start to its makers
    try:
        import flwr.client
        import flwr.common
        import flwr.server.strategy
    except ImportError as error:
        raise UserError(
            f"cerviclip federate needs Flower ({error}): {install_hint('federated')}"
        ) from error
    names = {
        flwr.client: ("NumPyClient", "start_client"),
        flwr.common: (
            *("GetParametersIns", "GetPropertiesIns"),
            *("ndarrays_to_parameters", "parameters_to_ndarrays"),
        ),
        flwr.server: ("ServerConfig", "SimpleClientManager", "start_server"),
        flwr.server.strategy: ("FedAvg",),
    }
    return SimpleNamespace(
        **{name: getattr(module, name) for module, own in names.items() for name in own}
    )


def center_client(flower: SimpleNamespace, turns: Turns, center: str) -> Any:
    """A NumPyClient that hands weights between the federation and one centre's run."""

    class CenterClient(flower.NumPyClient):  # type: ignore[misc,name-defined]
        error: BaseException | None = None
        finished = False
        first: tuple[Any, ...] | None = None

        def _take(self) -> Any:
            try:
                return turns.take()
            except BaseException as error:
                self.error = error
                raise

        def get_properties(self, config: dict[str, Any]) -> dict[str, Any]:
            self.first = self.first or self._take()
            return {"center": center, "classes": self.first[3]}

        def get_parameters(self, config: dict[str, Any]) -> Any:
            self.first = self.first or self._take()
            return self.first[0]

        def fit(self, parameters: Any, config: dict[str, Any]) -> Any:
            self.first = self.first or self._take()
            turns.set(parameters)
            weights, images, loss, _ = self._take()
            return weights, images, {"center": center, "loss": loss}

        def evaluate(self, parameters: Any, config: dict[str, Any]) -> Any:
            """The last weights; they are scored where the run scores, on images of its own."""
            turns.set(parameters)
            self.finished = True
            return 0.0, 1, {}

    return CenterClient()


@dataclass
class Ledger:
    """What a federation has exchanged; ``federation.json``."""

    rounds: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, round_number: int, parts: Sequence[tuple[str, int, float, int]], down: int
    ) -> None:
        """Note a round.

        Args:
            round_number: from 1.
            parts: (centre, training images, mean loss, bytes sent) of each centre.
            down: bytes of the common weights that each centre was sent.
        """
        self.rounds.append(
            {
                "round": round_number,
                "participants": len(parts),
                "images": {name: images for name, images, _, _ in parts},
                "loss": {name: loss for name, _, loss, _ in parts},
                "bytes_up": sum(sent for *_, sent in parts),
                "bytes_down": down * len(parts),
            }
        )


def make_strategy(
    flower: SimpleNamespace, centers: Sequence[str], rounds: int, ledger: Ledger
) -> Any:
    """FedAvg over all named centres, in the order of their names, so that sums do not depend on
    who answers first. FedProx's term is added by the centres (`CenterRun`)."""
    count = len(centers)

    class AllCenters(flower.FedAvg):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(
                fraction_fit=1.0,
                min_fit_clients=count,
                min_evaluate_clients=count,
                min_available_clients=count,
                accept_failures=False,
                inplace=False,
            )

        def initialize_parameters(self, client_manager: Any) -> Any:
            if not client_manager.wait_for(count, 600):
                there = client_manager.num_available()
                raise UserError(f"{there} of {count} centres joined within 600 s")
            found: dict[str, Any] = {}
            classes: dict[str, str] = {}
            for proxy in client_manager.all().values():
                ins = flower.GetPropertiesIns(config={})
                told = proxy.get_properties(ins, timeout=600, group_id=0).properties
                found[str(told["center"])] = proxy
                classes[str(told["center"])] = str(told["classes"])
            if sorted(found) != sorted(centers):
                raise UserError(
                    f"the centres that joined are {', '.join(sorted(found))}; the plan names "
                    f"{', '.join(sorted(centers))}"
                )
            first = sorted(found)[0]
            for name, own in classes.items():
                check_same_classes(first, classes[first].split("\n"), name, own.split("\n"))
            ins = flower.GetParametersIns(config={})
            return found[first].get_parameters(ins, timeout=600, group_id=0).parameters

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            if failures:
                raise UserError(
                    f"round {server_round}: {len(failures)} of {count} centres did not answer; "
                    "their logs say why"
                )
            results = sorted(results, key=lambda pair: str(pair[1].metrics["center"]))
            arrays = [flower.parameters_to_ndarrays(fit.parameters) for _, fit in results]
            for (_, fit), own in zip(results, arrays, strict=True):
                check_finite(own, f"centre {fit.metrics['center']} in round {server_round}")
            parts = [
                (
                    str(fit.metrics["center"]),
                    fit.num_examples,
                    float(fit.metrics["loss"]),
                    size_of(a),
                )
                for (_, fit), a in zip(results, arrays, strict=True)
            ]
            ledger.add(server_round, parts, size_of(arrays[0]))
            losses = ", ".join(f"{name} {loss:.4f}" for name, _, loss, _ in parts)
            print(f"round {server_round} of {rounds}: {count} centres, loss {losses}", flush=True)
            return super().aggregate_fit(server_round, results, failures)

        def configure_evaluate(
            self, server_round: int, parameters: Any, client_manager: Any
        ) -> Any:
            if server_round < rounds:
                return []
            return super().configure_evaluate(server_round, parameters, client_manager)

    return AllCenters()
