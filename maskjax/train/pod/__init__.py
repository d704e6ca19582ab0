"""Many processes as one run: who is there, where all stop, and what happens when one is lost."""
