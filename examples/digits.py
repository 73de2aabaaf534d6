"""A network for handwritten digits that loses nine tenths of its parameters and none of its accuracy.

    python examples/digits.py

Trains a plain network and a gated one on scikit-learn's digits (1,797 images of 8 x 8 pixels, from the package, nothing
is downloaded), prunes and compacts the gated one, and prints what each costs and how well it reads digits it has not
seen.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from l0core import (
    SparseMLP,
    TemperatureScheduler,
    compact,
    compute_l0l2_penalty,
    prune_model,
    update_temperatures,
)

HIDDEN, EPOCHS, BATCH = 256, 60, 64
LEARNING_RATE, GATE_LEARNING_RATE = 3e-3, 3e-2  # gates have a long way to go from open to closed
L0_PRICE, L2_PRICE = 2e-3, 1e-5  # of a hidden feature, and of a squared weight
TEST_SIZE = 450


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Images as (n, 64) numbers from 0 to 1 and their digits, split once for good."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @classmethod
    def load(cls) -> "Digits":
        """Read them from scikit-learn; 450 are kept for the test."""
        images, labels = load_digits(return_X_y=True)
        x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        test, train = order[:TEST_SIZE], order[TEST_SIZE:]
        return cls(train_images=x[train], train_labels=y[train], test_images=x[test], test_labels=y[test])

    def accuracy(self, net: nn.Module) -> float:
        """Give the share of test digits that `net` reads right, in percent."""
        with torch.no_grad():
            right = net.eval()(self.test_images).argmax(1) == self.test_labels
        return 100 * right.double().mean().item()


def dense_network(seed: int) -> nn.Module:
    """Give the same network without gates."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)
        )


def gated_network(seed: int) -> SparseMLP:
    """Give a network with one gate on each hidden feature."""
    return SparseMLP(64, HIDDEN, 10, init_sparsity=0.1, structured=True, generator=torch.Generator().manual_seed(seed))


def train(net: nn.Module, digits: Digits, *, seed: int) -> None:
    """Train with Adam; gates, where there are any, pay for being open and sharpen from epoch to epoch."""
    gates = [p for name, p in net.named_parameters() if name.endswith("log_alpha")]
    weights = [p for name, p in net.named_parameters() if not name.endswith("log_alpha")]
    adam = torch.optim.Adam([{"params": weights}, {"params": gates, "lr": GATE_LEARNING_RATE}], lr=LEARNING_RATE)
    temperature = TemperatureScheduler(initial_temp=1.0, final_temp=0.1, anneal_epochs=EPOCHS)
    generator = torch.Generator().manual_seed(seed)
    net.train()
    for epoch in range(EPOCHS):
        update_temperatures(net, temperature.get_temperature(epoch))
        for batch in torch.randperm(len(digits.train_labels), generator=generator).split(BATCH):
            scores = net(digits.train_images[batch])
            loss = nn.functional.cross_entropy(scores, digits.train_labels[batch])
            adam.zero_grad()
            (loss + compute_l0l2_penalty(net, L0_PRICE, L2_PRICE)).backward()
            adam.step()
    net.eval()


def parameters(net: nn.Module) -> int:
    """Give how many numbers `net` computes with, gates aside."""
    return sum(p.numel() for name, p in net.named_parameters() if not name.endswith("log_alpha"))


def seconds_per_call(net: nn.Module, images: Tensor, *, calls: int = 200) -> float:
    """Give the median time of a forward pass."""
    times = []
    with torch.no_grad():
        for _ in range(calls):
            start = time.perf_counter()
            net(images)
            times.append(time.perf_counter() - start)
    return sorted(times)[calls // 2]


def networks(digits: Digits, *, seed: int) -> dict[str, nn.Module]:
    """Train both and give the plain one, the gated one, and the gated one compacted."""
    dense, gated = dense_network(seed), gated_network(seed)
    for net in (dense, gated):
        train(net, digits, seed=seed)
    prune_model(gated)
    return {"dense": dense, "gated": gated, "compact": compact(gated)}


def table(digits: Digits, found: dict[str, nn.Module], write: Callable[[str], object] = sys.stdout.write) -> None:
    """Print one line a network."""
    write(f"{'network':10}{'parameters':>12}{'accuracy':>11}{'time a call':>14}\n")
    for name, net in found.items():
        microseconds = 1e6 * seconds_per_call(net, digits.test_images)
        write(f"{name:10}{parameters(net):12,}{digits.accuracy(net):10.1f}%{microseconds:11.0f} us\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    data = Digits.load()
    trained = networks(data, seed=0)
    table(data, trained)
    sys.stdout.write(f"\n{trained['compact']}\n")
