"""Speed, as ratios against a named reference, alternating in one process."""
