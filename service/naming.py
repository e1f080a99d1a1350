"""Keys: what an archived file is called, from the template's fields. Pure, and the same for every storage."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Formatter
from typing import Self

from service.model import Artifact, Recording

_SEGMENT = 180
"""In bytes; file systems allow 255, and what manifests and temporary files add comes on top."""
_FOLDERS = 519
"""In bytes, so that a key has at most 700: S3 and GCS take 1024 with the configured path, Azure as many."""
_DEPTH = 16

_UNSAFE = re.compile(
    r'[/\\:*?"<>|'
    r"\x00-\x1f\x7f-\x9f\u2028\u2029"  # controls, and what else breaks a line
    r"\u061c\u200e\u200f\u202a-\u202e\u2060-\u206f\u200b\ufeff"  # turn the writing round, or are not seen
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]+"  # cannot be encoded, or not be listed by S3 (XML)
)
_EDGES = re.compile(r"\A[\s.]+|(?<![\s.])[\s.]+\Z")
_DEVICE = re.compile(
    r"\A(con|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$)(?= *(?:\.|\Z))",
    re.IGNORECASE,
)
"""Devices to Windows, whatever follows the dot (Microsoft: Naming Files, Paths, and Namespaces)."""
_SUFFIX = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,8}\Z")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_DIRECTIVE = re.compile(r"%(.?)")
_DIRECTIVES = "YymdjHMSGVu%"
"""The same on every platform and in every language."""
_STAMP = "%Y-%m-%dT%H-%M-%SZ"

_TEXTS: Mapping[str, tuple[Callable[[Artifact, Recording], str | None], str]] = {
    "output_file_name": (lambda artifact, _: artifact.name, "recording"),
    "name": (lambda artifact, _: _own_name(artifact)[0], "recording"),
    "extension": (lambda artifact, _: _own_name(artifact)[1].removeprefix(".").lower(), "bin"),
    "recording_id": (lambda artifact, _: artifact.recording_id, "unknown"),
    "meeting_id": (lambda _, recording: recording.meeting_id, "unknown"),
    "session_id": (lambda _, recording: recording.session_id, "unknown"),
    "organization_id": (lambda _, recording: recording.organization_id, "unknown"),
    "app": (lambda _, recording: recording.app, "unknown"),
    "title": (lambda _, recording: recording.title, "untitled"),
    "kind": (lambda artifact, _: artifact.kind, "unknown"),
}
"""How each field is had, and what stands for it where the provider did not tell it."""
_MOMENTS: Mapping[str, Callable[[Recording], float | None]] = {
    "started": lambda recording: recording.started_at,
    "stopped": lambda recording: recording.stopped_at,
}
_UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """Text with fields in braces, such as ``{started:%Y/%m}/{title}.{extension}``; made by :meth:`parse`.

    ``pieces`` are in their order: literal text, then a field (or none) and its format.
    """

    pieces: tuple[tuple[str, str | None, str], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template.

        Raises ValueError, one line a fault: the field, where it is one's, and what is wrong.
        """
        try:
            found = list(Formatter().parse(text))
        except ValueError:
            raise ValueError("has a brace without its other; a literal one is doubled, {{ or }}") from None
        faults = [
            fault
            for _, field, spec, conversion in found
            if field is not None
            for fault in _faults_of_field(field, spec or "", conversion)
        ]
        pieces = tuple((literal, field, spec or "") for literal, field, spec, _ in found)
        # A letter stands for each field: none is empty or makes a folder, but for a time whose format does.
        faults += _faults_of_path("".join(literal + _sample(field, spec) for literal, field, spec in pieces))
        if faults:
            raise ValueError("\n".join(dict.fromkeys(faults)))
        return cls(pieces)

    def key(self, artifact: Artifact, recording: Recording) -> str:
        """The artifact's key: safe segments of at most 180 bytes, with ``/`` between them at most 700.

        Only the template makes folders: a slash in a value becomes ``_``. What the provider did not tell is
        ``unknown``, ``untitled`` or ``undated``; an extension, ``bin``. Over-long segments are cut, and a
        digest of the whole keeps them distinct. Different artifacts may have the same key: see
        :func:`candidates`.
        """
        text = "".join(
            literal + _value(field, spec, artifact, recording) for literal, field, spec in self.pieces
        )
        *folders, name = (safe(segment) for segment in text.split("/"))
        return "/".join([*_fitted(folders), name])


def candidates(key: str, artifact: Artifact, epoch: int) -> tuple[str, ...]:
    """The keys to try in turn: ``key``, with the recording's id before the suffix, with the kind, too.

    The last one, with the number of the claim too, is for the rare case that an older, different copy of the
    same recording lies under the others; no two claims of an artifact share it. What the key says already
    is not repeated. All are distinct, and as safe and short as ``key`` is.

    Two recordings never get one key: the ledger reserves it for one of them. That compares exactly. A store
    that ignores case finds the name taken when the second comes, which then goes on to its next.
    """
    folder, slash, name = key.rpartition("/")
    stem, suffix = _split(name)
    tags = [] if _names(key, tag := _tag(artifact.recording_id)) else [tag]
    if not _names(stem[-len(artifact.kind) - 1 :], artifact.kind):
        tags.append(artifact.kind)
    if artifact.track is not None:  # layers may have files of one name
        tags.append(_digest(artifact.track))
    tags.append(str(epoch))
    ends = ["".join(f"-{tag}" for tag in tags[:count]) for count in range(1, len(tags) + 1)]
    return key, *(folder + slash + _bounded(stem, end + suffix, _SEGMENT) for end in ends)


def safe(name: str) -> str:
    """One path segment that every storage takes: no separators, no control characters, no leading dot.

    In Unicode's composed form (NFC), and not the name of a Windows device. An over-long name keeps its
    suffix, and a digest of the whole keeps it distinct.
    """
    plain = _DEVICE.sub(r"\1_", _EDGES.sub("", _clean(name)) or "recording")
    return _bounded(*_split(plain), _SEGMENT)


def _faults_of_field(field: str, spec: str, conversion: str | None) -> Iterator[str]:
    name = re.split(r"[.\[]", field, maxsplit=1)[0]
    known = ", ".join([*_TEXTS, *_MOMENTS])
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", name):  # anything may have been pasted here
        yield f"has a field that is not known; there are {known}"
    elif name not in _TEXTS and name not in _MOMENTS:
        yield f"{name}: is not a field; there are {known}"
    else:
        if name != field:
            yield f"{name}: takes neither attribute nor index"
        if conversion:
            yield f"{name}: takes no conversion such as !r"
        if spec and name in _TEXTS:
            yield f"{name}: takes no format"
        elif spec:
            yield from (f"{name}: {fault}" for fault in _faults_of_moment(spec))


def _faults_of_moment(spec: str) -> Iterator[str]:
    directives = _DIRECTIVE.findall(spec)
    if "{" in spec or "}" in spec:
        yield "its format has a brace"
    if any(directive == "" or directive not in _DIRECTIVES for directive in directives):
        yield f"its format may have %{', %'.join(_DIRECTIVES)}, and no other directive"
    if not set(directives) - {"%"}:
        yield f"its format has no directive such as %{_DIRECTIVES[0]}"
    if spec.startswith("/") or spec.endswith("/"):
        yield "its format begins or ends with a slash, which belongs outside the braces"
    yield from (f"its format {fault}" for fault in _faults_of_segments(spec.split("/")))


def _faults_of_path(sample: str) -> Iterator[str]:
    segments = sample.split("/")
    if not sample:
        yield "is empty"
    elif "" in segments:
        yield "begins or ends with a slash, or has two in a row"
    if len(segments) > _DEPTH:
        yield f"has more than {_DEPTH} segments"
    yield from _faults_of_segments(segments)


def _faults_of_segments(segments: Sequence[str]) -> Iterator[str]:
    if any(_EDGES.search(segment) for segment in segments):
        yield "has a segment that begins or ends with a dot or a space"
    if any(_UNSAFE.search(segment) for segment in segments):
        yield 'has one of \\ : * ? " < > | or an invisible character, which not every storage takes'


def _sample(field: str | None, spec: str) -> str:
    if field is None:
        return ""
    return re.sub(r"[^/]+", "x", spec) or "x"


def _value(field: str | None, spec: str, artifact: Artifact, recording: Recording) -> str:
    if field is None:
        return ""
    if field in _MOMENTS:
        return _stamp(_MOMENTS[field](recording), spec or _STAMP)
    get, missing = _TEXTS[field]
    text = _clean(get(artifact, recording) or "")
    return text if _EDGES.sub("", text) else missing


def _stamp(seconds: float | None, spec: str) -> str:
    if seconds is None:
        return _UNDATED
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _UNDATED
    # One at a time: what stands between them is not for strftime to judge.
    return _DIRECTIVE.sub(lambda found: moment.strftime(found[0]), spec)


def _own_name(artifact: Artifact) -> tuple[str, str]:
    return _split(_EDGES.sub("", _clean(artifact.name)))


def _clean(text: str) -> str:
    return _UNSAFE.sub("_", unicodedata.normalize("NFC", text))


def _split(name: str) -> tuple[str, str]:
    """The stem, and the suffix with its dot. ``v1.2 final`` and ``2026.06`` have none."""
    found = _SUFFIX.search(name)
    return (name[: found.start()], found[0]) if found else (name, "")


def _names(text: str, word: str) -> bool:
    """Whether ``word`` stands in ``text`` by itself."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text) is not None


def _tag(recording_id: str) -> str:
    """The id as it stands in a name; one that has to be changed for that stays distinct by a digest."""
    if _PLAIN_ID.fullmatch(recording_id):
        return recording_id
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", recording_id)[:48]
    return f"{plain}-{_digest(recording_id)}"


def _fitted(folders: Sequence[str]) -> list[str]:
    """The folders, each cut to its share if all together are too long."""
    if len("/".join(folders).encode()) <= _FOLDERS:
        return list(folders)
    share = (_FOLDERS + 1) // len(folders) - 1
    return [_bounded(folder, "", share) for folder in folders]


def _bounded(stem: str, end: str, limit: int) -> str:
    """``stem + end`` in ``limit`` bytes: an over-long stem is cut, and a digest of it keeps it distinct."""
    if len((stem + end).encode()) <= limit:
        return stem + end
    end = f"-{_digest(stem)}{end}"
    return stem.encode()[: limit - len(end)].decode("utf-8", "ignore") + end


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
