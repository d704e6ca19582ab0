"""The line to the largest batch."""

from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.train.plan.memory import largest_batch


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 64), st.integers(0, 10**11))
def test_the_largest_batch_fits_and_one_more_unit_does_not(fixed, each, unit, memory):
  takes = lambda batch: fixed + each * batch
  found = largest_batch({unit: takes(unit), 4 * unit: takes(4 * unit)}, memory, unit)
  assert found % unit == 0
  assert found == 0 or takes(found) <= memory
  assert takes(found + unit) > memory


def test_memory_that_does_not_grow_with_the_batch_tells_nothing():
  assert largest_batch({8: 100, 16: 100}, memory=1000, unit=8) is None
