"""The MuJoCo twin."""
