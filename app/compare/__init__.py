"""The Compare page in pieces: what is chosen, then one file a tab.

chosen        arms, checkpoint and seed from the URL; arms by data set
scenes        stored objects beside the truth, or the sentence that says why not
plot_style    how every chart looks
rows, strip   one metric as a table's row, and as marks a seed
panels        truth and arms as one linked figure
curves, metrics, images, residuals, resolution, config, diagnostics      the tabs
print_figures the same figures for print, by matplotlib
"""
