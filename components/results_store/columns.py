"""Code that both databases share: a result as columns, and a query as a condition in SQL."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from components.results_store.index import DamagedRow, Row, read_cursor
from components.results_store.journal import Deleted, Kept
from interfaces.errors import RefusedError
from interfaces.iodt import ResultQuery
from interfaces.record import FileOrigin, GeneratedOrigin, Record


class Values(Protocol):
    """A row of either database: columns by name."""

    def __getitem__(self, name: str, /) -> Any:
        """The value of a column."""
        ...


class Dialect(NamedTuple):
    """The parts of SQL in which the databases differ. Both mark parameters as `:name`."""

    among: str
    """Whether `id` is among `:numbers`, a JSON array."""
    longer_side: str
    """The longer side of a picture."""


# One for each field of a query that may be given.
_CONDITIONS = {
    "numbers": "{among}",
    "run": "run = :run",
    "family": "family = :family",
    "style": "style = :style",
    # The digits go up to f, so this is every digest that begins so, and an index serves it.
    "model_digest": "model_digest BETWEEN :model_digest AND :model_digest || 'g'",
    "first_seed": "seed >= :first_seed",
    "last_seed": "seed <= :last_seed",
    "most_drift": "drift <= :most_drift",
    "least_originality": "originality >= :least_originality",
    "least_side": "{longer_side} >= :least_side",
    "most_side": "{longer_side} <= :most_side",
    "kept_after": "kept_at >= :kept_after",
    "kept_before": "kept_at < :kept_before",
    "enhancer": "enhancer = :enhancer",
    "media_type": "media_type = :media_type",
}

_DELETED = {None: "deleted_at IS NULL", "only": "deleted_at IS NOT NULL", "too": "TRUE"}

ORDERS = {
    "newest": "id DESC",
    "drift": "drift IS NULL, drift, id DESC",
    "originality": "originality IS NULL, originality, id DESC",
}
"""SQL for each order of a query."""


def columns_of(kept: Kept, record: Record, deleted: Deleted | None) -> dict[str, Any]:
    """The columns of a result, by name."""
    origin = record.origin
    generated = origin if isinstance(origin, GeneratedOrigin) else None
    return {
        "id": kept.number,
        "path": kept.place,
        "sha256": kept.sha256,
        "media_type": kept.media_type,
        "width": kept.width,
        "height": kept.height,
        "run": kept.run,
        "kept_at": kept.kept_at.isoformat(),
        "family": generated and generated.family,
        "model_digest": generated and generated.model_digest,
        "dataset_name": generated and generated.dataset_name,
        "style": generated and generated.style,
        "seed": generated and generated.seed,
        "source_name": origin.name if isinstance(origin, FileOrigin) else None,
        "enhancer": record.enhancement.enhancer,
        "scale": record.enhancement.scale,
        # In ASCII, which also holds what UTF-8 cannot: lone surrogates.
        "record": json.dumps(record.model_dump(mode="json")),
        "drift": record.drift,
        "originality": generated and generated.originality,
        "deleted_at": deleted and deleted.at.isoformat(),
        "deleted_day": deleted and deleted.day,
        "size": kept.size,
    }


def kept_of(row: Values) -> Kept | None:
    """The kept result; None where the row is damaged, or names a place outside the store."""
    try:
        return Kept(
            number=row["id"],
            place=row["path"],
            sha256=row["sha256"],
            size=row["size"],
            media_type=row["media_type"],
            width=row["width"],
            height=row["height"],
            run=row["run"],
            kept_at=row["kept_at"],
        )
    except ValueError:
        return None


def row_of(row: Values) -> Row | DamagedRow:
    """A result by the columns of its row, which may be damaged."""
    kept = kept_of(row)
    try:
        record = Record.model_validate(json.loads(row["record"]))
        deleted = None
        if row["deleted_at"] is not None:
            numbers, day = (row["id"],), row["deleted_day"] or 0
            deleted = Deleted(numbers=numbers, at=row["deleted_at"], day=day)
    except (ValueError, RecursionError):
        kept = None
    else:
        if kept is not None:
            return Row(kept, record, deleted)
    return DamagedRow(row["id"], row["drift"], row["originality"])


def condition(
    query: ResultQuery, cursor: str | None, dialect: Dialect
) -> tuple[str, dict[str, Any]]:
    """The SQL condition of a query, and its parameters by name."""
    values = query.model_dump(include=set(_CONDITIONS), exclude_none=True)
    conditions = [_CONDITIONS[name].format(**dialect._asdict()) for name in values]
    if "numbers" in values:
        values["numbers"] = json.dumps(values["numbers"])
    for name in ("kept_after", "kept_before"):
        if name in values:
            values[name] = _in_utc(name, values[name])
    if cursor is not None:
        figure, number = read_cursor(query, cursor)
        values |= {"after_id": number, "after": figure}
        conditions.append(_after(query.sort_by, figure))
    return " AND ".join([_DELETED[query.deleted], *conditions]), values


def _after(column: str, figure: float | None) -> str:
    """The condition for all that comes after a cursor."""
    if column == "newest":
        return "id < :after_id"
    if figure is None:
        return f"{column} IS NULL AND id < :after_id"
    return f"({column} IS NULL OR {column} > :after OR {column} = :after AND id < :after_id)"


def _in_utc(name: str, moment: datetime) -> str:
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return zoned.astimezone(UTC).isoformat()
    except OverflowError as error:
        raise RefusedError(f"{name}: {moment} lies outside the years 1 to 9999") from error
