"""The error for invalid input of the user."""


class UserError(Exception):
    """Invalid input of the user. The message is one line: what is wrong, where, and what to do."""
