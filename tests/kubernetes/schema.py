"""The part of the chart's schema that the settings decide: ``python -m tests.kubernetes.schema``."""

import json
from typing import Any, Final

from service.model import Kind, Topic
from service.settings import Settings
from tests.kubernetes.chart import CHART

FILE: Final = CHART / "values.schema.json"

GIVEN_BY_THE_CHART: Final = {"role"}
"""`mode` decides them."""

SECRETS: Final = [
    name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
]
FILES: Final = [name for name in Settings.model_fields if name.endswith("_file")]
PLAIN: Final = [name for name in Settings.model_fields if name not in {*SECRETS, *FILES, *GIVEN_BY_THE_CHART}]

_WEB: Final = {"pattern": "^https?://"}
# What the settings' own validators ask beyond their fields. No pattern for a secret: Helm would print it.
_MORE: Final[dict[str, dict[str, Any]]] = {
    "port": {"minimum": 1},
    "admin_port": {"minimum": 1},
    "archived_keep_days": {"anyOf": [{"const": 0}, {"minimum": 30}]},
    "api_url": _WEB,
    "admin_url": _WEB,
    "webhook_key_url": _WEB,
    "webhook_public_key": {"pattern": "-----BEGIN "},
    "kinds": {"items": {"enum": [kind.value for kind in Kind]}},
    "notice_on": {"items": {"enum": [topic.value for topic in Topic]}},
    "admin_token": {"minLength": 16},
    "storage_config": {"type": ["object", "string"]},
}
_CONTENT: Final = {
    "oneOf": [
        {
            "type": "object",
            "required": ["content"],
            "additionalProperties": False,
            "properties": {"content": {"type": "object"}},
        },
        {
            "type": "object",
            "required": ["existingSecret", "key"],
            "additionalProperties": False,
            "properties": {name: {"type": "string", "minLength": 1} for name in ("existingSecret", "key")},
        },
    ]
}


def sections() -> dict[str, dict[str, Any]]:
    """The schemas of the values `settings`, `secrets` and `files`."""
    told = Settings.model_json_schema()
    known = {name: _flat(field, told.get("$defs", {})) for name, field in told["properties"].items()}
    return {
        "settings": _closed({name: known[name] | _MORE.get(name, {}) for name in PLAIN}),
        "secrets": _closed({name: {"type": "string"} | _MORE.get(name, {}) for name in SECRETS}),
        "files": _closed(dict.fromkeys(FILES, _CONTENT)),
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _flat(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A field's schema without None, which is to leave it out, and without references."""
    if "anyOf" in field:
        (field,) = (each for each in field["anyOf"] if each.get("type") != "null")
    if "$ref" in field:
        field = definitions[field["$ref"].rpartition("/")[2]]
    kept = {
        name: value
        for name, value in field.items()
        if name not in {"default", "title", "description", "format"}
    }
    return {**kept, "type": "array", "items": {"type": "string"}} if field.get("type") == "array" else kept


def main() -> None:
    """Write the sections into the chart's schema."""
    schema = json.loads(FILE.read_text("utf-8"))
    schema["properties"] |= sections()
    FILE.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
