"""The federation's side: averages weights for all rounds and writes federation.json."""

from __future__ import annotations

import json
from pathlib import Path

from cerviclip.federated.certificates import read_certificates
from cerviclip.federated.flower import Ledger, import_flower, make_strategy
from cerviclip.federated.plan import Plan
from cerviclip.federated.record import RECORD
from dassl.utils.files import atomic_write


def serve_federation(plan: Plan, out: Path, address: str, certificates: Path | None) -> Path:
    """Serve all rounds of a plan, then write ``out/federation.json``; returns its path.

    Args:
        plan: its centres are waited for.
        out: folder of the record.
        address: HOST:PORT to listen at.
        certificates: folder of ca.pem, server.pem and server.key; None for no encryption.
    """
    flower = import_flower()
    ledger = Ledger()
    centers = [site.name for site in plan.centers]
    flower.start_server(
        server_address=address,
        config=flower.ServerConfig(num_rounds=plan.rounds),
        strategy=make_strategy(flower, centers, plan.rounds, ledger),
        client_manager=flower.SimpleClientManager(),
        certificates=read_certificates(certificates) if certificates else None,
    )
    record = {
        "trainer": plan.trainer,
        "backbone": plan.backbone,
        "strategy": plan.strategy,
        "mu": plan.mu,
        "centers": centers,
        "encrypted": certificates is not None,
        "bytes_up": sum(row["bytes_up"] for row in ledger.rounds),
        "bytes_down": sum(row["bytes_down"] for row in ledger.rounds),
        "rounds": ledger.rounds,
    }
    path = out / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as handle:
        json.dump(record, handle, indent=2)
    return path
