"""Whole numbers in arguments of the command line, bounded where they are parsed."""


def parse_integer(text: str, minimum: int, maximum: int) -> int | None:
    """Parse a whole number in ASCII digits without a sign; None if it is another text, or out of range.

    `str.isdigit` accepts `²`, which `int` refuses. `int` accepts `1_000` and the digits of other scripts, and refuses
    more than 4,300 digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(maximum)):
        return None
    number = int(text)
    return number if minimum <= number <= maximum else None
