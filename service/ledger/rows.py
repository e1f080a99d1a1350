"""Many rows as one parameter of one statement.

A statement with a value for each column of each row costs the client more than the database: every row is
built, escaped and counted by itself. Here the rows are one JSON text, which the database takes apart.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, Table, bindparam, cast, column, func, select
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.types import Text, TypeEngine

_ROWS = "rows"


def rows_of(types: Mapping[str, TypeEngine[Any]], *, is_sqlite: bool) -> FromClause:
    """A table of the rows that :func:`given` puts in, with these columns; what a row lacks is NULL."""
    if is_sqlite:
        each = func.json_each(bindparam(_ROWS)).table_valued("value")
        columns = [
            func.json_extract(each.c.value, f"$.{name}", type_=type_).label(name)
            for name, type_ in types.items()
        ]
        return select(*columns).subquery()
    rows = func.json_to_recordset(cast(bindparam(_ROWS, type_=Text), JSON))
    columns_of = [column(name, type_) for name, type_ in types.items()]
    return rows.table_valued(*columns_of).render_derived(with_types=True)


def types_of(table: Table, *names: str) -> dict[str, TypeEngine[Any]]:
    """The types of some of a table's columns."""
    return {name: table.c[name].type for name in names}


def given(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The parameters of a statement over :func:`rows_of`.

    Raises ValueError for a number that is none, and has the driver do so for a text that cannot be encoded.
    """
    return {_ROWS: json.dumps(rows, allow_nan=False, ensure_ascii=False)}
