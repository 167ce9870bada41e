"""Human in the loop: takeover, mapping, simulated human."""
