"""Where the cameras are: lens, front camera to the arm's base, wrist camera to the palm, from pictures of a printed board."""
