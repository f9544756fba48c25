"""Evaluators: what ``trainer.test()`` prints and returns."""

from dassl.evaluation.base import EvaluatorBase
from dassl.evaluation.build import EVALUATOR_REGISTRY, build_evaluator
from dassl.evaluation.evaluator import Classification

__all__ = ["EVALUATOR_REGISTRY", "Classification", "EvaluatorBase", "build_evaluator"]
