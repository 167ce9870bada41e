# MuJoCo's bindings carry no types that a checker can read; everything is Any, said once here.
from typing import Any

def __getattr__(name: str) -> Any: ...
