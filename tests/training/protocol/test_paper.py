from __future__ import annotations

import math

import pytest

from model.action_units import AU_SETS
from training.protocol.paper import OURS, published
from training.protocol.studies import STUDIES

# Averages that the paper prints and that do not follow from its own columns: printed minus computed.
PRINTED_OTHERWISE = {("bp4d", "DRML"): 0.6, ("bp4d", "EAC"): 0.3, ("disfa", "DRML"): 0.65, ("disfa", "EAC"): -8.9}


@pytest.mark.parametrize("name", ["bp4d", "disfa", "table3", "table4"])
def test_the_columns_add_up_to_the_printed_averages(name: str) -> None:
    table = published(name)
    assert table is not None
    assert table.au_codes == AU_SETS[table.dataset]
    assert table.columns.keys() == table.printed_mean.keys()
    for column, values in table.columns.items():
        assert len(values) == len(table.au_codes)
        off = table.printed_mean[column] - sum(values) / len(values)
        assert off == pytest.approx(PRINTED_OTHERWISE.get((name, column), 0), abs=0.1), column


def test_the_last_columns_of_the_studies_are_the_method_itself() -> None:
    for study, cell, dataset in (("table3", "full", "bp4d"), ("table4", "unweighted", "disfa")):
        table, whole = published(study), published(dataset)
        assert table is not None
        assert whole is not None
        assert table.columns[cell] == whole.columns[OURS]


@pytest.mark.parametrize(("name", "floor"), [("bp4d", 48.0), ("disfa", 18.6)])
def test_floors_follow_from_the_published_rates(name: str, floor: float) -> None:
    table = published(name)
    assert table is not None
    assert sum(map(table.floor, table.au_codes)) / len(table.au_codes) == pytest.approx(floor, abs=0.05)
    assert math.isnan(table.floor("AU45"))
    assert math.isnan(table.f1(OURS, "AU45"))


def test_only_the_papers_tables_are_there() -> None:
    assert published("rendered") is None
    for study in STUDIES.values():
        table = published(study.name)
        assert (table is not None) == bool(study.paper_dataset)
        if table is not None:
            assert set(table.columns) == {cell.name for cell in study.cells}
        assert study.baseline in {cell.name for cell in study.cells}
