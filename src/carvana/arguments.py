"""Whole numbers and sizes in arguments of the command line, bounded where they are parsed."""

from carvana.errors import UserError


def parse_integer(text: str, minimum: int, maximum: int) -> int | None:
    """Parse a whole number in ASCII digits without a sign; None if it is another text, or out of range.

    `str.isdigit` accepts `²`, which `int` refuses. `int` accepts `1_000` and the digits of other scripts, and refuses
    more than 4,300 digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(maximum)):
        return None
    number = int(text)
    return number if minimum <= number <= maximum else None


def parse_size(text: str, minimum: int, maximum: int) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT, each from `minimum` to `maximum`, into (height, width).

    Raises:
        UserError: the text has another form, or a side is out of range.
    """
    sides = [parse_integer(side, minimum, maximum) for side in text.split("x")]
    if len(sides) != 2 or sides[0] is None or sides[1] is None:
        raise UserError(
            f"--size {text}: expected WIDTHxHEIGHT, each from {minimum} to {maximum}, e.g. 480x320"
        )
    return sides[1], sides[0]
