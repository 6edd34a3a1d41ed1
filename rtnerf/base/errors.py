"""The one exception for bad input."""


class InputError(ValueError):
    """Bad input. Its message is one line, ``NAME must be RULE, not VALUE``, that the command line prints as it is."""


def require(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise `InputError` with the message ``NAME must be RULE, not VALUE`` unless the rule holds."""
    if not holds:
        raise InputError(f"{name} must be {rule}, not {value}")
