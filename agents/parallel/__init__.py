"""Training on several processors: which weights learn, how they are spread, how much memory that takes."""
