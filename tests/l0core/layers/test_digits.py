"""The digits example on real images: smaller, as accurate, and the same network."""

import pytest
import torch

from examples.digits import Digits, networks, parameters


@pytest.mark.parametrize("seed", [0])
def test_a_compacted_network_reads_digits_as_well_with_a_fifth_of_the_parameters(seed: int) -> None:
    digits = Digits.load()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = networks(digits, seed=seed)
    finally:
        torch.set_num_threads(threads)
    assert parameters(found["compact"]) <= 0.2 * parameters(found["dense"])
    assert digits.accuracy(found["compact"]) >= digits.accuracy(found["dense"]) - 2  # 1 is 4 images
    with torch.no_grad():
        gated, compacted = (found[name](digits.test_images) for name in ("gated", "compact"))
    torch.testing.assert_close(compacted, gated)
