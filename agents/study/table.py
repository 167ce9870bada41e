"""A table as rows of text that become Markdown or HTML, and how its cells are written."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from agents.study.arms import WARMUP
from agents.study.results import Study
from dexhil_env.registration import task_name

NOTHING = "not run yet"


@dataclass(frozen=True)
class Table:
    """Rows of text; ``**x**`` is bold in both forms.

    Attributes:
        header: column titles.
        rows: cells.
        note: a sentence below.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """Return a Markdown table, or a sentence if there are no rows."""
        if not self.rows:
            return f"*{NOTHING}*"
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(map(_marked, line)) + " |" for line in lines)
        return body + (f"\n\n{self.note}" if self.note else "")

    def html(self) -> str:
        """Return an HTML table, or a sentence if there are no rows."""
        if not self.rows:
            return f"<p><i>{NOTHING}</i></p>"
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{_bold(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _split(cell: str) -> tuple[str, bool]:
    """Return the text of a cell and whether it is bold."""
    bold = len(cell) > 4 and cell.startswith("**") and cell.endswith("**")
    return (cell[2:-2], True) if bold else (cell, False)


def _marked(cell: str) -> str:
    text, bold = _split(cell)
    text = text.replace("*", "\\*").replace("|", "\\|")  # DAgger* would start an emphasis
    return f"**{text}**" if bold else text


def _bold(cell: str) -> str:
    text, bold = _split(cell)
    return f"<b>{escape(text)}</b>" if bold else escape(text)


def tasks(study: Study) -> list[tuple[str, tuple[str, ...]]]:
    """Return (name, environments) of every task and of all of them."""
    singles = [(task_name(env_id), (env_id,)) for env_id in study.env_ids]
    return [*singles, ("all", study.env_ids)] if len(singles) > 1 else singles


def places(study: Study) -> Iterator[tuple[str, int]]:
    """Yield every arm and round that is to be evaluated, the warm-up once."""
    yield WARMUP, 0
    for arm in study.arms:
        yield from ((arm, r) for r in study.evaluated_rounds(arm) if r)


def round_name(number: int) -> str:
    """Write a round; the warm-up has none."""
    return str(number) if number else "-"


def found_of(found: int, planned: int) -> str:
    """Write how many there are, and of how many if some are missing."""
    return str(found) if found == planned else f"{found} of {planned}"


def number(value: float | None, digits: int = 1) -> str:
    """Write a number, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"
