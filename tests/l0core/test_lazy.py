"""Names that are loaded when they are first used."""

import sys

import pytest

from l0core.lazy import lazily


def test_a_name_is_looked_up_where_it_stands() -> None:
    lookup, _ = lazily("package", {"dumps": "json", "sqrt": "math"})
    import json

    assert lookup("dumps") is json.dumps


def test_nothing_is_imported_before_a_name_is_used() -> None:
    module = "wave"
    sys.modules.pop(module, None)
    lookup, listing = lazily("package", {"Wave_read": module})
    assert listing() == ["Wave_read"]
    assert module not in sys.modules
    lookup("Wave_read")
    assert module in sys.modules


def test_an_unknown_name_is_an_attribute_error_that_names_both() -> None:
    lookup, _ = lazily("package", {"sqrt": "math"})
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'cube'"):
        lookup("cube")


def test_the_names_are_listed_in_order() -> None:
    assert lazily("package", {"sqrt": "math", "dumps": "json"})[1]() == ["dumps", "sqrt"]
