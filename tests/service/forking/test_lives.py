"""What an owner hears of a child's life."""

import socket
from collections.abc import Iterator

import pytest

from service.forking.lives import KILLED, Life, LifeLine

_SECONDS = 10.0


@pytest.fixture
def ends() -> Iterator[tuple[LifeLine, socket.socket]]:
    """The owner's end of a line, and the nursery's."""
    own, nursery = socket.socketpair()
    with nursery:
        line = LifeLine(own)
        yield line, nursery
        line.close()


def test_a_child_is_told_bit_by_bit(ends: tuple[LifeLine, socket.socket]) -> None:
    line, nursery = ends
    heard = []
    for said in (b"", b"beg", b"un ", b"17", b" ", b"-", b"11"):
        nursery.sendall(said)
        heard.append(line.life)
    assert heard == [Life()] * 4 + [Life(pid=17)] * 3
    nursery.close()
    assert line.life == Life(pid=17, code=-11)


@pytest.mark.parametrize("said", [b"", b"begun ", b"begun 17 "])
def test_a_child_whose_nursery_died_was_killed_wherever_it_was(
    ends: tuple[LifeLine, socket.socket], said: bytes
) -> None:
    line, nursery = ends
    nursery.sendall(said)
    nursery.close()
    assert line.life.code == KILLED


def test_one_that_has_not_begun_is_dead_as_soon_as_its_line_is_cut(ends: tuple[LifeLine, socket.socket]) -> None:
    line, nursery = ends
    assert line.cut(_SECONDS)
    assert line.life.code == KILLED
    assert nursery.recv(1) == b""


def test_one_that_has_begun_is_dead_when_the_nursery_says_so(ends: tuple[LifeLine, socket.socket]) -> None:
    line, nursery = ends
    nursery.sendall(b"begun 17 ")
    assert not line.cut(0.05)
    assert nursery.recv(1) == b""
    nursery.sendall(b"0")
    nursery.close()
    assert line.cut(_SECONDS)
    assert line.life == Life(pid=17, code=0)
