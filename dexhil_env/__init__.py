"""DexHiL environments: an FR3 arm with a DexHand021 hand, in a MuJoCo twin and on hardware, behind one Gymnasium interface."""
