"""Log lines on stderr where SHADERLM_LOG asks for them: by "info", "debug" or "json", or by "debug,json"."""

import json
import logging
import sys
import time

from .errors import InvalidOption

DEBUG = logging.DEBUG
LOG = logging.getLogger("shaderlm")
_handlers: list[logging.Handler] = []


def configure(setting: str | None) -> None:
    """Send the package's log lines to stderr as `setting` says, or nowhere for None or "". Raises InvalidOption."""
    words = {word.strip() for word in (setting or "").lower().split(",")} - {""}
    if words - {"info", "debug", "json"}:
        raise InvalidOption(f'SHADERLM_LOG: must be "info", "debug" or "json", not {setting!r}.')
    while _handlers:
        LOG.removeHandler(_handlers.pop())
    if not words:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if "json" in words else _Plain())
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG if "debug" in words else logging.INFO)
    _handlers.append(handler)


def configure_once(setting: str | None) -> None:
    """As `configure`, unless that has been done: for programs that load models and know of no log."""
    if not _handlers:
        configure(setting)


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """A line that says what happened, and its particulars. Costs next to nothing where nobody listens."""
    if LOG.isEnabledFor(level):
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        LOG.log(level, "%s %s", name, text, extra={"event": name, "fields": fields})


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock}.{record.msecs:03.0f} {record.levelname.lower()} {record.getMessage()}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.getMessage()),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, default=str)
