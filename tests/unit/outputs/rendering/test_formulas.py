"""Formulas are shown as formulas, prices as prices, and nothing of LaTeX acts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering.formulas import MAX_CHARACTERS, NOT_UNDERSTOOD, Formulas

from .reading import html_of, read


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ("$x^2$", 1),
        ("($x$), **$y$**: $z$.", 3),
        ("$`a_b`$ and $$\\sum_i x_i$$", 2),
        ("$$\na\n$$\n\n```math\nb\n```\n\n- $$c$$\n\n> $d$", 4),
        ("| a |\n|---|\n| $x$ |\n\n# $y$\n\n[$z$](a.csv)", 3),
        ("$5 and $6", 0),
        ("$5, $6, $7.50 and US$8", 0),
        ("a$b$c and x$y$ and $z$w", 0),
        ("$ x$ and $x $ and $$ and $", 0),
        ("\\$x$ and $x\\$", 0),
        ("`$x$` and `` $y$ ``", 0),
        ("    $x$\n\n```\n$y$\n```", 0),
        ("echo $HOME:$PATH", 0),
        ("$$\na\n\nb\n$$", 0),
    ],
)
def test_dollars_are_formulas_where_github_says_so(document: str, count: int) -> None:
    assert html_of(document).count("<math ") == count


def test_what_looks_like_markup_in_a_formula_is_latex() -> None:
    html = html_of("$a_1 * b_2 * c_3 \\\\ [x](y) :x:$")

    assert "<em>" not in html
    assert "<a " not in html
    assert "<msub>" in html


@pytest.mark.parametrize(
    "latex",
    [
        "\\frac{",
        "a^",
        "x_1_2",
        "\\nosuchcommand",
        "\\begin{matrix}",
        "}",
        "\\newcommand{\\a}{\\a\\a}\\a",
        "\\def\\x{y}\\x",
    ],
)
def test_broken_latex_is_shown_as_its_source_with_a_note(latex: str) -> None:
    text = read(html_of(f"before ${latex}$ after")).text

    assert text in {f"before {latex} ({NOT_UNDERSTOOD}) after", f"before {latex} after"}


@pytest.mark.parametrize(
    "latex",
    [
        "\\text{<img src=x onerror=alert(1)>}",
        "\\text{&lt;script&gt;}",
        "\\href{javascript:alert(1)}{x}",
        "\\class{a}{x} \\style{position:fixed}{y}",
        "\\unicode{x3c}b\\unicode{x3e}",
        "\\color{url(https://evil.example)}{x} \\colorbox{red}{y}",
        "\\hspace{-999em} \\raise{99em}{x} \\rule{9999em}{9999em} \\kern{-5em}",
        "< > & \" '",
    ],
)
@pytest.mark.parametrize("is_block", [False, True])
def test_nothing_of_a_formula_acts_or_leaves_its_place(latex: str, is_block: bool) -> None:  # noqa: FBT001
    html = Formulas().convert(latex, is_block=is_block)

    read(html)
    for word in ("href", "style=", 'class="a"', "mathcolor", "mathbackground", "voffset", "-999", "9999"):
        assert word not in html


@pytest.mark.parametrize(
    "latex",
    [
        "{a \\over " * 500 + "b" + "}" * 500,
        "\\frac{1}{" * 400 + "x" + "}" * 400,
        "_{a" * 1000 + "}" * 1000,
        "\\left(" * 500 + "\\right)" * 500,
        "a" + "'" * 8000,
        "_a^b" * 2000,
        "{" * 4000,
        "\\begin{matrix}" + "a&b\\\\" * 1000 + "\\end{matrix}",
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_a_formula_that_is_too_much_is_shown_as_its_source(latex: str) -> None:
    html = Formulas().convert(latex, is_block=False)

    read(html)
    assert len(html) < 100 * MAX_CHARACTERS


def test_the_formulas_of_a_document_share_a_limit() -> None:
    html = html_of(f"$${'x' * 8000}$$\n\n" * 20)

    assert html.count("<math ") == 12
    assert html.count("more LaTeX than is shown as formulas") == 8


COMMANDS = (
    "\\frac \\sqrt [ ] { } ^ _ & \\\\ \\left( \\right) \\over \\text{ < > a 1 ' \\begin{matrix} \\end{matrix} \\middle|"
)
OTHERS = (
    "\\limits \\sum \\not \\color \\href \\hspace{1em} \\mathbb \\operatorname{x} \\unicode{x3c} \\raise \\verb|x| %"
)
PIECES = st.sampled_from(f"{COMMANDS} {OTHERS}".split(" "))


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=80))
@settings(max_examples=400, deadline=None)
def test_any_latex_gives_harmless_html(latex: str) -> None:
    read(Formulas().convert(latex, is_block=True))
