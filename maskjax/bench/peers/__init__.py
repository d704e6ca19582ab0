"""What maskjax is measured against: files that need no maskjax, run by their path."""
