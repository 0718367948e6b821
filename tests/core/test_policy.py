"""Policies as people write them: read strictly, with one clear message for every way of getting it wrong."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_mlgate import policy
from pytest_mlgate.errors import Misuse
from pytest_mlgate.find_policy import find

GOOD = 'required = ["budget"]\n'
WAIVER = (
    '[[waivers]]\nrequirement = "drift.max"\nowner = "ana"\napprover = "ben"\nreason = "known"\n'
    "expires = 2030-01-01\n"
)
KEYS = (
    "required, name, alpha, seed, candidate, baseline, training_record, data, tests, targets, compress, "
    "holdout, checks, inconclusive"
)


@pytest.fixture
def written(tmp_path):
    """A function that writes a policy and reads it."""

    def load(text: str | bytes, name: str = "mlgate.toml") -> policy.Policy:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return policy.load(path)

    return load


def test_a_full_policy_is_read_as_written(written):
    """Every key comes back with its value, and every section of a check with the line it stands on."""
    text = (
        'required = ["budget", "drift"]\nname = "loan"\nalpha = 0.1\nseed = 3\ncandidate = "m.onnx"\n'
        "[checks.budget]\nsize_mb = 1\n[[checks.drift]]\nmax_shift = 0.1\n[[checks.drift]]\nmax_shift = 0.2\n"
        '[[inconclusive]]\nrequirement = "drift.max_shift"\nreason = "few rows"\nscope = "age"\n\n'
        '[[grades]]\nrequirement = "budget.size_mb"\nreason = "ok"\ngrade = "estimated"\n\n' + WAIVER
    )
    read = written(text)
    assert (read.fields.required, read.fields.alpha, read.fields.seed) == (("budget", "drift"), 0.1, 3)
    assert [(u.check, u.parameters, u.source) for u in read.uses] == [
        ("budget", {"size_mb": 1}, "mlgate.toml:6"),
        ("drift", {"max_shift": 0.1}, "mlgate.toml:8"),
        ("drift", {"max_shift": 0.2}, "mlgate.toml:10"),
    ]
    assert read.fields.waivers[0].scope == "any"
    assert read.fields.waivers[0].expires.isoformat() == "2030-01-01"
    assert read.source == "mlgate.toml"
    assert read.digest.startswith("sha256:")
    assert written(text + "# one more word\n").digest != read.digest


def test_pyproject_holds_the_same_policy(written):
    """`[tool.mlgate]` in pyproject.toml reads as the policy file does, line numbers included."""
    text = '[project]\nname = "x"\n[tool.mlgate]\nrequired = ["budget"]\n'
    text += "[tool.mlgate.checks.budget]\nsize_mb = 1\n"
    read = written(text, "pyproject.toml")
    assert read.fields.required == ("budget",)
    assert read.uses[0].source == "pyproject.toml:5"


BAD = {
    "nothing in it": ("", "no `required` list"),
    "no required": ('name = "x"\n', "no `required` list"),
    "empty required": ("required = []\n", "`required` is empty"),
    "required is text": ('required = "budget"\n', r"Expected `array`, got `str` - at `\$.required`"),
    "required holds a number": ("required = [1]\n", r"Expected `str`, got `int` - at `\$.required\[0\]`"),
    "required twice": ('required = ["a", "b", "a"]\n', "`required` names a twice"),
    "unknown key": (GOOD + "alhpa = 0.1\n", f"(alhpa).*Accepted: {KEYS}"),
    "two unknown keys": (GOOD + "zeta = 1\neta = 2\n", r"\(eta, zeta\)"),
    "unknown key inside": (
        GOOD + '[data]\ntest = "t"\nlabel = "y"\ntrian = "x"\n',
        r"`trian` - at `\$.data`",
    ),
    "alpha zero": (GOOD + "alpha = 0\n", "alpha=0.0. Accepted: a probability above 0"),
    "alpha negative": (GOOD + "alpha = -0.1\n", "alpha=-0.1"),
    "alpha above one half": (GOOD + "alpha = 0.51\n", "alpha=0.51"),
    "alpha nan": (GOOD + "alpha = nan\n", "alpha=nan"),
    "alpha inf": (GOOD + "alpha = inf\n", "alpha=inf"),
    "alpha text": (GOOD + 'alpha = "5%"\n', "Expected `float`, got `str`"),
    "alpha bool": (GOOD + "alpha = true\n", "Expected `float`, got `bool`"),
    "alpha huge": (GOOD + f"alpha = 1{'0' * 400}\n", "alpha"),
    "seed fraction": (GOOD + "seed = 1.5\n", "seed"),
    "checks is a list": (GOOD + 'checks = ["budget"]\n', r"\$.checks"),
    "check is a number": (GOOD + "[checks]\nbudget = 3\n", r"\$.checks"),
    "candidate is a number": (GOOD + "candidate = 3\n", r"\$.candidate"),
    "candidate without model": (GOOD + '[candidate]\noutput = "logit"\n', "model"),
    "data without label": (GOOD + '[data]\ntest = "t.csv"\n', "label"),
    "waiver without owner": (GOOD + WAIVER.replace('owner = "ana"\n', ""), "owner"),
    "waiver with empty approver": (GOOD + WAIVER.replace('"ben"', '""'), "'drift.max' leaves approver empty"),
    "waiver with two empty fields": (
        GOOD + WAIVER.replace('"ben"', '""').replace('"known"', '""'),
        "leaves reason, approver empty",
    ),
    "waiver with bad date": (GOOD + WAIVER.replace("2030-01-01", '"soon"'), "Invalid RFC3339 encoded date"),
    "waiver with impossible date": (GOOD + WAIVER.replace("2030-01-01", "2030-02-30"), "not TOML"),
    "waiver with a moment": (GOOD + WAIVER.replace("2030-01-01", "2030-01-01T10:00:00"), "Expected `date`"),
    "waiver with unknown field": (GOOD + WAIVER + 'until = "x"\n', "until"),
    "duplicate waivers": (GOOD + WAIVER + WAIVER, "two waivers cover the same requirement and scope"),
    "inconclusive without reason": (GOOD + '[[inconclusive]]\nrequirement = "a"\n', "reason"),
    "inconclusive with empty reason": (
        GOOD + '[[inconclusive]]\nrequirement = "a"\nreason = ""\n',
        "leaves reason empty",
    ),
    "unknown grade": (GOOD + '[[grades]]\nrequirement = "a"\nreason = "b"\ngrade = "good"\n', "'good'"),
    "not TOML": ("required = [\n", "not TOML"),
    "key twice": (GOOD + GOOD, "not TOML"),
    "section twice": (GOOD + "[checks.a]\nx = 1\n[checks.a]\nx = 2\n", "not TOML"),
    "not UTF-8": (GOOD.encode() + b'name = "\xff"\n', "cannot be read"),
    "UTF-16": (GOOD.encode("utf-16"), "cannot be read"),
    "a NUL": (GOOD + "\0", "not TOML"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_policy_is_misuse_with_one_clear_message(written, text, message):
    """Every mistake is misuse, and one message names the file and what is wrong or accepted."""
    with pytest.raises(Misuse, match=message) as refused:
        written(text)
    assert "mlgate.toml" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ['[project]\nname = "x"\n', "[tool.mlgate]\n", "[tool.mlgate.checks.budget]\n"],
)
def test_a_pyproject_without_a_policy_is_misuse(written, text):
    """A pyproject.toml that is named as the policy and says nothing is refused as an empty one."""
    with pytest.raises(Misuse, match=r"pyproject.toml: no `required` list"):
        written(text, "pyproject.toml")


@pytest.mark.parametrize("value", ['"x"', "3", "[1]", '["budget"]', "true"])
def test_a_section_that_is_no_table_is_misuse(written, value):
    """`tool.mlgate` with anything but a table is refused for what it is, not taken for an empty policy."""
    with pytest.raises(Misuse, match=r"pyproject.toml: tool.mlgate is .*, not a table"):
        written(f"[tool]\nmlgate = {value}\n", "pyproject.toml")


@pytest.mark.parametrize(
    "text",
    [
        '[tool]\nmlgate = { required = ["budget"] }\n',
        'tool.mlgate.required = ["budget"]\n',
        '[tool]\nmlgate.required = ["budget"]\n',
        '[ tool.mlgate ]\nrequired = ["budget"]\n',
        '[tool . "mlgate"]\nrequired = ["budget"]\n',
    ],
)
def test_every_spelling_of_the_section_is_found(tmp_path, text):
    """However TOML lets one write `tool.mlgate`, the project has a policy and it is read."""
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    assert find(tmp_path) == path
    assert policy.load(path).fields.required == ("budget",)


@pytest.mark.parametrize("gap", ["\n", "\n\n\n", "# a word\n\n", "  \n\t\n"])
def test_line_numbers_count_blank_lines(written, gap):
    """A section that stands behind blank lines is named by the line of its own header."""
    text = GOOD + gap + "[checks.budget]\nsize_mb = 1\n" + gap + "  [[checks.drift]]\nmax_shift = 0.1\n"
    lines = text.splitlines()
    expected = [lines.index("[checks.budget]") + 1, lines.index("  [[checks.drift]]") + 1]
    assert [use.source for use in written(text).uses] == [f"mlgate.toml:{n}" for n in expected]


def test_a_missing_policy_says_how_to_write_one(tmp_path):
    """A path without a file, or with a folder, is misuse with the next step or the cause."""
    with pytest.raises(Misuse, match=r"does not exist\. Write one with: mlgate init"):
        policy.load(tmp_path / "mlgate.toml")
    with pytest.raises(Misuse, match="cannot be read"):
        policy.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (GOOD, "candidate .* and no data .* and no checks"),
        (GOOD + 'candidate = "m.onnx"\ndata = "a:b"\n', "no checks"),
        (GOOD + 'data = "a:b"\n[checks.budget]\nsize_mb = 1\n', "no candidate"),
        (GOOD + 'candidate = "m.onnx"\n[checks.budget]\nsize_mb = 1\n', "no data"),
    ],
)
def test_a_policy_that_cannot_run_alone_says_what_it_lacks(written, text, missing):
    """Running a policy by itself needs candidate, data and checks, and the message names those missing."""
    with pytest.raises(Misuse, match=missing):
        policy.require_runnable(written(text))


def test_two_policies_are_none(tmp_path):
    """`mlgate.toml` and `[tool.mlgate]` side by side are refused; either one alone is found."""
    assert find(tmp_path) is None
    shared = tmp_path / "pyproject.toml"
    shared.write_text('[tool.other]\nx = "[tool.mlgate]"\n')
    assert find(tmp_path) is None
    shared.write_text('[tool.mlgate]\nrequired = ["budget"]\n')
    assert find(tmp_path) == shared
    (tmp_path / "mlgate.toml").write_text(GOOD)
    with pytest.raises(Misuse, match="keep one"):
        find(tmp_path)
    shared.unlink()
    assert find(tmp_path) == tmp_path / "mlgate.toml"


def test_a_subsection_alone_counts_as_a_policy(tmp_path):
    """A pyproject.toml with only `[tool.mlgate.checks.x]` is a (bad) policy, not the absence of one."""
    path = tmp_path / "pyproject.toml"
    path.write_text("  [tool.mlgate.checks.budget]\nsize_mb = 1\n")
    assert find(tmp_path) == path


keys = st.sampled_from(
    [
        "required",
        "name",
        "alpha",
        "seed",
        "candidate",
        "data",
        "tests",
        "checks",
        "waivers",
        "card",
        "grades",
        "x",
    ]
)
literals = st.sampled_from(
    [
        '"budget"',
        '["budget"]',
        "[]",
        "[[]]",
        "1",
        "-1",
        "0.05",
        "nan",
        "true",
        "2030-01-01",
        '""',
        "{}",
        "{a = 1}",
        '{model = "m"}',
        '[{requirement = "a"}]',
        "'''x'''",
        "07:00:00",
        "0x1F",
        '"\\u0000"',
    ]
)
lines = st.one_of(
    st.tuples(keys, literals).map(" = ".join),
    st.tuples(st.sampled_from(["[{}]", "[[{}]]", "[checks.{}]", "[[checks.{}]]"]), keys).map(
        lambda p: p[0].format(p[1])
    ),
    st.text(max_size=15),
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(lines, max_size=8), st.sampled_from(["mlgate.toml", "pyproject.toml"]))
@example(["required = ['budget']"], "mlgate.toml")
def test_anything_that_looks_like_toml_is_a_policy_or_misuse(tmp_path_factory, content, name):
    """Whatever stands in the file, reading it gives a usable policy or misuse, never another error."""
    path = tmp_path_factory.mktemp("policy") / name
    prefix = "[tool.mlgate]\n" if name == "pyproject.toml" else ""
    path.write_bytes((prefix + "\n".join(content)).encode("utf-8", errors="surrogatepass"))
    try:
        read = policy.load(path)
    except Misuse:
        return
    assert read.fields.required
    assert 0 < read.fields.alpha <= 0.5
