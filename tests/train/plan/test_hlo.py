"""Texts of programs in the forms that compilers write, read as operations and accounts."""

import pytest

from maskjax.train.plan import hlo
from maskjax.train.plan.cost import cost

LOOP = """HloModule m, num_partitions=4

%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {{
  %s = (s32[], f32[8]{{0}}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[8]{{0}} get-tuple-element(%s), index=1
  %r = f32[8]{{0}} all-reduce(%x), replica_groups={{}}, to_apply=%add
  ROOT %out = (s32[], f32[8]{{0}}) tuple(%i, %r)
}}

%condition (s: (s32[], f32[8])) -> pred[] {{
  %s = (s32[], f32[8]{{0}}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %limit = s32[] constant(12)
  ROOT %more = pred[] compare({sides}), direction={direction}
}}

ENTRY %main (x: f32[8]) -> (s32[], f32[8]) {{
  %x = f32[8]{{0}} parameter(0)
  %start = s32[] constant({start})
  %t = (s32[], f32[8]{{0}}) tuple(%start, %x)
  ROOT %w = (s32[], /*index=1*/f32[8]{{0}}) while(%t), condition=%condition, body=%body
}}
"""


@pytest.mark.parametrize(
  ("sides", "direction", "start", "runs"),
  [
    ("%i, %limit", "LT", 0, 12),
    ("%i, %limit", "LE", 0, 13),
    ("%limit, %i", "GT", 5, 7),
    ("%i, %limit", "LT", 12, 0),
  ],
)
def test_a_loop_runs_from_its_start_to_its_condition(sides, direction, start, runs):
  done = cost(hlo.parse(LOOP.format(sides=sides, direction=direction, start=start)))
  assert sum(c.times for c in done.collectives) == runs
  assert done.unknown == 0
  # Reads and writes its operand each time.
  assert done.traffic == runs * 2 * 32


CHAIN = """HloModule m, num_partitions=4

%first (p: bf16[8]) -> bf16[32] {
  %p = bf16[8]{0} parameter(0)
  ROOT %g = bf16[32]{0} all-gather(%p), channel_id=7, replica_groups=[1,4]<=[4], CHAIN
}

%second (p: bf16[8]) -> bf16[32] {
  %p = bf16[8]{0} parameter(0)
  ROOT %g = bf16[32]{0} all-gather(%p), channel_id=7, replica_groups=[1,4]<=[4], CHAIN
}

ENTRY %main (x: bf16[8]) -> bf16[32] {
  %x = bf16[8]{0} parameter(0)
  %a = bf16[32]{0} fusion(%x), kind=kCustom, calls=%first
  ROOT %b = bf16[32]{0} fusion(%x), kind=kCustom, calls=%second
}
"""


def test_pieces_of_one_collective_in_several_fusions_count_once():
  chained = CHAIN.replace("CHAIN", 'frontend_attributes={chain_id="0"}')
  assert [c.sent for c in cost(hlo.parse(chained)).collectives] == [3 * 16]
  assert len(cost(hlo.parse(CHAIN.replace("CHAIN", "dimensions={0}"))).collectives) == 2


ASYNC = """HloModule m, num_partitions=4

%wrapped (p: f32[8]) -> f32[2] {
  %p = f32[8]{0} parameter(0)
  ROOT %r = f32[2]{0} reduce-scatter(%p), replica_groups={{0,1,2,3}}, dimensions={0}, to_apply=%add
}

%all-reduce-scatter.1 (p: f32[8]) -> f32[2] {
  %p = f32[8]{0} parameter(0)
  %r = f32[8]{0} all-reduce(%p), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %s = f32[2]{0} slice(%r), slice={[0:2]}
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %gs = (f32[2]{0}, f32[8]{0}) all-gather-start(%y), replica_groups={{0,1,2,3}}, dimensions={0}
  %gd = f32[8]{0} all-gather-done(%gs)
  %as = ((f32[8]{0}), f32[2]{0}, s32[]) async-start(%x), calls=%wrapped
  %ad = f32[2]{0} async-done(%as)
  %y = f32[2]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %r = f32[8]{0} all-reduce(%gd), replica_groups=mesh['a'=2,'b'=2] {'b'}, to_apply=%add
}
"""


def test_collectives_count_alike_in_all_their_forms():
  found = sorted((c.kind, c.members, c.sent) for c in cost(hlo.parse(ASYNC)).collectives)
  all_ = (0, 1, 2, 3)
  assert found == [
    ("all-gather", all_, 24.0),
    ("all-reduce", (0, 1), 32.0),
    ("reduce-scatter", all_, 24.0),
    ("reduce-scatter", all_, 24.0),
  ]


FUSED = """HloModule m

%inner (p: f32[100], u: f32[4], i: s32[]) -> f32[100] {
  %p = f32[100]{0} parameter(0)
  %u = f32[4]{0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %d = f32[100]{0} dynamic-update-slice(%p, %u, %i)
}

%taken (p: f32[100], i: s32[]) -> f32[10] {
  %p = f32[100]{0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %d = f32[10]{0} dynamic-slice(%p, %i), dynamic_slice_sizes={10}
}

ENTRY %main (p: f32[100], u: f32[4], i: s32[]) -> f32[100] {
  %p = f32[100]{0} parameter(0)
  %u = f32[4]{0:T(128)S(1)} parameter(1)
  %i = s32[] parameter(2)
  %t = f32[10]{0:T(128)S(1)} fusion(%p, %i), kind=kLoop, calls=%taken
  ROOT %f = f32[100]{0} fusion(%p, %u, %i), kind=kLoop, calls=%inner
}
"""


def test_traffic_of_slices_and_updates_in_place_is_what_they_touch():
  take = 10 * 4 + 4  # The slice and the index; its result lies beside the main memory.
  put = 4 * 4 + 4  # The update read beside the main memory, and written.
  assert cost(hlo.parse(FUSED)).traffic == take + put


KERNEL = """HloModule m

ENTRY %main (x: bf16[2,8]) -> bf16[2,8] {
  %x = bf16[2,8]{1,0} parameter(0)
  ROOT %y = bf16[2,8]{1,0} custom-call(%x), custom_call_target="tpu_custom_call", SAID
}
"""


@pytest.mark.parametrize(
  ("said", "flops", "untold"),
  [('"body":"TUz{=","cost_estimate":{"flops":"640"}', 640, 0), ('"body":"TUz="', 0, 1)],
)
def test_a_kernel_counts_by_its_own_word_or_is_told(said, flops, untold):
  text = KERNEL.replace("SAID", f'backend_config={{"custom_call_config":{{{said}}}}}')
  done = cost(hlo.parse(text))
  assert (done.flops, done.untold, done.traffic) == (flops, untold, 2 * 32)
