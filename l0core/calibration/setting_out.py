"""What a selection sets out with: the landscape, the gates, the price of a unit and the first parameters."""

import math

import numpy as np
import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.arrays import FloatArray
from l0core.calibration.budget import BudgetPrice, FixedPrice, Price
from l0core.calibration.descent import DrawnGates, Gates, Landscape, Matrix
from l0core.calibration.objective import Objective, price_of_a_unit
from l0core.calibration.options import CalibrationHyperparameters
from l0core.context import RunContext


def landscape(
    objective: Objective,
    options: CalibrationHyperparameters,
    shape: hc.GateShape,
    matrix: Matrix,
    *,
    norms: FloatArray,
    device: str,
) -> Landscape:
    """Give what is minimised where the loss is the square, in float32; `norms` are ||a_j||^2."""
    spread = options.lambda_spread / objective.n_candidates
    return Landscape(
        matrix=matrix,
        factor=_tensor(objective.factor, device),
        goal=_tensor(objective.goal, device),
        squared_norms=_tensor(norms, device),
        shape=shape,
        lambda_l2=options.lambda_l2,
        spread=_tensor(math.sqrt(spread) / objective.prior, device) if spread else None,
    )


def gate_strategy(options: CalibrationHyperparameters, shape: hc.GateShape, context: RunContext) -> Gates:
    """Give how the gates enter an epoch: drawn, or by their moments."""
    if options.gradient == "sampled":
        return DrawnGates(shape=shape, seed=context.seed)
    return hc.GateMoments(shape, device=context.device)


def price_policy(objective: Objective, options: CalibrationHyperparameters) -> Price:
    """Give what decides the price of a unit."""
    if options.record_budget is None:
        return FixedPrice(start=price_of_a_unit(objective, options))
    return BudgetPrice(
        start=price_of_a_unit(objective, options),
        budget=options.record_budget,
        candidates=objective.n_candidates,
        epochs=options.epochs,
    )


def starting_point(objective: Objective, options: CalibrationHyperparameters, context: RunContext) -> Tensor:
    """Give the parameters before the first step (2 x units), their noise from the seed of the run."""
    generator = torch.Generator(device=context.device).manual_seed(context.seed)
    log_weight = _tensor(np.log(objective.prior), context.device)  # finite where the weight itself is 0 in float32
    log_alpha = torch.full_like(log_weight, hc.starting_log_alpha(options.init_keep_prob))
    return torch.stack(
        [
            start + sd * torch.randn(start.shape, generator=generator, device=start.device, dtype=start.dtype)
            for start, sd in (
                (log_weight, options.log_weight_jitter_sd),
                (log_alpha, options.log_alpha_jitter_sd),
            )
        ]
    )


def _tensor(values: FloatArray, device: str) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device)
