"""Tasks: compositions that hold the grammar's words together; few of them serve all methods."""

from maskjax.task.reconstruct import reconstruct

__all__ = ["reconstruct"]
