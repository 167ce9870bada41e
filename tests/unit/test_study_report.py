import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agents.draw import Canvas, Frame, spread
from agents.study.figures import FIGURES
from agents.study.report import SECTIONS, fill, write_study_report
from agents.study.results import load_study
from agents.study.table import Table
from agents.study.tables import TABLES
from dexhil_env.errors import DatasetError
from tests.unit.study_fixture import make_study, write_study

DOC = Path(__file__).parents[2] / "docs" / "study.md"


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("agents.study.stats.RESAMPLES", 60)


def numbers(svg, tag, name):
    """All values of an attribute of one kind of element."""
    return [float(e.get(name)) for e in ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")]


def test_report_fills_the_document_and_is_the_same_twice(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "study.md").write_text(DOC.read_text() + "\nwritten by hand\n")
    source = write_study(tmp_path)
    page = write_study_report(source, docs)
    files = [page, docs / "study.md", *sorted((docs / "media").iterdir())]
    first = [file.read_bytes() for file in files]
    assert write_study_report(tmp_path, docs) == page
    assert [file.read_bytes() for file in files] == first
    text = (docs / "study.md").read_text()
    assert text.endswith("written by hand\n")
    assert "## How to read it" in text
    assert text.count("not run yet") == 1  # no expert cell, so no false alarms
    assert "DAgger\\*" in text
    assert {file.name for file in (docs / "media").iterdir()} == {f"study-{name}.svg" for name in FIGURES}
    html = page.read_text()
    assert html.count("<svg") == len(FIGURES)
    assert not re.search(r"(src|href)=", html)
    assert "DAgger*" in html


def test_another_document_has_figures_of_its_own(tmp_path):
    path = tmp_path / "docs" / "study_moved.md"
    path.parent.mkdir()
    path.write_text("<!-- study:curves -->\n<!-- /study:curves -->\n")
    write_study_report(write_study(tmp_path), path)
    assert "](media/study_moved-curves.svg)" in path.read_text()
    assert (path.parent / "media" / "study_moved-curves.svg").exists()
    assert not (path.parent / "study.md").exists()


def test_every_table_and_figure_has_a_place():
    assert sorted(name for _, names in SECTIONS for name in names) == sorted([*TABLES, *FIGURES])
    assert set(re.findall(r"<!-- study:([\w-]+) -->", DOC.read_text())) == {*TABLES, *FIGURES}


def test_hand_written_text_stays_and_broken_blocks_are_refused():
    text = "a\n<!-- study:cost -->\nold\n<!-- /study:cost -->\nb\n"
    assert fill(text, str.upper) == "a\n<!-- study:cost -->\nCOST\n<!-- /study:cost -->\nb\n"
    with pytest.raises(DatasetError, match="needs its"):
        fill("<!-- study:cost -->\nold\n", str.upper)
    with pytest.raises(DatasetError, match=r"unknown blocks \['costs'\]"):
        fill(text.replace("cost", "costs"), str.upper)


@pytest.mark.parametrize("kept", [0, 1, 3, 7])
def test_an_unfinished_study_says_what_is_missing(tmp_path, kept):
    content = make_study(n=4)
    content["cells"] = content["cells"][:kept]
    study = load_study(write_study(tmp_path, content))
    assert f"{min(kept, 39)} of 39 policies" in TABLES["status"](study).note
    assert write_study_report(tmp_path).exists()
    if kept > 1:
        assert "1 of 3" in TABLES["success"](study).markdown()
    assert (FIGURES["curves"][0](study) is None) == (kept == 0)


def test_tables_hold_the_numbers(tmp_path):
    content = make_study()
    warmup = next(c for c in content["cells"] if c["arm"] == "warmup" and c["seed"] == 0)
    expert = {**warmup, "arm": "expert", "collection": {}, "alarms": {"DexHiL-PlushSim-v0": [None] * 19 + ["too early"]}}
    content["cells"].append(expert)
    warmup["cpu_s"] = {"train": 3600.0}
    study = load_study(write_study(tmp_path, content))
    paper = TABLES["paper"](study)
    assert (
        "tissue",
        "DexHiL",
        "paper",
        "10 [3, 30] n = 20",
        "50 [30, 70] n = 20",
        "75 [53, 89] n = 20",
        "95 [76, 99] n = 20",
    ) in paper.rows
    assert "paper, to round 3: 13 against 20 (ratio 0.65); twin, to round 3: 8.0 against 10.0" in paper.note
    assert TABLES["alarms"](study).rows == (("plush", "1/20 [1, 24] %", "too early 1"),)
    cost = {row[0]: row for row in TABLES["cost"](study).rows}
    assert cost["Warm-up"][3] == f"{(3600 + 2 * 80) / 3600:.2f}"
    seeds = TABLES["seeds"](study).rows
    assert ("DexHiL", "1, 2, 3", "plush", "0, 1, 2", "3000000 to 3000019", "20, 20, 20") in seeds
    assert ("Simulated human", "-", "plush", "0", "3000000 to 3000019", "20") in seeds
    takeovers = [row for row in TABLES["takeovers"](study).rows if row[:3] == ("DexHiL", "1", "plush")]
    assert takeovers[0][5:9] == ("30", "3", "3", "36")
    sources = {row[0]: row[2] for row in TABLES["arms"](study).rows}
    assert sources == {"DexHiL": "own", "DAgger*": "of DexHiL", "Baseline": "own", "No new data": "none new"}
    assert TABLES["differences"](study).rows[0][0] == "DAgger* minus DexHiL"


def test_figures_stand_alone_and_stay_on_their_sheet(tmp_path):
    study = load_study(write_study(tmp_path))
    for name, (draw, _) in FIGURES.items():
        svg = draw(study)
        assert svg is not None, name
        root = ElementTree.fromstring(svg)
        width, height = float(root.get("width", 0)), float(root.get("height", 0))
        assert 0 <= min(numbers(svg, "text", "x")) <= max(numbers(svg, "text", "x")) < width
        assert 0 <= min(numbers(svg, "text", "y")) <= max(numbers(svg, "text", "y")) < height
        assert min(int(size) for size in re.findall(r"font-size:(\d+)px", svg)) >= 12
    curves = FIGURES["curves"][0](study) or ""
    for title in ("DexHiL", "DAgger*", "Baseline"):
        assert f">{title}</text>" in curves


def test_labels_are_moved_apart_and_axes_place_values():
    assert spread([10, 11, 50], 20, 0, 100) == pytest.approx([0.5, 20.5, 50.0])
    placed = spread([90, 90, 90], 20, 0, 100)
    assert all(b - a >= 19.9 for a, b in pairwise(placed))
    assert max(placed) <= 100
    frame = Frame(10, 20, 100, 200, (0, 10), (0.01, 1.0), log_y=True)
    assert (frame.px(5), frame.py(0.1), frame.py(5.0), frame.py(0.0)) == pytest.approx((60, 120, 20, 220))
    canvas = Canvas(10, 10, "a < b")
    canvas.text(1, 2, "<script>")
    ElementTree.fromstring(canvas.svg())
    assert "<script>" not in canvas.svg()


def test_tables_escape_what_their_form_takes_for_marks():
    table = Table(("a|b",), (("**x*y**",), ("P* < 1",)))
    assert table.markdown() == "| a\\|b |\n| --- |\n| **x\\*y** |\n| P\\* < 1 |"
    assert "<b>x*y</b>" in table.html()
    assert "P* &lt; 1" in table.html()
    assert Table(("a",), ()).markdown() == "*not run yet*"
