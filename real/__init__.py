"""Hardware drivers of DexHiL, and emulators that speak the same wire. Everything heavy is imported when it is used."""
