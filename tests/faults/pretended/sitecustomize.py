"""Loaded by Python itself in a process under test: lets it be of a later release, or see a card that is not there.

L0TEST_KNOWS is the version of calibration it knows; from 2 on there is a hyperparameter `sharpness`. L0TEST_CARDS is a
file with the names of the cards that are there; what runs on them runs on the CPU.
"""

import os
import sys
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

_KNOWS, _CARDS = int(os.environ.get("L0TEST_KNOWS", "1")), os.environ.get("L0TEST_CARDS")


def _be_of_a_later_release() -> None:
    from pydantic import create_model

    from l0core.kinds import KINDS

    kind = KINDS["calibration"]
    newer = create_model("NewerHyperparameters", __base__=kind.hyperparameters, sharpness=(float, 1.0))
    KINDS["calibration"] = replace(kind, version=_KNOWS, hyperparameters=newer)


def _really(device: Any) -> Any:
    path = Path(_CARDS or "")
    there = path.read_text().split() if path.exists() else []
    return "cpu" if str(device) in there else device


def _pretend_cards() -> None:
    from l0core import context, tensors

    look, make = tensors.device, context.RunContext.__init__

    @wraps(make)
    def made(self: Any, *, device: str = "cpu", **rest: Any) -> None:
        make(self, device=_really(device), **rest)

    tensors.device = lambda value: look(_really(value))
    setattr(context.RunContext, "__init__", made)  # noqa: B010 - a class of the product


if _KNOWS > 1:
    _be_of_a_later_release()
if _CARDS and {"worker.card", "worker.forks"} & set(sys.orig_argv):
    _pretend_cards()
