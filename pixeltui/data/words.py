"""Words of others in our messages."""


def printable(text: object) -> str:
    """The text without what could steer a terminal: file and class names are data."""
    return "".join(c if c.isprintable() else "?" for c in str(text))
