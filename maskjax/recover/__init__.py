"""Recover: what is asked back for the hidden part, and what a wrong answer costs."""

from maskjax.recover.loss import absolute_error, squared_error
from maskjax.recover.patches import patchify, unpatchify
from maskjax.recover.target import Target, pixels

__all__ = ["Target", "absolute_error", "patchify", "pixels", "squared_error", "unpatchify"]
