"""Numbers and tables as a person reads them."""

import csv
import io
from collections.abc import Mapping, Sequence


def short(value: float) -> str:
    """Three figures, or all whole ones: 0.523, 12.3, 1 250."""
    return f"{value:.3g}" if abs(value) < 999.5 else spaced(round(value))


def spaced(count: int) -> str:
    """Thousands apart: 15 600 000."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def duration(seconds: float) -> str:
    """Duration in the unit that suits it: 65 s, 280 min, 8.83 h."""
    if seconds < 120:
        return f"{short(seconds)} s"
    # The paper's own table stays in minutes up to 530 of them.
    return f"{short(seconds / 60)} min" if seconds < 36_000 else f"{short(seconds / 3600)} h"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head, the first column reads from the left."""
    head, *body = rows
    lines = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def csv_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of like fields as CSV, the fields' names above them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
