"""Log records → lines for people: time, level, message, and whatever else the record was given, as ``key=value``."""

import logging

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName", "color_message"}


class LineFormatter(logging.Formatter):
    """One line a record, with its extra fields behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Append the extra fields; line breaks in a value are escaped, so that nobody can forge a line."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fields = " ".join(f"{name}={_text(value)}" for name, value in extra.items())
        return f"{super().formatMessage(record)}  {fields}".rstrip()


def _text(value: object) -> str:
    text = str(value)
    return repr(text) if not text.isprintable() or " " in text else text


def configure_logging(*, is_development: bool) -> None:
    """Send the gateway's own records to standard error; in production those from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    root = logging.getLogger("stepgraph")
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(logging.INFO if is_development else logging.WARNING)
