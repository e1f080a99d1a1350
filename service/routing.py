"""Which storages an artifact goes to: named storages, and rules that choose among them. Pure."""

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from service.model import ONLY, Artifact, Kind, Recording
from service.storage.config import LocalConfig, SftpConfig, StorageConfig, parse_storage_config
from service.storage.config.base import folder
from service.storage.config.sftp_fields import remote_folder

_WITH_FOLDER = "//"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an artifact must be for the storages in ``to``; an empty condition holds for every one.

    ``title`` holds patterns such as ``Board *``, compared without case; the others are exact.
    """

    to: tuple[str, ...]
    organization_id: tuple[str, ...] = ()
    meeting_id: tuple[str, ...] = ()
    title: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    app: tuple[str, ...] = ()

    @property
    def is_unconditional(self) -> bool:
        """Whether every artifact fits."""
        return not any((self.organization_id, self.meeting_id, self.title, self.kind, self.app))

    def fits(self, artifact: Artifact, recording: Recording) -> bool:
        """Whether every condition holds. What the provider did not tell fits no condition."""
        told = [] if recording.title is None else [recording.title.casefold()]
        return (
            (not self.organization_id or recording.organization_id in self.organization_id)
            and (not self.meeting_id or recording.meeting_id in self.meeting_id)
            and (
                not self.title
                or any(fnmatch.fnmatchcase(title, each.casefold()) for title in told for each in self.title)
            )
            and (not self.kind or artifact.kind in self.kind)
            and (not self.app or recording.app in self.app)
        )


@dataclass(frozen=True, slots=True)
class Routing:
    """Named storages, and the rules in their order: the first that fits an artifact says where it goes."""

    storages: Mapping[str, StorageConfig]
    rules: tuple[Rule, ...]

    @classmethod
    def only(cls, config: StorageConfig) -> Self:
        """Everything into one storage."""
        return cls({ONLY: config}, (Rule((ONLY,)),))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a routing file: a JSON object of ``storages`` and ``rules``.

        Raises ValueError, one line a fault: the field and what is wrong, without any value.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        if not isinstance(given, dict):
            raise ValueError("is not a JSON object of storages and rules")
        faults = [f"{name}: is not a field" for name in given if name not in ("storages", "rules")]
        storages = _storages(given.get("storages"), faults)
        rules = _rules(given.get("rules"), faults)
        _compare(storages, rules, faults)
        if faults:
            raise ValueError("\n".join(dict.fromkeys(faults)))
        known = {name: config for name, config in storages.items() if config is not None}
        if not rules and len(known) == 1:
            rules = [Rule(tuple(known))]
        return cls(known, tuple(rules))

    def storages_for(self, artifact: Artifact, recording: Recording) -> tuple[str, ...]:
        """The names of the storages that get a copy each; none only where there are no rules."""
        return next((rule.to for rule in self.rules if rule.fits(artifact, recording)), ())

    def storage_of(self, storage_config: str) -> str | None:
        """The configured storage that a recording's own ``storage_config`` (JSON, without secrets) names.

        Found by type and bucket, for sftp by host; of several by region or port, too. Where its ``path`` is
        another than the configured one, the name says that: ``main//calls`` is the storage ``main`` with the
        folder ``calls``.
        """
        told = json.loads(storage_config)
        fitting = [name for name, config in self.storages.items() if _is_of(config, told)]
        if not fitting:
            return None
        fitting = [name for name in fitting if _is_there(self.storages[name], told)] or fitting
        if told.get("path") is None:
            return fitting[0]
        normal = remote_folder if told["type"] == "sftp" else folder
        path = normal(str(told["path"]))
        as_it_is = [name for name in fitting if str(self.storages[name].path) == path]
        return as_it_is[0] if as_it_is else f"{fitting[0]}{_WITH_FOLDER}{path}"

    def config(self, name: str) -> StorageConfig | None:
        """The storage called ``name``, as :meth:`storage_of` names them too; None if it is not configured."""
        if name in self.storages:
            return self.storages[name]
        base, separator, path = name.partition(_WITH_FOLDER)
        if not separator or base not in self.storages:
            return None
        return self.storages[base].model_copy(update={"path": path})


def configured_name(name: str) -> str:
    """The configured storage of a name, which may have a folder that a recording brought."""
    return name.partition(_WITH_FOLDER)[0]


def _is_of(config: StorageConfig, told: Mapping[str, Any]) -> bool:
    if config.type != told.get("type"):
        return False
    if isinstance(config, SftpConfig):
        host, username = told.get("host"), told.get("username")
        is_host = str(host).strip("[]").lower() == config.host.lower()
        return is_host and username in (None, "", config.username)
    return not isinstance(config, LocalConfig) and config.bucket == told.get("bucket")


def _is_there(config: StorageConfig, told: Mapping[str, Any]) -> bool:
    """Whether the region is the same, which a bucket's name may need to be one; a host's port likewise."""
    if isinstance(config, SftpConfig):
        return (told.get("port") or 22) == config.port
    return str(told.get("region")).lower() == str(getattr(config, "region", None)).lower()


def _storages(given: object, faults: list[str]) -> dict[str, StorageConfig | None]:
    """Every named storage, None where its config has faults."""
    if not isinstance(given, dict) or not given:
        faults.append("storages: is not an object that names at least one storage_config")
        return {}
    found: dict[str, StorageConfig | None] = {}
    places: dict[object, str] = {}
    for index, (name, config) in enumerate(given.items()):
        found[name], where = None, f"storages.{name}"
        if not name.strip() or not name.isprintable() or _WITH_FOLDER in name:
            where = f"storages[{index}]"
            faults.append(f"{where}: its name is blank, has {_WITH_FOLDER}, or cannot be printed")
        try:
            found[name] = parsed = parse_storage_config(config)
        except ValueError as error:
            faults += [f"{where}.{line}" for line in str(error).splitlines()]
            continue
        # Buckets of one name, at two stores or in two accounts, have one label.
        place = (parsed.label, getattr(parsed, "endpoint", None))
        if (other := places.setdefault(place, where)) != where:
            faults.append(f"{where}: is the same place as {other}")
    return found


def _rules(given: object, faults: list[str]) -> list[Rule]:
    if given is None:
        return []
    if not isinstance(given, list):
        faults.append("rules: is not a list")
        return []
    return [_rule(rule, f"rules[{index}]", faults) for index, rule in enumerate(given)]


def _rule(given: object, where: str, faults: list[str]) -> Rule:
    if not isinstance(given, dict):
        faults.append(f"{where}: is not an object")
        return Rule(())
    names = [field.name for field in fields(Rule)]
    faults += [f"{where}.{name}: is not a field" for name in given if name not in names]
    values: dict[str, Any] = {"to": ()}
    for name in names:
        if name in given:
            values[name] = _texts(given[name], f"{where}.{name}", faults)
    if "to" not in given:
        faults.append(f"{where}.to: is missing")
    kinds = set(Kind)
    faults += [
        f"{where}.kind: is not one of {', '.join(Kind)}"
        for kind in values.get("kind", ())
        if kind not in kinds
    ]
    return Rule(**values)


def _texts(given: object, where: str, faults: list[str]) -> tuple[str, ...]:
    """One text or a list of them."""
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts):
        return tuple(dict.fromkeys(texts))
    faults.append(f"{where}: is neither a text nor a list of texts")
    return ()


def _compare(storages: Mapping[str, object], rules: Sequence[Rule], faults: list[str]) -> None:
    told = {fault.partition(":")[0].partition(".")[0] for fault in faults}
    for index, rule in enumerate(rules):
        faults += [
            f"rules[{index}].to: names a storage that is not among storages"
            for name in rule.to
            if name not in storages
        ]
        # Of a rule with faults it is not known what it was to say.
        if rule.is_unconditional and index < len(rules) - 1 and f"rules[{index}]" not in told:
            faults.append(f"rules[{index}]: has no conditions, so the rules after it are never reached")
    if rules and not rules[-1].is_unconditional:
        faults.append("rules: the last one must have no conditions, so that every recording has a place")
