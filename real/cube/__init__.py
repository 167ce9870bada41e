"""A cube in a person's hand as a six-degree-of-freedom input: printed, seen by any camera, followed."""
