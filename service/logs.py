"""Logs: one way to write them, and no secret in any."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

if "rich" not in sys.modules:
    # structlog takes rich along where it is there, for tracebacks that nobody is shown: 4 MiB of each pod.
    sys.modules["rich"] = None  # type: ignore[assignment]  # which means: it is not there
    import structlog

    del sys.modules["rich"]
else:
    import structlog
from structlog.typing import Processor

# A quote may stand in a link: rather mask a little more than one query.
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?\"<>]*)\?[^\s\"<>]*", re.IGNORECASE)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s\"]+@", re.IGNORECASE)
_SECRET_LENGTH = 4
# One for all lines: json.dumps makes a new one for each. It gets what is masked: texts and numbers.
_encode = json.JSONEncoder(ensure_ascii=False).encode


def without_signatures(text: str) -> str:
    """The text with every link's query and userinfo masked: what signs a link stands there."""
    # Most texts are no links, and lines are many.
    return _USERINFO.sub(r"\1***@", _QUERY.sub(r"\1?***", text)) if "://" in text else text


class Redaction:
    """A log processor that masks given secrets, and every link's query and userinfo, wherever they stand."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted((s for s in secrets if len(s) >= _SECRET_LENGTH), key=len, reverse=True)

    def __call__(self, _logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Mask every text in ``event``."""
        for key, value in event.items():
            event[key] = self._masked(value)
        return event

    def mask(self, text: str) -> str:
        """The text without any of it."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return without_signatures(text)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {self._masked(str(key)): self._masked(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(inner) for inner in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._masked(str(value))


def configure_logging(*, level: str, form: str, secrets: Sequence[str] = ()) -> None:
    """Send every log line, the libraries' too, to standard error: JSON lines, or text for people."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _failure,
        Redaction(secrets),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(lambda event, **_: _encode(event))
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    stderr = sys.stderr
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=lambda *_: _Output(stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    output = logging.StreamHandler(stderr)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.stdlib.add_logger_name,
                _message,
                *shared,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    chatty = "aioboto3", "aiobotocore", "aiohttp", "alembic", "asyncio", "asyncssh", "azure", "botocore"
    for library in chatty:
        logging.getLogger(library).setLevel(logging.WARNING)


class _Output(structlog.WriteLogger):
    """Writes lines; one that cannot go (a full disk, a reader that is gone) stops no work."""

    def msg(self, message: str) -> None:
        """Write ``message`` if it can be written."""
        with contextlib.suppress(OSError):
            super().msg(message)

    debug = info = warning = error = critical = exception = msg


def _message(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # A library's line may carry an exception with its traceback: the failure below tells it shortly.
    record = event.get("_record")
    if record is not None and record.exc_info:
        event["exc_info"] = record.exc_info
        record.exc_info = record.exc_text = None
    return event


def _failure(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its type, its text and the places it passed: one line, not a traceback."""
    failure = event.pop("exc_info", None)
    if failure is True:
        failure = sys.exc_info()
    if isinstance(failure, tuple):
        failure = failure[1]
    if isinstance(failure, BaseException):
        places = []
        trace = failure.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        event["error"] = f"{type(failure).__name__}: {failure}"
        event["places"] = places[-8:]
    return event
