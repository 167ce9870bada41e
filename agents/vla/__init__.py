"""A two-expert flow-matching vision-language-action model."""
