"""A study as one web page, and as blocks in the documentation; the same ``study.json`` gives the same bytes."""

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from agents.report import STYLE
from agents.study.figures import FIGURES
from agents.study.results import Study, find, load_study
from agents.study.table import NOTHING, Table
from agents.study.tables import TABLES
from dexhil_env.errors import DatasetError
from dexhil_env.store.files import write_whole

_STYLE = (
    STYLE
    + """
th { white-space: normal; vertical-align: bottom; }
figcaption { font-size: 14px; color: var(--soft); }
"""
)
PAGE, DOC = "study.html", "study.md"
SECTIONS = (
    ("Progress", ("status",)),
    ("What is compared", ("arms",)),
    ("Success", ("curves", "success")),
    ("The paper's table I and ours", ("paper",)),
    ("Differences", ("forest", "differences")),
    ("Human labour", ("effort", "labour")),
    ("Takeovers", ("takeovers", "alarms")),
    ("How episodes ended", ("modes", "failures", "time")),
    ("Training", ("loss", "training")),
    ("Cost and seeds", ("cost", "seeds")),
)
"""Headings of the page and the tables and figures below them."""
_BLOCK = re.compile(r"<!-- study:(?P<name>[\w-]+) -->\n.*?<!-- /study:(?P=name) -->", re.DOTALL)
_MARK = re.compile(r"<!-- /?study:([\w-]+) -->")


def write_study_report(source: Path, docs: Path | None = None) -> Path:
    """Write ``study.html`` beside ``study.json`` and return its path.

    Args:
        source: ``study.json`` or the folder that holds it; the study may be unfinished.
        docs: document, or a documentation folder with ``study.md``: the blocks ``<!-- study:NAME --> ... <!-- /study:NAME -->`` are
            replaced, the text around them stays, and figures go to ``media/<name of the document>-*.svg``.

    Raises:
        DatasetError: no study, or blocks in the document that are unknown or not closed.
    """
    study = load_study(source)
    drawn = {name: draw(study) for name, (draw, _) in FIGURES.items()}
    tables = {name: build(study) for name, build in TABLES.items()}
    page = find(source).with_name(PAGE)
    _write(page, _page(study, drawn, tables))
    if docs is not None:
        path = docs if docs.suffix == ".md" else docs / DOC
        if not path.exists():
            raise DatasetError(f"{path} is missing; it holds the hand-written text around the tables")
        _write(path, fill(path.read_text(encoding="utf-8"), lambda name: _block(drawn, tables, name, path.stem)))
        for name, svg in drawn.items():
            if svg is not None:
                _write(path.parent / "media" / f"{path.stem}-{name}.svg", svg + "\n")
    return page


def fill(text: str, block: Callable[[str], str]) -> str:
    """Replace every generated block of a document.

    Args:
        text: the document.
        block: name -> new content.

    Raises:
        DatasetError: a block has no end, or no known name.
    """
    marks = _MARK.findall(text)
    if len(marks) != 2 * len(_BLOCK.findall(text)):
        raise DatasetError(f"every <!-- study:NAME --> needs its <!-- /study:NAME --> and a line between; marks found: {marks}")
    known = {*TABLES, *FIGURES}
    if not known.issuperset(marks):
        raise DatasetError(f"unknown blocks {sorted(set(marks) - known)} in the document; known are {sorted(known)}")
    return _BLOCK.sub(lambda m: f"<!-- study:{m['name']} -->\n{block(m['name'])}\n<!-- /study:{m['name']} -->", text)


def _block(drawn: dict[str, str | None], tables: dict[str, Table], name: str, document: str) -> str:
    if name in tables:
        return tables[name].markdown()
    return f"![{FIGURES[name][1]}](media/{document}-{name}.svg)\n\n*{FIGURES[name][1]}*" if drawn[name] else f"*{NOTHING}*"


def _write(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write)


def _page(study: Study, drawn: dict[str, str | None], tables: dict[str, Table]) -> str:
    body = "".join(
        f"<section><h2>{escape(title)}</h2>{''.join(_piece(drawn, tables, name) for name in names)}</section>" for title, names in SECTIONS
    )
    lacking, arms = len(study.missing()), len(study.arms)
    state = f"unfinished, {lacking} policies are not evaluated yet" if lacking else "complete"
    lead = f"{arms} arms, {study.rounds} rounds, {len(study.seeds)} training seeds <span>{state}; every human here is simulated</span>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>DexHiL study</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>DexHiL study</h1><p class='headline'>{lead}</p></header><main>{body}{_provenance(study)}</main></body></html>\n"
    )


def _piece(drawn: dict[str, str | None], tables: dict[str, Table], name: str) -> str:
    if name in tables:
        return tables[name].html()
    return f"<figure class='wide'>{drawn[name]}<figcaption>{escape(FIGURES[name][1])}</figcaption></figure>" if drawn[name] else ""


def _provenance(study: Study) -> str:
    facts = "".join(f"<tr><td>{escape(str(key))}</td><td>{escape(str(value))}</td></tr>" for key, value in study.circumstances.items())
    return (
        "<section><h2>How this was made</h2><p>Regenerate this page: <code>dexhil study report FOLDER</code></p>"
        f"<table>{facts}</table><details><summary>configuration</summary><pre>{escape(json.dumps(study.config, indent=2))}</pre></details>"
        "</section>"
    )
