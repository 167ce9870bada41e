"""``python -m agents.cli``: what torchrun starts."""

from agents.cli import main

main()
