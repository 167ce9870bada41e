"""Messages of openpi's websocket protocol: msgpack maps with numpy arrays in them, and nothing that can be executed.

An array is ``{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [16, 19]}``, a numpy scalar
``{b"__npgeneric__": True, b"data": 1.0, b"dtype": "<f4"}`` (openpi, ``packages/openpi-client``).
"""

from math import prod
from typing import Any, Final, cast

import msgpack
import numpy as np

from dexhil_env.errors import RemoteError

MAX_BYTES: Final = 32 * 2**20
"""Longest message that is read: 16 pictures of 720p are 44 MB, so cameras are scaled down before they are sent."""
MAX_ITEMS: Final = 256
"""Most entries of a map or list."""
MAX_DEPTH: Final = 4
_KINDS: Final = "biuf"
"""Kinds of numpy arrays that are read: booleans, integers, floats. Objects could be anything, and text has its own type."""


def pack(message: dict[str, Any]) -> bytes:
    """Return the bytes of a message.

    Raises:
        RemoteError: it holds something that the protocol does not know.
    """
    try:
        return cast("bytes", msgpack.packb(message, default=_pack_array))
    except (TypeError, ValueError, OverflowError) as error:
        raise RemoteError(f"this message cannot be sent: {error}; numbers, text, lists, maps and numpy arrays can") from error


def unpack(data: bytes) -> dict[str, Any]:
    """Read a message.

    Raises:
        RemoteError: it is too long, damaged, no map, or holds an array whose size does not fit its data.
    """
    if len(data) > MAX_BYTES:
        raise RemoteError(f"a message of {len(data)} bytes is longer than {MAX_BYTES}; send smaller pictures")
    limits = dict.fromkeys(("max_map_len", "max_array_len"), MAX_ITEMS)
    try:
        message = msgpack.unpackb(data, object_hook=_unpack_array, strict_map_key=True, **limits)
    except RemoteError:
        raise
    except Exception as error:  # whatever msgpack finds wrong with bytes from outside
        raise RemoteError(f"the message is not msgpack as openpi speaks it: {type(error).__name__}: {error}") from error
    if not isinstance(message, dict):
        raise RemoteError(f"a message is a map; got {type(message).__name__}")
    _check_depth(message, MAX_DEPTH)
    return {str(key): value for key, value in message.items()}


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise RemoteError(f"the message is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _KINDS:
        raise TypeError(f"arrays of type {value.dtype}")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(type(value).__name__)


def _unpack_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in value and b"__npgeneric__" not in value:
        return value
    dtype = _dtype(value.get(b"dtype"))
    data = value.get(b"data")
    if b"__npgeneric__" in value:
        if not isinstance(data, bool | int | float):
            raise RemoteError(f"a numpy scalar needs a number; got {type(data).__name__}")
        return dtype.type(data)
    shape = value.get(b"shape")
    sizes = isinstance(shape, list | tuple) and len(shape) <= 6 and all(type(n) is int and n >= 0 for n in shape)
    if not sizes or not isinstance(data, bytes) or prod(shape) * dtype.itemsize != len(data):  # type: ignore[arg-type]
        raise RemoteError(f"an array of shape {shape} and type {dtype} does not fit its data")
    return np.frombuffer(data, dtype).reshape(shape).copy()  # type: ignore[arg-type]


def _dtype(text: Any) -> "np.dtype[Any]":
    try:
        dtype = np.dtype(text if isinstance(text, str) and len(text) <= 8 else None)
    except TypeError as error:
        raise RemoteError(f"unknown array type {text!r}") from error
    if not isinstance(text, str) or dtype.kind not in _KINDS:
        raise RemoteError(f"arrays of type {text!r} are not read; booleans, integers and floats are")
    return dtype
