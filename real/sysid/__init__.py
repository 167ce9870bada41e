"""From logs of a robot to a twin that moves like it: recording, identification, comparison."""
