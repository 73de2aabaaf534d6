"""Sources of random numbers: never shared, repeatable from one line of the program, and nobody else's."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from l0core import hard_concrete as hc
from l0core.errors import InvalidHyperparameter
from l0core.noise import Noise, epoch_key, logistic_by_number, noise_of, seeded

PROGRAM = """
import copy, torch
torch.manual_seed({seed})
from l0core import HardConcrete, HybridGate, L0Linear
from l0core.noise import Noise
source = Noise()
print(source.logistic(torch.zeros(4)).tolist(), copy.deepcopy(source).normal((4,)).tolist())
print(HardConcrete(4)().tolist(), L0Linear(2, 2).weight.tolist(), HybridGate(50).select(torch.arange(50.0))[1].tolist())
"""
MANY = 200_000
seeds, epochs = st.integers(0, 2**63 - 1), st.integers(0, 10_000_000)


def numbers(source: Noise, n: int = 200) -> Tensor:
    return source.logistic(torch.zeros(n, dtype=torch.float64))  # 53 bits: no two are alike by chance


def printed(seed: int) -> str:
    run = [sys.executable, "-c", PROGRAM.format(seed=seed)]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def test_a_hundred_sources_share_no_stream() -> None:
    drawn = torch.stack([numbers(Noise(), 20) for _ in range(100)])
    assert len(set(drawn.flatten().tolist())) == drawn.numel()
    for one, other in combinations(drawn, 2):
        assert not torch.isin(one, other).any()


def test_sources_made_after_the_same_global_seed_share_no_stream() -> None:
    state = torch.get_rng_state()
    torch.manual_seed(0)
    first = numbers(Noise())
    torch.manual_seed(0)
    second = numbers(Noise())
    torch.set_rng_state(state)
    assert not torch.isin(first, second).any()


def test_a_program_that_begins_with_a_seed_gives_the_same_numbers_every_time() -> None:
    first, again, other = printed(1), printed(1), printed(2)
    assert first == again
    assert first.count("[") >= 5
    assert first.splitlines()[0] != other.splitlines()[0]


USES: dict[str, Callable[[Noise], object]] = {
    "making": lambda _: Noise(),
    "logistic": numbers,
    "normal": lambda source: source.normal((3, 2)),
    "permutation": lambda source: source.permutation(10),
    "stream": lambda source: logistic_by_number(torch.zeros(9), epoch_key(source.stream(), 0)),
    "copying": copy.deepcopy,
    "pickling": lambda source: pickle.loads(pickle.dumps(source)),
    "seeding": lambda _: noise_of(seed=3, generator=None),
}


@pytest.mark.parametrize("use", USES)
def test_no_use_of_a_source_touches_the_global_generators(use: str) -> None:
    before = torch.get_rng_state(), np.random.get_state(legacy=False)  # the one that must not move
    USES[use](Noise())
    after = torch.get_rng_state(), np.random.get_state(legacy=False)
    assert torch.equal(before[0], after[0])
    np.testing.assert_equal(before[1], after[1])


def test_a_generator_handed_in_is_the_one_that_is_used() -> None:
    generator, twin = torch.Generator().manual_seed(8), torch.Generator().manual_seed(8)
    source = Noise(generator)
    assert source.on(torch.device("cpu")) is generator
    like = torch.zeros(5)
    assert torch.equal(source.logistic(like), hc.logistic_noise(like, twin))
    assert torch.equal(source.normal((2, 3)), torch.randn(2, 3, generator=twin))
    assert torch.equal(source.permutation(9), torch.randperm(9, generator=twin))
    assert torch.equal(generator.get_state(), twin.get_state())


def test_a_copy_draws_other_numbers_and_leaves_the_first_alone() -> None:
    source, untouched = Noise(torch.Generator().manual_seed(8)), Noise(torch.Generator().manual_seed(8))
    copies = [copy.deepcopy(source) for _ in range(3)]
    copies.append(copy.deepcopy(copies[0]))
    drawn = torch.stack([*map(numbers, copies), numbers(source)])
    assert torch.equal(drawn[-1], numbers(untouched))
    for one, other in combinations(drawn, 2):
        assert not torch.isin(one, other).any()


def test_a_source_held_twice_is_still_one_source_in_a_copy() -> None:
    source = Noise()
    first, second = copy.deepcopy([source, source])
    assert first is second


def test_a_pickled_source_goes_on_where_it_was() -> None:
    source = Noise()
    numbers(source)
    first, second = pickle.loads(pickle.dumps([source, source]))
    assert first is second
    for _ in range(2):
        assert torch.equal(numbers(first), numbers(source))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_numbers_come_in_the_shape_and_type_asked_for(dtype: torch.dtype) -> None:
    source = Noise()
    drawn = source.logistic(torch.zeros(2, 3, dtype=dtype))
    assert (drawn.shape, drawn.dtype) == (torch.Size([2, 3]), dtype)
    assert source.normal((4, 1)).shape == (4, 1)
    assert sorted(source.permutation(30).tolist()) == list(range(30))


@pytest.mark.parametrize("wrong", [3, "cpu", np.random.default_rng(1)])
def test_what_is_no_torch_generator_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=r"generator is .*; it must be a torch\.Generator") as refusal:
        Noise(wrong)  # type: ignore[arg-type]  # what this test is about
    assert repr(wrong) in str(refusal.value)
    assert refusal.value.pointer == "/generator"


def test_a_seed_decides_every_number() -> None:
    first, again, other = (noise_of(seed=seed, generator=None) for seed in (5, 5, 6))
    assert torch.equal(numbers(first), numbers(again))
    assert not torch.isin(numbers(first), numbers(other)).any()


def test_without_a_seed_the_generator_is_used_and_without_both_there_is_a_source_of_its_own() -> None:
    generator = torch.Generator()
    assert noise_of(seed=None, generator=generator).on(torch.device("cpu")) is generator
    one, other = noise_of(seed=None, generator=None), noise_of(seed=None, generator=None)
    assert not torch.isin(numbers(one), numbers(other)).any()


def test_a_seed_and_a_generator_together_are_refused() -> None:
    with pytest.raises(InvalidHyperparameter, match="seed is 4 and a generator is given too"):
        noise_of(seed=4, generator=torch.Generator())


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "7", 2**63])
def test_a_seed_that_is_no_whole_number_in_range_is_refused_under_its_own_name(wrong: object) -> None:
    with pytest.raises(InvalidHyperparameter) as refusal:
        noise_of(seed=wrong, generator=None)  # type: ignore[arg-type]  # what this test is about
    assert str(refusal.value).startswith(f"seed is {wrong!r}; it must be a whole number")
    with pytest.raises(InvalidHyperparameter, match=r"^random_seed is "):
        seeded(wrong, name="random_seed")  # type: ignore[arg-type]


# Numbers that are counted and not taken in turn.


def counted(seed: int, epoch: int, n: int = MANY) -> Tensor:
    return logistic_by_number(torch.zeros(n), epoch_key(seed, epoch))


def test_the_stream_of_a_source_is_drawn_once_and_goes_with_it() -> None:
    source, twin, other = (Noise(torch.Generator().manual_seed(seed)) for seed in (8, 8, 9))
    numbers(source)
    numbers(twin)
    stream = source.stream()
    assert 0 <= stream == twin.stream() != other.stream()
    numbers(source)
    assert source.stream() == pickle.loads(pickle.dumps(source)).stream() == stream
    copies = [copy.deepcopy(source).stream() for _ in range(3)]
    assert len({stream, *copies}) == 4


def test_a_stream_takes_one_number_of_its_generator_and_what_is_counted_in_it_none() -> None:
    generator, twin = torch.Generator().manual_seed(8), torch.Generator().manual_seed(8)
    stream = Noise(generator).stream()
    assert stream == int(torch.randint(2**62, (1,), generator=twin))
    counted(stream, 0, 100)
    assert torch.equal(generator.get_state(), twin.get_state())


@given(seed=seeds, epoch=epochs)
def test_a_key_is_two_words_of_32_bits_that_its_seed_and_epoch_decide(seed: int, epoch: int) -> None:
    low, high = epoch_key(seed, epoch)
    assert 0 <= low < 2**32
    assert 0 <= high < 2**32
    assert epoch_key(seed, epoch) == (low, high) != epoch_key(seed, epoch + 1)
    assert epoch_key(seed + 1, epoch) != (low, high)


def test_the_keys_are_splitmix64_s() -> None:
    """The first five numbers of its public domain code, seeded with 1234567 (as Rosetta Code records them)."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [low + (high << 32) for low, high in (epoch_key(1234567, epoch) for epoch in range(5))] == expected


def test_no_two_keys_of_many_epochs_and_seeds_are_alike() -> None:
    keys = {epoch_key(seed, epoch) for seed in range(100) for epoch in range(1000)}
    assert len(keys) == 100_000
    for words in zip(*keys, strict=True):
        bits = np.unpackbits(np.array(words, dtype=np.uint32).view(np.uint8)).reshape(-1, 32)
        np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=5 * 0.5 / np.sqrt(len(keys)))


@settings(deadline=None, max_examples=25)
@given(seed=seeds, epoch=epochs)
def test_what_is_counted_has_the_logistic_distribution(seed: int, epoch: int) -> None:
    """Mean 0, variance pi^2 / 3, and u uniform: each within six standard errors; and finite."""
    drawn = counted(seed, epoch).double()
    sd = np.pi / np.sqrt(3)
    assert bool(torch.isfinite(drawn).all())
    assert abs(drawn.mean().item()) < 6 * sd / np.sqrt(MANY)
    kurtosis = 4.2
    assert drawn.var().item() == pytest.approx(sd**2, abs=6 * sd**2 * np.sqrt((kurtosis - 1) / MANY))
    tenths = torch.histc(torch.sigmoid(drawn), bins=10, min=0, max=1)
    np.testing.assert_allclose(tenths.numpy() / MANY, 0.1, atol=6 * np.sqrt(0.1 * 0.9 / MANY))


@settings(deadline=None, max_examples=25)
@given(seed=seeds, epoch=epochs, apart=st.integers(1, 1000))
def test_epochs_seeds_and_neighbours_are_not_correlated(seed: int, epoch: int, apart: int) -> None:
    first = counted(seed, epoch)
    for other in (counted(seed, epoch + apart), counted(seed + apart, epoch), first.roll(apart)):
        assert not torch.equal(first, other)
        correlation = torch.corrcoef(torch.stack([first, other]).double())[0, 1].item()
        assert abs(correlation) < 6 / np.sqrt(MANY)


@given(seed=seeds, epoch=epochs, shorter=st.integers(0, 99))
def test_a_number_s_draw_does_not_depend_on_how_many_there_are(seed: int, epoch: int, shorter: int) -> None:
    assert torch.equal(counted(seed, epoch, shorter), counted(seed, epoch, 100)[:shorter])


def test_either_word_of_a_key_changes_every_draw_but_a_few() -> None:
    """Two draws are alike by chance once in 2^23."""
    drawn = [logistic_by_number(torch.zeros(1000), key) for key in ((1, 2), (1, 3), (2, 2), (2, 1))]
    assert all(int((one == other).sum()) <= 2 for one, other in combinations(drawn, 2))


def test_different_numbers_have_different_draws() -> None:
    """2^23 values of u: of a thousand numbers about 0.06 pairs fall together, of 32-bit words none does."""
    assert len(set(counted(1, 0, 1000).tolist())) >= 998


@pytest.mark.parametrize("key", [(0, 0), (2**32 - 1, 2**32 - 1), (0, 2**32 - 1), (2**31, 1)])
def test_a_key_at_the_end_of_its_range_draws_finite_numbers_too(key: tuple[int, int]) -> None:
    drawn = logistic_by_number(torch.zeros(MANY), key)
    assert bool(torch.isfinite(drawn).all())
    assert len(set(drawn.tolist())) > 0.9 * MANY


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_counted_comes_in_the_type_asked_for_and_is_the_same_but_for_its_digits(dtype: torch.dtype) -> None:
    drawn = logistic_by_number(torch.zeros(50, dtype=dtype), epoch_key(1, 2))
    assert (drawn.shape, drawn.dtype) == ((50,), dtype)
    assert torch.equal(drawn, counted(1, 2, 50).to(dtype))
