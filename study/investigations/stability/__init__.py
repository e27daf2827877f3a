"""Stability: at which learning rate does half of the runs die, and what shifts it?

run      short runs of one curve at every learning rate of the grid -> results/stability/CURVE.json
dose     deaths against rates -> LD50 with an exact interval; ratios of two LD50
facts    the stored curves, read and compared
figure   deaths, fitted curves and LD50 side by side
cli      `study stability`
"""
