"""The page Compare: the selection, then one file per tab.

chosen        arms, checkpoint and seed from the URL; arms by data set
scenes        stored objects beside the truth, or a sentence with the reason for their absence
plot_style    style of all charts
rows, strip   one metric as a row of the table, and as one mark per seed
panels        truth and arms as one linked figure
curves, metrics, images, residuals, resolution, config, diagnostics      the tabs
print_figures the same figures for print, by matplotlib
"""
