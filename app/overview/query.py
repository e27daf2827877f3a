"""The query box: `arm ~ agc and amp_ssim > .8`, parsed here and never evaluated by Python.

    query      = part ("or" part)*
    part       = term ("and" term)*
    term       = "not" term | "(" query ")" | COLUMN SIGN VALUE
    SIGN       = ~  !~  =  !=  <  <=  >  >=        ~ is "contains"; words take ~ !~ = !=

A row that lacks the number of a comparison does not match it, whatever its sign.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from study.params import UserError, nearest

LONGEST = 300
DEEPEST = 20
EXAMPLE = "arm ~ agc and amp_ssim > .8"

Value = str | float | None
Record = Mapping[str, Value]
Test = Callable[[Record], bool]

TOKEN = re.compile(
    r"""\s*(?: (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
             | (?P<sign>!~|!=|<=|>=|==|[~=<>])
             | (?P<bracket>[()])
             | (?P<quoted>"[^"]*"|'[^']*')
             | (?P<word>[^\s()~=<>!"']+) )""",
    re.VERBOSE,
)
NUMERIC: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TEXTUAL: Mapping[str, Callable[[str, str], bool]] = {
    "~": lambda text, part: part in text,
    "!~": lambda text, part: part not in text,
    "=": operator.eq,
    "!=": operator.ne,
}


class QueryError(UserError):
    """A query that cannot be read; `at` is the character (from 0) where it went wrong."""

    def __init__(self, sentence: str, at: int) -> None:
        super().__init__(sentence)
        self.at = at


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int


def parse(text: str, columns: Mapping[str, type]) -> Test:
    """The test that a row has to pass. `columns`: name -> str or float.

    Raises QueryError for anything else than the grammar above, with the place and what is accepted.
    """
    if len(text) > LONGEST:
        raise QueryError(f"the query has {len(text)} characters; accepted: {LONGEST}", LONGEST)
    if not text.strip():
        return lambda record: True
    return _Parser(_tokens(text), columns, len(text)).whole()


def _tokens(text: str) -> list[Token]:
    found, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise QueryError(
                f"character {at + 1}, {text[at]!r}, opens nothing; for example: {EXAMPLE}", at
            )
        kind = str(match.lastgroup)
        found.append(Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return found


class _Parser:
    """One pass over the tokens; every method reads what it is named after."""

    def __init__(self, tokens: list[Token], columns: Mapping[str, type], end: int) -> None:
        self.tokens, self.columns = tokens, columns
        self.over = Token("end", "the end", end)
        self.place = self.depth = 0

    def whole(self) -> Test:
        test = self.query()
        if self.next.kind != "end":
            raise self.wanted("and, or, or the end")
        return test

    @property
    def next(self) -> Token:
        return self.tokens[self.place] if self.place < len(self.tokens) else self.over

    def take(self) -> Token:
        token = self.next
        self.place += 1
        return token

    def takes(self, word: str) -> bool:
        """Read on if the next token is this word or bracket."""
        found = self.next.kind in ("word", "bracket") and self.next.text.lower() == word
        self.place += found
        return found

    def wanted(self, what: str) -> QueryError:
        got = self.next.text if self.next.kind == "end" else repr(self.next.text)
        return QueryError(
            f"character {self.next.at + 1}: {what} is wanted, got {got}", self.next.at
        )

    def query(self) -> Test:
        tests = [self.part()]
        while self.takes("or"):
            tests.append(self.part())
        return tests[0] if len(tests) == 1 else lambda record: any(test(record) for test in tests)

    def part(self) -> Test:
        tests = [self.term()]
        while self.takes("and"):
            tests.append(self.term())
        return tests[0] if len(tests) == 1 else lambda record: all(test(record) for test in tests)

    def term(self) -> Test:
        self.depth += 1
        if self.depth > DEEPEST:
            raise QueryError(f"nested deeper than {DEEPEST} levels", self.next.at)
        try:
            if self.takes("not"):
                inner = self.term()
                return lambda record: not inner(record)
            return self.bracket() if self.takes("(") else self.comparison()
        finally:
            self.depth -= 1

    def bracket(self) -> Test:
        test = self.query()
        if not self.takes(")"):
            raise self.wanted("and, or, or a closing bracket")
        return test

    def comparison(self) -> Test:
        name = self.column()
        signs = TEXTUAL if self.columns[name] is str else NUMERIC
        if self.next.kind != "sign" or self.sign not in signs:
            kind = "words" if signs is TEXTUAL else "a number"
            raise self.wanted(f"{name} holds {kind}, so one of {' '.join(signs)}")
        sign = self.sign
        self.take()
        return self.words(name, sign) if signs is TEXTUAL else self.number(name, sign)

    @property
    def sign(self) -> str:
        return "=" if self.next.text == "==" else self.next.text

    def column(self) -> str:
        name = self.next.text.lower()
        if self.next.kind != "word" or name in ("and", "or", "not"):
            raise self.wanted("a column")
        if name not in self.columns:
            message = (
                f"character {self.next.at + 1}: no column {name!r}{nearest(name, self.columns)}"
            )
            raise QueryError(message, self.next.at)
        self.take()
        return name

    def words(self, name: str, sign: str) -> Test:
        token = self.next
        if token.kind not in ("word", "number", "quoted"):
            raise self.wanted(f"the words that {name} is compared with")
        self.take()
        text = (token.text[1:-1] if token.kind == "quoted" else token.text).lower()
        compare = TEXTUAL[sign]
        return lambda record: compare(str(record.get(name) or "").lower(), text)

    def number(self, name: str, sign: str) -> Test:
        if self.next.kind != "number":
            raise self.wanted(f"the number that {name} is compared with")
        wanted, compare = float(self.take().text), NUMERIC[sign]

        def test(record: Record) -> bool:
            value = record.get(name)
            return (
                isinstance(value, (int, float)) and not math.isnan(value) and compare(value, wanted)
            )

        return test
