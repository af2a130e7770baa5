"""The one exception for a user's mistake; it knows nothing of how it is shown."""


class UserError(Exception):
    """A mistake the user can mend: ``str(error)`` is one line saying what, where and what to do.

    The command line prints it to stderr and exits with code 2; nothing is lost or half written.
    """
