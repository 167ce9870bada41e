"""Learning the hand retargeting: human hand, networks, losses, calibration, metrics, peers."""
