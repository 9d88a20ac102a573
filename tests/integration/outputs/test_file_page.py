"""The page of a file: what it shows, to whom, what it costs to ask again, and what hostile names do."""

from tests.integration.outputs.house import House, ended
from tests.integration.outputs.test_pages import text_of

BASE = "/ui/runs/r1/tasks/t0/files/"


async def test_a_table_is_shown_as_a_table(house: House) -> None:
    await house.apply(ended(run_name="A run", task_name="Measure"))
    await house.store("r1", "t0", b"out/table.csv", b"name,value\na,1.5\nb,-2\n")

    page = await house.get(f"{BASE}out/table.csv")

    assert page.status_code == 200
    assert "2 rows, 2 columns" in page.text
    assert '<td>a</td><td class="number">1.5</td>' in page.text
    assert "A run Measure out/ table.csv Table" in text_of(page)
