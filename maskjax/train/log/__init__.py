"""What a run writes and shows: metrics, progress, profile, summaries, comparisons."""
