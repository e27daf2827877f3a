"""Cost against the number of patterns and of runs, as an estimate for larger studies; no goals.

    python -m bench.scaling    (`make bench-scaling`) writes bench/scaling.json and scaling.png

CPU seconds of the process and its children, up to sizes that two cores can measure. Larger sizes
are extrapolated with a constant plus a power law fitted to the measurements
(`bench.scaling.curve`).

- simulate: `study simulate` of one data set including imports and writing; 64 x 64 px patterns of
  all splits, from larger and more objects.
- epoch: a hybrid network of width 8 on 64 x 64 px training patterns in memory: the median time of
  60 steps times the steps per epoch, plus the time to draw the order.
- evaluate, collect: the root study's control after one epoch, copied to 5 seeds per arm.
- findings: the stage, with one claim per arm. index: the data read when the app opens. Both use
  stored results created by `bench.many`.
"""
