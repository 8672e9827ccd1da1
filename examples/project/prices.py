"""A small piece of code for the example's patterns to work on."""

from decimal import ROUND_HALF_UP, Decimal

_CENT = Decimal("0.01")


def total(prices: list[Decimal], *, discount_percent: int = 0) -> Decimal:
    """Return the sum of the prices less a discount, rounded to cents.

    Raises:
        ValueError: The discount is not between 0 and 100 percent.
    """
    if not 0 <= discount_percent <= 100:  # noqa: PLR2004  # per cent
        raise ValueError(f"discount of {discount_percent} percent")
    share = Decimal(100 - discount_percent) / 100
    return (sum(prices, Decimal()) * share).quantize(_CENT, ROUND_HALF_UP)
