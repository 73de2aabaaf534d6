"""Modes `samples` and `hybrid`: units that stand for the whole, their weights, and what they are held against."""

from dataclasses import dataclass

from l0core.calibration.doubts import doubts
from l0core.calibration.objective import Objective
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.checkpoint import Identity
from l0core.context import FindingReport, RunContext, StageReport, Stopped
from l0core.errors import InfeasibleBudget
from l0core.findings import Finding
from l0core.history import History
from l0core.sampling import chances
from l0core.sampling.chances import Sample
from l0core.sampling.comparing import Comparison, compared
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.result import SampleResult, last_checkpoint
from l0core.sampling.rows import as_calibration
from l0core.sampling.selection import Fit, Selected, select
from l0core.sampling.streams import Stream, stream


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One run's problem and settings; `calibration` is what the sample reproduces, `findings` what was found of it."""

    problem: SamplingProblem
    options: SamplingHyperparameters
    context: RunContext
    identity: Identity
    calibration: CalibrationProblem
    findings: tuple[Finding, ...]


def choose_samples(
    problem: SamplingProblem, options: SamplingHyperparameters, context: RunContext
) -> SampleResult | Stopped:
    """Choose exactly `count` units and weigh them; raises InfeasibleBudget where there are not so many."""
    _check_count(problem, options.count)
    context.report(StageReport(stage="preparing"))
    work = _prepared(problem, options, context)
    context.report(StageReport(stage="selecting"))
    selected = select(work.calibration, options.count - options.n_random, options, context, work.identity)
    if isinstance(selected, Stopped):
        return selected
    return _weighed(work, _sample(work, selected), selected)


def held_against(
    problem: SamplingProblem, options: SamplingHyperparameters, context: RunContext
) -> tuple[Comparison, ...]:
    """Give what a sample of `problem` under `options` is held against, without choosing one."""
    calibration = as_calibration(problem, options, stream(context.seed, Stream.COVERAGE))
    return _compared(problem, Fit.of(calibration, options.count), options, context)


def _compared(
    problem: SamplingProblem, fit: Fit, options: SamplingHyperparameters, context: RunContext
) -> tuple[Comparison, ...]:
    return compared(problem, fit, options, stream(context.seed, Stream.COMPARISONS), context)


def _check_count(problem: SamplingProblem, count: int) -> None:
    available = int((problem.design_weights > 0).sum())
    if count > available:
        raise InfeasibleBudget(
            f"count is {count}, and {available} units have a design weight above 0: ask for at most {available}",
            budget=count,
            available=available,
            pointer="/hyperparameters/count",
        )


def _prepared(problem: SamplingProblem, options: SamplingHyperparameters, context: RunContext) -> _Work:
    calibration = as_calibration(problem, options, stream(context.seed, Stream.COVERAGE))
    findings = _doubted(calibration) if not problem.asks_for_the_whole else ()
    for finding in findings:
        context.report(FindingReport.of(finding))
    return _Work(
        problem=problem,
        options=options,
        context=context,
        identity=Identity(problem_sha256=problem.sha256, hyperparameters=options.model_dump(), seed=context.seed),
        calibration=calibration,
        findings=findings,
    )


def _doubted(calibration: CalibrationProblem) -> tuple[Finding, ...]:
    """Give what no weights can do. All units together meet the totals of the whole; others may be out of reach."""
    options = CalibrationHyperparameters()
    objective: Objective = Fit.of(calibration, 1).objective
    return doubts(calibration, objective, options).findings


def _sample(work: _Work, selected: Selected) -> Sample:
    if not work.options.n_random:
        return chances.chosen(selected.units)
    rng = stream(work.context.seed, Stream.CHANCES)
    return chances.with_random(selected.units, work.problem.design_weights, work.options.n_random, rng)


def _weighed(work: _Work, sample: Sample, selected: Selected) -> SampleResult | Stopped:
    context, design = work.context, work.problem.design_weights
    fit = Fit.of(work.calibration, work.options.count)
    weights = selected.weights
    if work.options.n_random:
        weights = fit.weights(sample.units, sample.expanded(design), stop=context.should_stop)
    context.report(StageReport(stage="evaluating"))
    comparisons = _compared(work.problem, fit, work.options, context)
    if context.should_stop():
        return Stopped(epoch=_last_epoch(selected.history))
    return SampleResult(
        problem=work.problem,
        options=work.options,
        identity=work.identity,
        sample=sample,
        weights=weights,
        loss=fit.loss(weights),
        rows=int((~work.calibration.holdout).sum()),
        history=selected.history,
        comparisons=comparisons,
        checkpoint=last_checkpoint(context),
        findings=work.findings,
    )


def _last_epoch(history: History) -> int:
    return history.steps[-1]
