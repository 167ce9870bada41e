"""Learning for DexHiL: policies, training, rounds, evaluation, command line."""
