"""Whole numbers in arguments of the command line and in tables, bounded where they are parsed."""

MAX_FOLD = 9_999
"""Largest number of a fold. A fold holds at least one car, and the competition has 318 to train on."""


def parse_integer(text: str, minimum: int, maximum: int) -> int | None:
    """Parse a whole number in ASCII digits without a sign; None if it is another text, or out of range.

    `str.isdigit` accepts `²`, which `int` refuses, and `int` accepts `1_000` and more than 4,300 digits never.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(maximum)):
        return None
    number = int(text)
    return number if minimum <= number <= maximum else None


def parse_fold_number(text: str) -> int | None:
    """Parse the number of a fold; None if the text is no such number."""
    return parse_integer(text, 0, MAX_FOLD)
