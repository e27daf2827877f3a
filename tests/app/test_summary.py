"""Summary: the findings that come first, and the pictures that are in git."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import stored
from checkouts import judge, opened, rendered, two_by_three
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from study.evidence.images import NAME, SIDE_PX, read_images, write_images
from study.evidence.model import parse
from study.formats.dataset import load_dataset
from study.runs import RunFolder, write_yaml
from study.settings import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROOT = Path(__file__).parent.parent.parent
COLOUR = re.compile(r"background:(#\w{6})")
FACTS = {
    "seed": 1, "checkpoint": "best", "region": [0, 0, 9, 9], "amplitude": [0.0, 2.0],
    "phase": [-1.0, 1.0], "panels": ["truth", "reconstruction"],
}  # fmt: skip


def picture(width: int = 20, height: int = 20, mode: str = "L", **facts: object) -> bytes:
    """A file of the form of images.png: four panels of their own grey."""
    image = Image.new(mode, (width, height))
    for i in range(2):
        for j in range(2):
            grey = 50 * (1 + i + 2 * j)
            colour = grey if mode == "L" else (grey, grey, grey)
            image.paste(colour, (i * width // 2, j * height // 2, width, height))
    text = PngInfo()
    text.add_text("armature", json.dumps(FACTS | facts))
    out = io.BytesIO()
    image.save(out, format="PNG", pnginfo=text)
    return out.getvalue()


def html(app) -> str:
    return "".join(block.proto.body for block in app.get("html"))


def with_headline(root: Path) -> None:
    """AGC-001 of `two_by_three` as the headline."""
    study = two_by_three(root)
    judge(root, study, **{"AGC-001": stored.claim()})
    write_yaml(
        root / "claims.yaml", {"headline": ["AGC-001"], "claims": {"AGC-001": stored.claim()}}
    )
    content = json.loads((root / "findings.json").read_text())
    (root / "findings.json").write_text(json.dumps(content | {"headline": ["AGC-001"]}))


def test_an_empty_checkout_gives_the_two_commands():
    app = opened("summary")
    assert app.title[0].value == "Summary"
    assert app.code[0].value == "make pull\nmake repro"


def test_a_headline_has_its_words_effect_interval_and_number_of_seeds(fresh):
    with_headline(fresh)
    app = opened("summary")
    claim = json.loads((fresh / "findings.json").read_text())["claims"]["AGC-001"]
    lines = [rendered(block.value) for block in app.markdown]
    assert any(claim["text"] in line for line in lines)
    drawn = html(app)
    assert 'class="bar"' in drawn and 'class="point"' in drawn and 'class="zero"' in drawn
    assert re.search(rf"{claim['n']} of \d+ seeds", drawn)
    links = {link.proto.label: link.proto.query_string for link in app.get("page_link")}
    assert links["AGC\\-001"] == "claim=AGC-001"


def test_a_claim_has_one_colour_on_both_pages(fresh):
    """Also where a difference is below the margin, which is not as good as a larger one."""
    with_headline(fresh)
    findings = json.loads((fresh / "findings.json").read_text())
    findings["claims"]["AGC-001"] |= {"status": "supported", "margin": 10.0}
    del findings["claims"]["AGC-001"]["word"]  # it is computed from the two
    (fresh / "findings.json").write_text(json.dumps(findings))
    colours = [set(COLOUR.findall(html(opened(page)))) for page in ("summary", "findings")]
    assert colours[0] == colours[1] and len(colours[0]) == 1


def test_an_address_of_the_former_first_page_opens_the_arms(fresh):
    two_by_three(fresh)
    app = opened("summary", study="this pipeline", weights="best")
    assert app.title[0].value == "Arms"
    assert app.query_params["weights"] == "best"


def test_the_row_shows_one_truth_for_arms_with_one_object(fresh):
    from app.summary.pictures import panels

    two_by_three(fresh)
    for arm, seed in (("control", 1), ("agc", 2)):
        (fresh / "results" / arm / NAME).write_bytes(picture(seed=seed))
    problems: list[str] = []
    found = parse(json.loads((fresh / "findings.json").read_text()), "findings.json").arms
    row = panels(
        {"control": found["control"], "agc": found["agc"], "absent": found["agc"]}, problems
    )
    assert [(p.arm, p.is_truth) for p in row] == [
        ("control", True), ("control", False), ("agc", False),
    ]  # fmt: skip
    greys = [np.asarray(Image.open(io.BytesIO(p.images["phase"]))) for p in row]
    assert [set(grey.ravel().tolist()) for grey in greys] == [{150}, {200}, {200}]
    assert problems == []


def test_a_written_picture_is_read_back(runs):
    """The reader against the writer, on a run with its object."""
    data = load_dataset(runs / "data" / "tiny", ("test",))
    file = runs / "results" / "control" / NAME
    write_images(file, 1, RunFolder(runs / "runs" / "control" / "s1"), data.splits["test"])
    facts, images = read_images(Path("results/control") / NAME, runs)
    truth = np.asarray(images["truth", "amplitude"])
    assert facts.seed == 1 and max(truth.shape) <= SIDE_PX
    assert truth.min() == 0 and truth.max() == 255, "the truth's own range"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + bytes(100),
        picture()[:-60],
        picture(mode="RGB"),
        picture(2 * SIDE_PX + 2),
        picture(20, 2 * SIDE_PX + 2),
        picture(panels=["truth", "other"]),
        picture(seed="1"),
        picture() + bytes(64_000),
    ],
    ids=["empty", "gif", "torn", "colour", "wide", "high", "panels", "facts", "large"],
)
def test_what_is_no_picture_is_a_sentence(fresh, content):
    from app.summary.pictures import panels

    file = fresh / "results" / "control" / NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    problems: list[str] = []
    assert panels({"control": None}, problems) == []
    assert len(problems) == 1 and "results/control/images.png" in problems[0]


def test_a_link_out_of_the_checkout_is_not_followed(fresh, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / NAME
    outside.write_bytes(picture())
    file = fresh / "results" / "control" / NAME
    file.parent.mkdir(parents=True)
    file.symlink_to(outside)
    with pytest.raises(UserError, match="link"):
        read_images(file, fresh)


@pytest.mark.slow
def test_a_clone_shows_findings_and_pictures_before_any_pull(fresh):
    """Only what is in git: settings, claims, findings and results."""
    for name in ("params.yaml", "claims.yaml", "findings.json"):
        shutil.copy(ROOT / name, fresh / name)
    for name in ("results", "studies/results", "full/results"):
        shutil.copytree(ROOT / name, fresh / name)
    for file in [*ROOT.glob("*/params.yaml"), *ROOT.glob("*/recorded.json")]:
        shutil.copy(file, fresh / file.parent.name / file.name)
    app = opened("summary")
    assert not app.error
    found = json.loads((fresh / "findings.json").read_text())
    links = [link.proto.query_string for link in app.get("page_link")]
    assert [f"claim={name}" for name in found["headline"]] == links[: len(found["headline"])]
    assert html(app).count("<img") >= 4
