"""Which names may become paths."""

import pytest

from scripthut_common import layout
from scripthut_common.errors import InvalidInput


@pytest.mark.parametrize("text", ["a", "train-0", "A.b_c-9", "0", "x" * 128])
def test_plain_names_are_ids(text: str) -> None:
    assert layout.require_id(text, "task_id") == text


@pytest.mark.parametrize("text", ["", "_run", ".hidden", "-rf", "a/b", "..", "a b", "a\n", "ü", "x" * 129, "$(id)"])
def test_anything_else_is_refused_and_never_cleaned(text: str) -> None:
    with pytest.raises(InvalidInput):
        layout.output_dir("/logs", "r1", text)


def test_paths_follow_the_contract() -> None:
    assert layout.task_summary_path("/l", "r1", "t") == "/l/outputs/r1/t/task-summary.md"
    assert layout.run_summary_path("/l", "r1", "t") == "/l/outputs/r1/_run/t.md"
    assert layout.manifest_beside("/l/outputs/r1/_run/t.md", "t") == layout.manifest_path("/l", "r1", "t")
    assert layout.stdout_path("/l", "r1", "t") == "/l/scripthut_r1_t.out"
