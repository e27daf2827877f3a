"""The report: one HTML file with the questions, the results and the evidence for them.

It is generated from stored artifacts only; nothing here imports torch or trains.

    findings.json, results/, runs/  --gather-->  Inputs
    Inputs, templates/, figures/  --sections, page-->  report.html
    figures/*.svg and *.csv, inputs/, ro-crate-metadata.json (`crate`)

Design choices
- Text is in the templates, numbers come from the findings: no result is entered manually.
- Each number has its id for `study explain`.
- If the artifacts of a table or figure are not stored here, it is replaced by a sentence.
- The page has a print stylesheet (`@media print`), so that a browser can write a PDF.
- Equal inputs give an identical page, since the current time is not used.
"""
