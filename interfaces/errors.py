"""The one kind of error that a person is meant to read."""


class AtelierError(Exception):
    """Something a person can put right.

    The message is one line that says what was wrong, where, and what to do. The command line
    prints it without a traceback; anything that is not an ``AtelierError`` is a defect of ours
    and keeps its traceback.
    """
