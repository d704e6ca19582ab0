"""The devices of a run, and how its arrays lie on them."""
