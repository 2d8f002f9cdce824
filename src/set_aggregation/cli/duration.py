"""A time as a person says it."""


def duration(seconds: float) -> str:
    """A time as a person says it.

    Args:
        seconds: the time.

    Example:
        >>> duration(3.14159), duration(75), duration(7384)
        ('3.1 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
