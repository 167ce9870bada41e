"""The console's page: HTML, style and scripts of this folder in one file, nothing fetched."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
SCRIPTS = ("link.js", "input.js", "devices.js", "spacemouse.js", "replay.js", "show.js")


@cache
def whole_page() -> str:
    """Return the page with style and scripts inside."""
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    scripts = "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    page = (_FOLDER / "page.html").read_text(encoding="utf-8")
    return page.replace("/*STYLE*/", style).replace("/*SCRIPTS*/", scripts)
