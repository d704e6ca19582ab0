"""Generate: one iterative decoding loop, many policies."""

from maskjax.generate.autoregressive import autoregressive
from maskjax.generate.decode import decode

__all__ = ["autoregressive", "decode"]
