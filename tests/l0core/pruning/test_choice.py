"""The exact choice: the number of parameters that was asked for, over random networks, and nothing dead among them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.pruning.choice import Ranking, alive, choose, count, fewest, open_ones, units_alive
from l0core.pruning.network import Plan
from tests.l0core.pruning.networks import plans

FORMS = ("units", "weights", "mixed")


def ranked(plan: Plan, form: str, seed: int) -> list[Ranking]:
    """Random scores; `units` leaves the last layer without gates, as a training does."""
    rng, found = np.random.default_rng(seed), []
    for i, place in enumerate(plan.weighted):
        last = i == len(plan.weighted) - 1
        by_unit = form == "units" or (form == "mixed" and not last and rng.random() < 0.5)
        scores = rng.normal(size=(place.units,) if by_unit else place.by_unit)
        if form == "units" and last:
            scores = np.full(place.units, np.inf)
        found.append(Ranking(by_unit=by_unit, scores=scores, sizes=np.abs(rng.normal(size=place.by_unit))))
    return found


@settings(max_examples=150, deadline=None)
@given(plan=plans(), form=st.sampled_from(FORMS), share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_choice_keeps_the_number_asked_for_within_a_hundredth(plan: Plan, form: str, share: float, seed: int) -> None:
    least = fewest(plan.weighted)
    goal = round(least + share * (plan.parameters - least))
    kept = choose(ranked(plan, form, seed), goal)
    assert abs(count(kept) - goal) <= max(0.01 * plan.parameters, 2)  # a unit comes with two weights and a bias


@settings(max_examples=100, deadline=None)
@given(plan=plans(), form=st.sampled_from(FORMS), seed=st.integers(0, 2**32 - 1))
def test_every_weight_that_is_kept_lies_on_a_way_from_an_input_to_an_output(plan: Plan, form: str, seed: int) -> None:
    goal = max(fewest(plan.weighted), plan.parameters // 4)
    kept = choose(ranked(plan, form, seed), goal)
    assert all((mask == again).all() for mask, again in zip(kept, alive(kept), strict=True))
    assert kept[-1].any()


@settings(max_examples=50, deadline=None)
@given(plan=plans(), form=st.sampled_from(FORMS), seed=st.integers(0, 2**32 - 1))
def test_all_parameters_are_kept_where_all_are_asked_for(plan: Plan, form: str, seed: int) -> None:
    assert count(choose(ranked(plan, form, seed), plan.parameters)) == plan.parameters


def brute_force_count(masks: list[np.ndarray]) -> int:
    """Count by removing one dead unit after the other until none is left."""
    masks = [mask.copy() for mask in masks]
    before = -1
    while before != sum(mask.sum() for mask in masks):
        before = sum(mask.sum() for mask in masks)
        for i in range(len(masks) - 1):
            dead = ~masks[i].any((1, 2)) | ~masks[i + 1].any((0, 2))
            masks[i][dead], masks[i + 1][:, dead] = False, False
    biases = sum(int(mask.any((1, 2)).sum()) for mask in masks[:-1]) + len(masks[-1])
    return int(before) + biases


@settings(max_examples=100, deadline=None)
@given(plan=plans(), density=st.floats(0.05, 0.9), seed=st.integers(0, 2**32 - 1))
def test_one_pass_each_way_finds_all_that_is_dead(plan: Plan, density: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random(place.by_unit) < density for place in plan.weighted]
    assert count(alive(masks)) == brute_force_count(masks)


def layer(scores: list[list[float]], sizes: list[list[float]] | None = None) -> Ranking:
    array = np.array(scores)[:, :, None]
    return Ranking(by_unit=False, scores=array, sizes=np.abs(array) if sizes is None else np.array(sizes)[:, :, None])


def test_what_is_open_stays_and_nothing_else() -> None:
    kept = open_ones([layer([[1.0, -1.0], [-1.0, -1.0]]), layer([[1.0, 1.0]])], above=0.0)
    assert [mask.ravel().tolist() for mask in kept] == [[True, False, False, False], [True, False]]


def test_where_no_way_is_open_the_best_one_is_kept() -> None:
    kept = open_ones([layer([[-3.0, -2.0], [-1.0, -4.0]]), layer([[-1.0, -2.0]])], above=0.0)
    assert [mask.ravel().tolist() for mask in kept] == [[False, True, False, False], [True, False]]


def test_whole_units_stay_whole_where_the_target_allows_it() -> None:
    rng = np.random.default_rng(0)
    hidden = Ranking(by_unit=True, scores=rng.normal(size=200), sizes=np.abs(rng.normal(size=(200, 30, 1))))
    outputs = Ranking(by_unit=True, scores=np.full(5, np.inf), sizes=np.abs(rng.normal(size=(5, 200, 1))))
    kept = choose([hidden, outputs], 1_000)
    (units, _) = units_alive(kept)
    assert units.sum() == 27  # each 30 weights in, a bias, 5 weights out; 5 biases of the outputs
    assert set(np.flatnonzero(units)) == set(np.argsort(-hidden.scores)[:27])
    assert kept[0][units].all()
    assert count(kept) == 27 * 36 + 5
