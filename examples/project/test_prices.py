"""The suite that the example's pytest pattern runs."""

from decimal import Decimal

import pytest
from prices import total


@pytest.mark.parametrize(("discount_percent", "expected"), [(0, "30.00"), (10, "27.00"), (33, "20.10"), (100, "0.00")])
def test_total_with_a_discount_is_reduced_by_it(discount_percent: int, expected: str) -> None:
    """The discount is taken from the sum."""
    prices = [Decimal("10.00"), Decimal("20.00")]
    assert total(prices, discount_percent=discount_percent) == Decimal(expected)


def test_total_of_nothing_is_zero() -> None:
    """An empty basket costs nothing."""
    assert total([]) == Decimal("0.00")


def test_total_with_an_impossible_discount_raises() -> None:
    """Nobody is paid for buying."""
    with pytest.raises(ValueError, match="101 percent"):
        total([Decimal("1.00")], discount_percent=101)
