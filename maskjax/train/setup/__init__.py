"""What is made before the first step: parts, lengths, earlier stages, the first state."""
