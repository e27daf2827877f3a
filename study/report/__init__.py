"""The report: one HTML file with what was asked, what was found and the evidence for it.

Everything comes from stored artifacts; nothing here imports torch, and nothing is trained.

    findings.json, results/, runs/  --gather-->  Inputs
    Inputs, templates/, figures/  --sections, page-->  report.html
    figures/*.svg and *.csv, inputs/, ro-crate-metadata.json (`crate`)

Design choices
- Words are in the templates, numbers come from the findings: no sentence about a result is typed.
- A number carries the id under which `study explain` knows it.
- A table or figure whose artifacts are not stored here is replaced by a sentence that says so.
- The page is made for a screen and for paper (`@media print`): the browser writes the PDF.
- Equal input gives an equal page: no clock is read.
"""
