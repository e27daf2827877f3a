"""What more patterns and more runs cost: no goal, but what a larger study will take.

    python -m bench.scaling    (`make bench-scaling`), into bench/scaling.json and bench/scaling.png

CPU seconds, of the process and of those it starts, as far as two cores allow it to be measured.
Beyond stands a constant plus a power law through the measured sizes (`bench.scaling.curve`).

- simulate: `study simulate` of one data set, imports and writing included; patterns of all splits,
  64 x 64 px, from larger and more objects.
- epoch: a hybrid network of width 8 on training patterns of 64 x 64 px in memory: the median of 60
  steps times the steps of an epoch, and the epoch's order.
- evaluate, collect: the root study's control after one epoch, copied as 5 seeds per arm.
- findings: the stage, with one claim per arm. index: what the app reads when it opens. Both over
  stored results as `bench.many` makes them.
"""
