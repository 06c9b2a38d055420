"""From graph to loops, and from loops to faster loops."""
