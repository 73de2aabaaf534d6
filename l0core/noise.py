"""Where gates and layers take their random numbers from: a generator handed in, or one of their own.

The global generators of torch and numpy are read (`torch.initial_seed()`) and never advanced. A source without a
generator is seeded from that seed and from how many sources this process made before it: a program that begins with
`torch.manual_seed` gives the same numbers every time it runs, and no two sources share a stream.
"""

import itertools
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.errors import InvalidHyperparameter
from l0core.scalars import whole

_made = itertools.count()
_WORD = 2**32 - 1


class Noise:
    """The random numbers of one gate or layer, on whatever device its tensors are.

    `generator` is used as it is on its own device; on another one a generator is seeded from it at first use. A copy
    (`copy.deepcopy`) never gives the same numbers: it makes its own generator, seeded from the first one's seed. A
    pickled source comes back in the state it had.

    >>> first, second = Noise(), Noise()
    >>> bool((first.logistic(torch.zeros(3)) == second.logistic(torch.zeros(3))).any())
    False
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        if generator is not None and not isinstance(generator, torch.Generator):
            raise InvalidHyperparameter(
                f"generator is {generator!r}; it must be a torch.Generator or None", pointer="/generator"
            )
        source = _new_generator(torch.initial_seed()) if generator is None else generator
        self._generators = {source.device.type: source}
        self._source = source
        self._stream: int | None = None

    def on(self, device: torch.device) -> torch.Generator:
        """Give the generator of this source for `device`."""
        if device.type not in self._generators:
            self._generators[device.type] = torch.Generator(device).manual_seed(_drawn_seed(self._source))
        return self._generators[device.type]

    def logistic(self, like: Tensor) -> Tensor:
        """Draw logit(u), u uniform on (0, 1), in the shape, type and device of `like`."""
        return hc.logistic_noise(like, self.on(like.device))

    def normal(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Draw standard normal float32 numbers."""
        source = self.on(torch.device(device))
        return torch.randn(tuple(shape), generator=source, device=device, dtype=torch.float32)

    def stream(self) -> int:
        """Give the seed of draws that are counted and not taken in turn (`logistic_by_number`): drawn once."""
        if self._stream is None:
            self._stream = _drawn_seed(self._source)
        return self._stream

    def permutation(self, n: int) -> Tensor:
        """Give 0 ... n-1 in a random order, on the CPU."""
        return torch.randperm(n, generator=self.on(torch.device("cpu")))

    def __deepcopy__(self, _memo: object) -> Self:
        return type(self)(_new_generator(self._source.initial_seed()))


def noise_of(*, seed: int | None, generator: torch.Generator | None) -> Noise:
    """Give the source that `seed` or `generator` decides, at most one of which is given."""
    if seed is None:
        return Noise(generator)
    if generator is not None:
        raise InvalidHyperparameter(
            f"seed is {seed} and a generator is given too: the two exclude one another", pointer="/seed"
        )
    return seeded(seed, name="seed")


def seeded(seed: int, *, name: str) -> Noise:
    """Give the source that a seed from outside decides; `name` is what the caller calls it."""
    return Noise(torch.Generator().manual_seed(whole(seed, name=name, at_least=0, at_most=2**63 - 1)))


def _new_generator(seed: int) -> torch.Generator:
    entropy = np.random.SeedSequence((seed % 2**64, next(_made)))
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _drawn_seed(source: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=source, device=source.device).item())


def epoch_key(seed: int, epoch: int) -> tuple[int, int]:
    """Give the two 32-bit words that decide the gates of an epoch (splitmix64 of seed and epoch, Steele et al. 2014).

    >>> epoch_key(1, 2) == epoch_key(1, 2), epoch_key(1, 2) == epoch_key(1, 3)
    (True, False)
    """
    z = (seed + (epoch + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    return z & _WORD, z >> 32


def logistic_by_number(like: Tensor, key: tuple[int, int]) -> Tensor:
    """Give logit(u) for numbers 0, 1, ... of a vector like `like`: each from its number and `key` alone.

    The order in which units are worked on, and by how many threads, cannot change a draw. The hash is lowbias32
    (Wellons 2018), twice; `calibration.kernels.maths` has the same for the CPU kernel.
    """
    low, high = key
    number = torch.arange(like.shape[0], device=like.device, dtype=torch.int64)
    word = _scrambled(_scrambled(number ^ low) ^ high)
    u = ((word >> 9).to(torch.float32) + 0.5) * 2.0**-23
    return torch.log(u / (1 - u)).to(like.dtype)


def _scrambled(word: Tensor) -> Tensor:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = ((word ^ (word >> shift)) * factor) & _WORD
    return word ^ (word >> 16)
