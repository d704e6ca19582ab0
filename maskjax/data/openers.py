"""What opens data by a short name, `data.name`; any other function is named in full."""

OPENERS = {
  "folder": "maskjax.data.files:open",
  "zip": "maskjax.data.files:open",
  "npz": "maskjax.data.arrays:open",
  "text": "maskjax.data.text:open",
  "wav": "maskjax.data.wav:open",
  "csv": "maskjax.data.series:open",
  "table": "maskjax.data.table:open",
  "motion": "maskjax.data.motion:open",
  "mixtures": "maskjax.data.mixtures:open",
  "graph": "maskjax.data.graph:open",
  "tiny": "maskjax.data.tiny:source",
}
