"""Code is coloured by few classes, loses nothing, and takes its time."""

import sys
from subprocess import run

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering.highlighting import LANGUAGES, MAX_CHARACTERS, highlight

from .reading import html_of, read


@pytest.mark.parametrize("language", sorted(set(LANGUAGES)))
def test_every_language_that_is_named_is_known(language: str) -> None:
    coloured = highlight("if x = 'y' <b>: 12 # z\n", language)

    assert coloured is not None
    assert read(coloured).text == "if x = 'y' <b>: 12 # z\n"


def test_code_is_coloured_by_what_it_means() -> None:
    html = html_of('```python\ndef f(x):\n    return "<b>" # why\n```')

    assert '<span class="code-keyword">def</span> <span class="code-name">f</span>' in html
    assert '<span class="code-string">&quot;&lt;b&gt;&quot;</span>' in html.replace('"&lt;', "&quot;&lt;").replace(
        ';b&gt;"', ";b&gt;&quot;"
    )
    assert '<span class="code-comment"># why</span>' in html


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("x\n", "nosuch"),
        ("x\n", ""),
        ("x = 1\n" * MAX_CHARACTERS, "python"),
        ("x" * 5000 + "\n", "python"),
        ("\n" * 5000, "c"),
    ],
)
def test_what_is_unknown_or_takes_too_long_stays_plain(code: str, language: str) -> None:
    html = html_of(f"```{language}\n{code}```")

    assert highlight(code, language) is None
    assert "<span" not in html


def test_the_code_of_a_document_shares_a_limit() -> None:
    block = "```python\n" + "return\n" * 4000 + "```\n\n"

    html = html_of(block * 8)

    assert html.count("<pre>") == 8
    assert html.count("code-keyword") == 4 * 4000


@given(st.text(max_size=200), st.sampled_from(["python", "bash", "html", "diff", "json"]))
@settings(max_examples=150, deadline=None)
def test_no_character_is_lost(code: str, language: str) -> None:
    code = "".join(character for character in code if character.isprintable() or character == "\n") + "\n"

    coloured = highlight(code, language)

    assert coloured is None or read(coloured).text == code


def test_no_lexer_is_loaded_before_one_is_needed() -> None:
    program = "import sys, scripthut_outputs.rendering; print([name for name in sys.modules if name in {names}])"
    names = {"pygments.lexers.python", "latex2mathml.converter", "pymdownx.gemoji_db"}

    done = run([sys.executable, "-c", program.format(names=names)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
