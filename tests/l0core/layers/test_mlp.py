"""`SparseMLP`: three gated layers, its penalties and counts, and l0-python's names."""

import pytest
import torch

from l0core.errors import InvalidHyperparameter
from l0core.layers import SparseMLP, compact, prune_model
from tests.l0core.layers.gated_nets import all_gates, close, opened, randn, seeded


def net(**settings: bool) -> SparseMLP:
    return SparseMLP(12, 8, 3, generator=seeded(), **settings)


def test_its_sizes_are_those_of_the_paper_unless_told() -> None:
    built = SparseMLP()
    assert [tuple(layer.weight.shape) for layer in (built.fc1, built.fc2, built.fc3)] == [
        (256, 784),
        (256, 256),
        (10, 256),
    ]


@pytest.mark.parametrize("structured", [True, False])
def test_images_are_flattened(structured: bool) -> None:
    built = net(structured=structured).eval()
    images = randn(5, 1, 3, 4)
    assert built(images).shape == (5, 3)
    assert torch.equal(built(images), built(images.flatten(1)))


def test_with_every_gate_open_it_is_three_layers_with_relu_between_them() -> None:
    built = net()
    opened(built)
    x = randn(5, 12)
    hidden = torch.relu(x @ built.fc1.weight.T)
    expected = torch.relu(hidden @ built.fc2.weight.T) @ built.fc3.weight.T
    torch.testing.assert_close(built(x), expected)


def test_structured_gates_whole_hidden_features_and_never_outputs() -> None:
    built = net(structured=True)
    assert [gates.gate_size for gates in all_gates(built)] == [(8,), (8,), (3, 8)]


def test_the_l0_penalty_is_the_sum_over_its_layers_under_both_names() -> None:
    built = net()
    expected = sum(layer.get_l0_penalty() for layer in (built.fc1, built.fc2, built.fc3))
    torch.testing.assert_close(built.get_l0_penalty(), expected)
    torch.testing.assert_close(built.get_l0_loss(), expected)


def test_the_l2_penalty_is_zero_unless_asked_for_under_both_names() -> None:
    silent, asked = net(), net(use_l2=True)
    assert (silent.get_l2_penalty().item(), silent.get_l2_loss().item()) == (0, 0)
    expected = sum(layer.get_l2_penalty() for layer in (asked.fc1, asked.fc2, asked.fc3))
    torch.testing.assert_close(asked.get_l2_penalty(), expected)
    torch.testing.assert_close(asked.get_l2_loss(), expected)
    assert asked.get_l2_loss().item() > 0


def test_sparsity_is_that_of_all_gated_parameters_together() -> None:
    built = net(structured=True)
    opened(built)
    close(built.fc1, 0, 1)
    close(built.fc3, 0)
    sizes, closed = (8 * 13, 8 * 9, 3 * 8), 2 * 13 + 8
    assert built.get_sparsity() == pytest.approx(closed / sum(sizes))
    stats = built.get_sparsity_stats()
    assert [stats[name]["total_params"] for name in ("fc1", "fc2", "fc3")] == list(sizes)
    assert stats["fc1"] == {"sparsity": pytest.approx(0.25), "active_params": 6 * 13, "total_params": 8 * 13}


def test_training_with_the_penalty_closes_gates() -> None:
    built = net()
    optimiser = torch.optim.Adam(built.parameters(), lr=0.1)
    x, before = randn(64, 12), built.get_l0_penalty().item()
    for _ in range(40):
        optimiser.zero_grad()
        (built(x).square().mean() + 0.05 * built.get_l0_loss()).backward()
        optimiser.step()
    assert built.get_l0_penalty().item() < before / 2
    assert built.get_sparsity() > 0.5


@pytest.mark.parametrize("structured", [True, False])
def test_compacted_it_answers_alike_with_fewer_hidden_features(structured: bool) -> None:
    built = net(structured=structured)
    opened(built)
    close(built.fc1, 1, 4)
    close(built.fc2, 0)
    small, x = compact(prune_model(built)), randn(5, 3, 4)
    torch.testing.assert_close(small(x), built.eval()(x))
    assert isinstance(small, SparseMLP)
    assert [tuple(layer.weight.shape) for layer in (small.fc1, small.fc2, small.fc3)] == [(6, 12), (7, 6), (3, 7)]


@pytest.mark.parametrize("name", ["input_dim", "hidden_dim", "output_dim"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_size_that_is_no_whole_number_above_zero_is_refused(name: str, value: object) -> None:
    sizes = {"input_dim": 4, "hidden_dim": 3, "output_dim": 2} | {name: value}
    with pytest.raises(InvalidHyperparameter, match=f"{name} is {value!r}"):
        SparseMLP(**sizes)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0), ("init_sparsity", 1), ("use_l2", 1), ("structured", None)]
)
def test_a_setting_out_of_range_is_refused_under_its_own_name(name: str, value: object) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"{name} is {value!r}"):
        SparseMLP(4, 3, 2, **{name: value})  # type: ignore[arg-type]  # wrong on purpose
