"""From a person's hand keypoints to the DexHand021's motors, with numpy only; training lives in ``agents.retarget``."""
