"""The report: one HTML file with the questions, the results and the evidence for them.

It is made from stored artifacts only; nothing here imports torch or trains.

    findings.json, results/, runs/  --gather-->  Inputs
    Inputs, templates/, figures/  --sections, page-->  report.html
    figures/*.svg and *.csv, inputs/, ro-crate-metadata.json (`crate`)

Design choices
- Text is in the templates, numbers come from the findings: no result is typed by hand.
- A number carries its id for `study explain`.
- If the artifacts of a table or figure are not stored here, a sentence replaces it.
- The page has a print stylesheet (`@media print`), so a browser can write the PDF.
- Equal inputs give an equal page, since no clock is read.
"""
