"""Old sections with qualified names."""


def qualified(section, home):
  """The section with its function's package in its name, and so those within it."""
  made = dict(section)
  if ":" not in made["fn"]:
    made["fn"] = f"{home}.{made['fn']}"
  for name, value in made.items():
    if isinstance(value, dict) and "fn" in value:
      made[name] = qualified(value, name if name in ("select", "score") else "schedule")
  return made


def without(config, *names):
  """The config without these sections."""
  return {name: value for name, value in config.items() if name not in names}
