"""Where the model files are, in a checkout and in an installed wheel."""

from pathlib import Path

from dexhil_env.errors import AssetError

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "assets", _PACKAGE.parent / "assets")
"""The wheel carries the files inside the package; a checkout has them beside it."""


def asset_path(*parts: str) -> Path:
    """Return the path of a model file, e.g. ``asset_path("fr3", "fr3.xml")``.

    Raises:
        AssetError: the file is in neither place.
    """
    for root in _ROOTS:
        path = root.joinpath(*parts)
        if path.exists():
            return path
    places = " or ".join(str(root) for root in _ROOTS)
    raise AssetError(
        f"model file {'/'.join(parts)!r} not found in {places}; reinstall the dexhil package or check out the whole repository"
    )
