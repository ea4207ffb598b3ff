"""Plain tables and lines for a person to read."""

from collections.abc import Iterator, Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table: columns as wide as their widest cell, numbers to the right."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    are_numbers = [all(cell.isdecimal() for cell in column[1:]) for column in columns]
    for row in (headings, *rows):
        cells = zip(row, widths, are_numbers, strict=True)
        yield "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in cells
        ).rstrip()


def pairs(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Aligned lines of names and values; empty values are left out."""
    said = [(name, text) for name, text in rows if text]
    width = max((len(name) for name, _ in said), default=0)
    for name, text in said:
        yield f"{name.ljust(width)}  {text}"
