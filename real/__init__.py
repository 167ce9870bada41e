"""Hardware drivers of DexHiL (empty in this release: see CHANGELOG)."""
