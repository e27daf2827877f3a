"""Title, question, and how many claims ended how."""

from __future__ import annotations

from study.evidence.wording import counted, listed
from study.report.document import Block, Code, Heading, Number, Paragraph, paragraph
from study.report.gather import Inputs

TITLE = "Stable networks for ptychography: the evidence"
QUESTION = (
    "Which training settings of a network that turns measured diffraction amplitudes into a "
    "complex image are stable, why do others die, and when is a network worth it at all? "
)


def head(inputs: Inputs) -> list[Block]:
    date, commit = inputs.newest
    runs = sum(len(arm.seeds) for arm in inputs.arms.values())
    trained = inputs.stored(list(inputs.arms), "arm")
    verdicts = [f"{n} {status}" for status, n in inputs.findings["counts"].items() if n]
    claims = counted(len(inputs.findings["claims"]), "claim")
    when = f"Code of the newest run: {date[:10]}, commit "
    written = (" · written from commit ", Code(inputs.commit[:12])) if inputs.commit else ()
    return [
        Heading(1, TITLE),
        Paragraph((when, Code(commit[:12]), *written)),
        paragraph(
            QUESTION,
            f"Here {claims} from claims.yaml are judged: ",
            Number(listed(verdicts), "counts in findings.json", explained=False),
            f". The evidence is {counted(runs, 'stored run')} of {len(trained)} trained arms and "
            f"{len(inputs.arms) - len(trained)} rows that are no networks. Estimates are means "
            "over seeds with their 95 % t interval unless said otherwise; scores are those of the "
            "last weights, metric set standard. Point at a number to see its id; ",
            Code("study explain ID"),
            " tells its value, its inputs and the command that gives it again.",
        ),
    ]
