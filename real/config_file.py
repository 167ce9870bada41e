"""Reading and writing settings: dataclasses from and to TOML, with errors that name the file, the key and what is allowed."""

import difflib
import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from dexhil_env.errors import ConfigError

T = TypeVar("T")


def read_section(kind: type[T], values: Any, where: str) -> T:
    """Make a settings object from one table of a file.

    Args:
        kind: the dataclass.
        values: the table.
        where: file and section, for error texts.

    Raises:
        ConfigError: unknown or missing keys, wrong types, or values that the dataclass refuses.
    """
    table = read_table(values, where)
    known: dict[str, Field[Any]] = {each.name: each for each in fields(cast("Any", kind))}
    check_keys(table, tuple(known), where)
    missing = [name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING and name not in table]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} must be given")
    hints = get_type_hints(kind)
    made = {name: _convert(value, hints[name], f"{where} {name}") for name, value in table.items()}
    try:
        return kind(**made)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def read_table(values: Any, where: str) -> Mapping[str, Any]:
    """Return a table as it is.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: this must be a table ([section]); got {values!r}")
    return cast("Mapping[str, Any]", values)


def check_keys(table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    """Refuse unknown keys.

    Raises:
        ConfigError: names the nearest allowed key, and all of them.
    """
    for name in table:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"{where}: unknown key {name!r}; {hint}allowed: {', '.join(allowed)}")


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return ``value`` as the type of a field."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: must be one of {', '.join(map(repr, arguments))}; got {value!r}")
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, [each for each in arguments if each is not type(None)], where)
    if origin is tuple:
        return _convert_tuple(value, arguments, where)
    if origin is not None:
        return dict(read_table(value, where))  # the one kind of field that is left: a mapping
    return _convert_plain(value, hint, where)


def _convert_plain(value: Any, kind: type[Any], where: str) -> Any:
    if issubclass(kind, Enum):
        return _convert_enum(value, kind, where)
    accepted: dict[type[Any], tuple[tuple[type[Any], ...], str]] = {
        float: ((int, float), "a number"),
        int: ((int,), "a whole number"),
        bool: ((bool,), "true or false"),
        str: ((str,), "a text in quotes"),
    }
    takes, name = accepted[kind]
    if not isinstance(value, takes) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: must be {name}; got {value!r}")
    return kind(value)


def _convert_union(value: Any, choices: list[Any], where: str) -> Any:
    errors: list[str] = []
    for hint in choices:
        try:
            return _convert(value, hint, where)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(" or ".join(errors))


def _convert_tuple(value: Any, items: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: must be a list [...]; got {value!r}")
    values = list(cast("list[Any]", value))
    kinds = [items[0]] * len(values) if len(items) == 2 and items[1] is ... else list(items)
    if len(values) != len(kinds):
        raise ConfigError(f"{where}: needs {len(kinds)} values; got {len(values)}")
    return tuple(_convert(each, kind, f"{where}[{i}]") for i, (each, kind) in enumerate(zip(values, kinds, strict=True)))


def _convert_enum(value: Any, kind: type[Enum], where: str) -> Enum:
    for each in kind:
        if isinstance(value, str) and value.lower() == each.name.lower():
            return each
    raise ConfigError(f"{where}: must be one of {', '.join(repr(each.name.lower()) for each in kind)}; got {value!r}")


def changed_fields(made: Any) -> dict[str, Any]:
    """Return the fields of a settings object that are not at their default."""
    found: dict[str, Any] = {}
    for each in fields(made):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        value = getattr(made, each.name)
        if value != default:
            found[each.name] = value
    return found


def toml_lines(table: Mapping[str, Any], path: str = "") -> list[str]:
    """Lay a table out as TOML: plain keys first, then its tables; None is left out."""
    plain = {key: value for key, value in table.items() if value is not None and not isinstance(value, Mapping)}
    lines = [f"[{path}]"] if path and (plain or not table) else []
    lines += [f"{_key(key)} = {toml_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = toml_lines(cast("Mapping[str, Any]", value), f"{path}.{_key(key)}" if path else _key(key))
            lines += ["", *inner] if lines else inner
    return lines


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else json.dumps(key, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """Write one value as TOML.

    Raises:
        ConfigError: TOML has no such value.
    """
    if isinstance(value, Enum):
        return json.dumps(value.name.lower())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(each) for each in cast('list[Any]', value))}]"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise ConfigError(f"{value!r} cannot be written to a TOML file")
