"""The exact choice at the end of a training with gates: which weights stay, so that a number of parameters is met.

A parameter counts where it can matter: a weight between two units that are both alive, and the bias of such a unit. A
unit is alive if a weight that stays leads to it from something alive, and one leads on. What is dead is removed, so a
choice of m gates keeps fewer parameters than m where it cuts units off; both are searched for together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.pruning.network import WeightedPlace

Masks = list[NDArray[np.bool_]]  # one (units, units before, block) a layer
TOLERANCE = 0.01  # of the network's parameters
_TRIES = 64  # gates after the first that does not fit


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How much each gate of a layer wants to stay: (units,) where `by_unit`, else as the layer's weight by unit.

    `sizes` says how much each single weight carries; it decides between weights of one unit.
    """

    by_unit: bool
    scores: FloatArray
    sizes: FloatArray


def alive(masks: Masks) -> Masks:
    """Give the masks without weights from or to dead units.

    >>> first, second = np.array([[[True]], [[True]]]), np.array([[[True], [False]]])
    >>> [mask.ravel().tolist() for mask in alive([first, second])]
    [[True, False], [True, False]]
    """
    reached: Masks = []
    before: NDArray[np.bool_] = np.ones(masks[0].shape[1], np.bool_)
    for mask in masks:
        reached.append(mask & before[None, :, None])
        before = _any(reached[-1], (1, 2))
    useful: NDArray[np.bool_] = np.ones(masks[-1].shape[0], np.bool_)
    for i in reversed(range(len(masks))):
        reached[i] = reached[i] & useful[:, None, None]
        useful = _any(reached[i], (0, 2))
    return reached


def units_alive(masks: Masks) -> list[NDArray[np.bool_]]:
    """Give which units of each layer are alive, from masks that `alive` gave; outputs always are."""
    inner = [_any(mask, (1, 2)) for mask in masks[:-1]]
    return [*inner, np.ones(masks[-1].shape[0], np.bool_)]


def count(masks: Masks) -> int:
    """Give how many parameters stay: weights of masks that `alive` gave, and the biases of living units."""
    return sum(int(mask.sum()) for mask in masks) + sum(int(units.sum()) for units in units_alive(masks))


def fewest(places: Sequence[WeightedPlace]) -> int:
    """Give the parameters of one path through the network, with every output: fewer is no network."""
    return 2 * (len(places) - 1) + 1 + places[-1].units


def open_ones(rankings: Sequence[Ranking], *, above: float) -> Masks:
    """Give what stands behind gates with a score above `above`, and one path where there would be none."""
    opened = alive([_spread(ranking, ranking.scores > above) for ranking in rankings])
    if opened[-1].any():
        return opened
    return alive([mask | path for mask, path in zip(opened, _best_path(rankings), strict=True)])


def choose(rankings: Sequence[Ranking], goal: int) -> Masks:
    """Give masks that keep `goal` parameters, the highest scores first.

    Whole units where gates are on units, if that comes within 1 % of all parameters; else single weights of the last
    unit make up the difference. Raises nothing: a goal below `fewest` gives one path.
    """
    cut = _Cut(rankings)
    most = _largest(lambda m: cut.kept(m) <= goal, cut.gates)
    by_unit = all(ranking.by_unit for ranking in cut.free)
    below = cut.topped_up(most, goal) if by_unit else alive(cut.masks(most))
    if by_unit and _near(below, goal, rankings):
        return below
    sizes = [ranking.sizes for ranking in rankings]
    weights = [np.full(mask.shape, not r.by_unit) for mask, r in zip(below, rankings, strict=True)]
    filled = _filled(below, weights, sizes, goal)
    if count(filled) == goal or most == cut.gates:
        return filled
    above = alive(cut.masks(most + 1))
    return min(filled, _trimmed(above, sizes, goal), key=lambda masks: abs(count(masks) - goal))


class _Cut:
    """All gates of a network in one order."""

    def __init__(self, rankings: Sequence[Ranking]) -> None:
        self._rankings = rankings
        self.path = _best_path(rankings)
        scores = np.concatenate([ranking.scores.ravel() for ranking in rankings])
        self.gates = scores.size
        self._order = np.argsort(-scores, kind="stable")

    @property
    def free(self) -> Sequence[Ranking]:
        """The layers that have something to choose: not those whose every score is infinite."""
        return [ranking for ranking in self._rankings if not np.isposinf(ranking.scores).all()]

    def masks(self, m: int) -> Masks:
        """Give what stands behind the first m gates, and the path."""
        return self._behind(self._first(m))

    def topped_up(self, m: int, goal: int) -> Masks:
        """Give what lives behind the first m gates and behind those after them that still fit into `goal`."""
        kept = self._first(m)
        for gate in self._order[m : m + _TRIES]:
            kept[gate] = True
            kept[gate] = count(alive(self._behind(kept))) <= goal
        return alive(self._behind(kept))

    def _first(self, m: int) -> NDArray[np.bool_]:
        kept = np.zeros(self.gates, np.bool_)
        kept[self._order[:m]] = True
        return kept

    def _behind(self, kept: NDArray[np.bool_]) -> Masks:
        start, found = 0, []
        for ranking, path in zip(self._rankings, self.path, strict=True):
            of_layer = kept[start : start + ranking.scores.size].reshape(ranking.scores.shape)
            found.append(_spread(ranking, of_layer) | path)
            start += ranking.scores.size
        return found

    def kept(self, m: int) -> int:
        """Count the parameters of the first m gates."""
        return count(alive(self.masks(m)))


def _any(mask: NDArray[np.bool_], axes: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(mask.any(axes))


def _spread(ranking: Ranking, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give a mask of single weights from one of gates."""
    return np.broadcast_to(kept[:, None, None], ranking.sizes.shape).copy() if ranking.by_unit else kept.copy()


def _best_path(rankings: Sequence[Ranking]) -> Masks:
    """Give a way through the network by its best gates, from the outputs back; whole units where gates are on units."""
    path: Masks = []
    towards: int | None = None  # the unit the layer must lead to; any, where the layer behind takes whole units
    for ranking in reversed(rankings):
        mask = np.zeros(ranking.sizes.shape, np.bool_)
        if ranking.by_unit:
            mask[int(ranking.scores.argmax()) if towards is None else towards] = True
            towards = None
        else:
            row, before, place = _best_weight(ranking, towards)
            mask[row, before, place], towards = True, before
        path.append(mask)
    return path[::-1]


def _best_weight(ranking: Ranking, row: int | None) -> tuple[int, int, int]:
    """Give the place of the best weight, in one row or anywhere; of several the largest."""
    scores, sizes = ranking.scores, ranking.sizes
    if row is not None:
        elsewhere = np.arange(len(scores)) != row
        scores = np.where(elsewhere[:, None, None], -np.inf, scores)
    best = np.where(scores == scores.max(), sizes, -1.0)
    place = np.unravel_index(int(best.argmax()), best.shape)
    return int(place[0]), int(place[1]), int(place[2])


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """Give the largest m from 0 to `most` for which `holds`, which is true up to some m and false beyond; 0 if none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _near(masks: Masks, goal: int, rankings: Sequence[Ranking]) -> bool:
    parameters = sum(ranking.sizes.size + len(ranking.sizes) for ranking in rankings)
    return abs(count(masks) - goal) <= TOLERANCE * parameters


def _filled(masks: Masks, allowed: Masks, sizes: Sequence[FloatArray], goal: int) -> Masks:
    """Add the largest allowed weights between living units until `goal` is met: each is one parameter more."""
    missing = goal - count(masks)
    if missing <= 0:
        return masks
    living = [np.ones(masks[0].shape[1], np.bool_), *units_alive(masks)]
    free = [
        may & ~mask & after[:, None, None] & before[None, :, None]
        for may, mask, before, after in zip(allowed, masks, living[:-1], living[1:], strict=True)
    ]
    return _changed(masks, _in_order(free, sizes)[::-1][:missing], value=True)


def _trimmed(masks: Masks, sizes: Sequence[FloatArray], goal: int) -> Masks:
    """Take the smallest weights away until `goal` parameters stay; each living unit keeps its largest ties."""
    free = [mask & ~ties for mask, ties in zip(masks, _ties(masks, sizes), strict=True)]
    return _changed(masks, _in_order(free, sizes)[: count(masks) - goal], value=False)


def _ties(masks: Masks, sizes: Sequence[FloatArray]) -> Masks:
    """Give the largest weight into and the largest out of every unit between two layers: without one it were dead."""
    found: Masks = []
    for i, (mask, size) in enumerate(zip(masks, sizes, strict=True)):
        kept = np.where(mask, size, -1.0)
        ties = np.zeros(mask.shape, np.bool_)
        if i < len(masks) - 1:
            ties |= kept == kept.max((1, 2), keepdims=True)
        if i > 0:
            ties |= kept == kept.max((0, 2), keepdims=True)
        found.append(ties & mask)
    return found


def _in_order(free: Masks, sizes: Sequence[FloatArray]) -> NDArray[np.intp]:
    """Give the places of the free weights in all layers' weights, one after the other, the smallest weight first."""
    places = np.flatnonzero(np.concatenate([may.ravel() for may in free]))
    worth = np.concatenate([size.ravel() for size in sizes])[places]
    return places[np.argsort(worth, kind="stable")]


def _changed(masks: Masks, places: NDArray[np.intp], *, value: bool) -> Masks:
    """Set the weights at `places` to `value`."""
    flat = np.concatenate([mask.ravel() for mask in masks])
    flat[places] = value
    ends = np.cumsum([mask.size for mask in masks])[:-1]
    return [part.reshape(mask.shape) for part, mask in zip(np.split(flat, ends), masks, strict=True)]
