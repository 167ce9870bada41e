# franka's own stubs are incomplete; everything is Any, said once here.
from typing import Any

def __getattr__(name: str) -> Any: ...
