"""A sampling from beginning to end. Safe to call in a notebook or in a job."""

from threadpoolctl import threadpool_limits

from l0core.context import RunContext, Stopped
from l0core.sampling.features import choose_features
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.result import FeaturesResult, SampleResult
from l0core.sampling.samples import choose_samples


def run(
    problem: SamplingProblem, hyperparameters: SamplingHyperparameters, context: RunContext
) -> SampleResult | FeaturesResult | Stopped:
    """Choose; the same problem, hyperparameters and seed give the same bits on the CPU.

    >>> problem = SamplingProblem.build([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [1.0, 2.0]])
    >>> result = run(problem, SamplingHyperparameters(count=2, epochs=50, comparisons=0), RunContext(seed=1))
    >>> result.summary["n_active"], result.selection["index"].size
    (2, 2)
    """
    choose = choose_features if hyperparameters.mode == "features" else choose_samples
    with threadpool_limits(1, user_api="blas"):  # on more it adds in another order
        return choose(problem, hyperparameters, context)
