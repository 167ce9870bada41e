"""Packages that only some machines need: imported when they are used, with a clear word when they are missing."""

import importlib
from types import ModuleType

from dexhil_env.errors import ConfigError


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``.

    Args:
        module: name to import.
        extra: the extra of this package that installs it.

    Raises:
        ConfigError: it is not installed; the text names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{module!r} is not installed; install it with: pip install 'dexhil[{extra}]'") from error
