"""Packages that only some machines need: imported when they are used, with a clear word when they are missing."""

import importlib
from types import ModuleType
from typing import Final

from dexhil_env.errors import ConfigError

_MISSING: Final = "{module!r} is not installed; install it with: pip install 'dexhil[{extra}]'"
_BROKEN: Final = "{module!r} is installed, but cannot be loaded ({error}); install it anew with: pip install 'dexhil[{extra}]'"


def require(module: str, extra: str, text: str = "") -> ModuleType:
    """Import ``module``.

    Args:
        module: name to import.
        extra: the extra of this package that installs it.
        text: what to say instead when that fails; ``{error}`` stands for the reason.

    Raises:
        ConfigError: it is not installed, or cannot be loaded; the text names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        text = text or (_MISSING if isinstance(error, ModuleNotFoundError) else _BROKEN)
        raise ConfigError(text.format(module=module, extra=extra, error=error)) from error
