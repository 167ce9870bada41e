"""Policies over a socket: ours for others, others' for us, in openpi's protocol."""
