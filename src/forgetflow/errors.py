"""What the command line turns into exit codes: 2 for bad input, 3 for a failed verdict."""


class ForgetflowError(Exception):
    """Base of every error this project raises on purpose; `exit_code` is what a shell sees."""

    exit_code = 1


class InputError(ForgetflowError):
    """What the user gave cannot be used. The message says what, where, and what to do."""

    exit_code = 2


class VerdictError(ForgetflowError):
    """A gate, a verification or an integrity check said no."""

    exit_code = 3


class AccessError(ForgetflowError):
    """An unlearning method touched data that it did not declare."""
