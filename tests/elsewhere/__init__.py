"""A package that is copied out of the checkout and names everything in full."""
