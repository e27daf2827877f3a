"""The report: one page and one PDF that tell what was asked, what was found and what it rests on.

Everything comes from stored artifacts; nothing here imports torch, and nothing is trained.

    findings.json, results/, recorded/, runs/  --gather-->  sections  -->  blocks (`document`)
    blocks  --page-->  report.html      blocks  --pdf-->  report.pdf
    figures/*.svg and *.csv, inputs/, ro-crate-metadata.json (`crate`)

Design choices
- A section is a list of blocks, and both the page and the PDF are drawn from the same blocks: they
  cannot tell two different stories.
- A number carries the id under which `study explain` knows it. No sentence about a result is typed;
  it is put together from the numbers.
- What is not stored here is said in a sentence where its table or figure would stand.
- Equal input gives an equal page: no clock is read.
"""
