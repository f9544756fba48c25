"""Optimisers by name: adam, amsgrad, sgd, rmsprop, radam, adamw."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from yacs.config import CfgNode

from dassl.optim.fused import fused_option, listed, prepared
from dassl.optim.radam import RAdam
from dassl.utils.tools import check_availability

AVAI_OPTIMS = ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]


def build_optimizer(
    model: nn.Module | Iterable[Any],
    optim_cfg: CfgNode,
    param_groups: Iterable[Any] | None = None,
) -> Optimizer:
    """The optimiser that ``cfg.OPTIM`` asks for, in torch's fused form for parameters on CUDA.

    Args:
        model: a module, or an iterable of parameters or of parameter groups.
        optim_cfg: NAME, LR and the optimiser's own keys; STAGED_LR trains every child of the
            model that NEW_LAYERS does not name at LR * BASE_LR_MULT.
        param_groups: parameters or groups to use instead of the model's.

    Raises:
        ValueError: an unknown name.
        TypeError: STAGED_LR with something that is no module.
    """
    check_availability(optim_cfg.NAME, AVAI_OPTIMS)
    if param_groups is not None:
        if optim_cfg.STAGED_LR:
            warnings.warn(
                "OPTIM.STAGED_LR is ignored because param_groups were given; "
                "put the learning rates into the groups",
                stacklevel=2,
            )
    elif optim_cfg.STAGED_LR:
        param_groups = _staged_groups(model, optim_cfg)
    else:
        param_groups = model.parameters() if isinstance(model, nn.Module) else model
    return _by_name(param_groups, optim_cfg)


def _by_name(params: Iterable[Any], cfg: CfgNode) -> Optimizer:
    params = listed(params)
    common: dict[str, Any] = {"lr": cfg.LR, "weight_decay": cfg.WEIGHT_DECAY}
    if cfg.NAME == "sgd":
        return prepared(_sgd(params, cfg, common))
    if cfg.NAME == "rmsprop":
        return torch.optim.RMSprop(params, **common, momentum=cfg.MOMENTUM, alpha=cfg.RMSPROP_ALPHA)
    common["betas"] = (cfg.ADAM_BETA1, cfg.ADAM_BETA2)
    common["eps"] = cfg.get("ADAM_EPS", 1e-8)
    if cfg.NAME == "radam":
        return RAdam(params, **common)
    common |= fused_option(params)
    if cfg.NAME == "adamw":
        return prepared(torch.optim.AdamW(params, **common))
    return prepared(torch.optim.Adam(params, **common, amsgrad=cfg.NAME == "amsgrad"))


def _sgd(params: Iterable[Any], cfg: CfgNode, common: dict[str, Any]) -> Optimizer:
    # Dampening does not touch a parameter's first step, which the fused kernel cannot tell alone.
    damped = cfg.MOMENTUM != 0 and cfg.SGD_DAMPNING != 0
    return torch.optim.SGD(
        params,
        **common,
        momentum=cfg.MOMENTUM,
        dampening=cfg.SGD_DAMPNING,
        nesterov=cfg.SGD_NESTEROV,
        **({} if damped else fused_option(params)),
    )


def _staged_groups(model: Any, cfg: CfgNode) -> list[dict[str, Any]]:
    if not isinstance(model, nn.Module):
        raise TypeError(
            "OPTIM.STAGED_LR needs the model itself (an nn.Module) to find OPTIM.NEW_LAYERS in it, "
            f"got a {type(model).__name__}"
        )
    if isinstance(model, nn.DataParallel):
        model = model.module
    new_layers = [cfg.NEW_LAYERS] if isinstance(cfg.NEW_LAYERS, str) else list(cfg.NEW_LAYERS)
    if not any(new_layers):
        warnings.warn(
            "OPTIM.NEW_LAYERS is empty, so OPTIM.STAGED_LR gives every layer LR * BASE_LR_MULT",
            stacklevel=3,
        )
    base: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, child in model.named_children():
        (new if name in new_layers else base).extend(child.parameters())
    return [{"params": base, "lr": cfg.LR * cfg.BASE_LR_MULT}, {"params": new}]
