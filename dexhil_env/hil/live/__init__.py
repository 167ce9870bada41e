"""A person who takes over with real devices: messages, inbox, operator, recording and replay."""
