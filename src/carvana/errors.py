"""The one error that a user's input can cause."""


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what, where, what to do."""
