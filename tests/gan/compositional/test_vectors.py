"""Vectors of class names: read from a table, or found in graphs; and who is whose neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.gan.compositional import graph_vectors, nearest_classes, read_vectors


def test_a_table_in_the_layout_of_glove(tmp_path: Path) -> None:
    table = tmp_path / "vectors.txt"
    table.write_text("dog 3 4\ntraffic 1 0\nlight 0 2\nother 1 x\n", encoding="utf-8")
    found = read_vectors(table, ["Dog", "traffic light"])
    assert torch.allclose(found, torch.tensor([[0.6, 0.8], [0.5**0.5, 0.5**0.5]]))
    with pytest.raises(DataError, match="no vector for 'cat'"):
        read_vectors(table, ["cat"])
    with pytest.raises(DataError, match="line for 'other'"):
        read_vectors(table, ["other"])
    with pytest.raises(DataError, match="no table of word vectors"):
        read_vectors(tmp_path / "none.txt", ["dog"])
    table.write_text("dog 3 4\ncat 1 0 1\n", encoding="utf-8")
    with pytest.raises(DataError, match="of 2 and of 3 numbers"):
        read_vectors(table, ["dog", "cat"])


def test_classes_in_the_same_relations_are_neighbours() -> None:
    # Classes 0 and 1 hold things 4 and 5; classes 2 and 3 stand on 6; nothing is known of 7.
    counts = torch.zeros(8, 2, 8, dtype=torch.int64)
    for holder in (0, 1):
        counts[holder, 0, 4], counts[holder, 0, 5] = 6 + holder, 5
    for thing in (2, 3):
        counts[thing, 1, 6] = 8
    found = graph_vectors(counts, 6)
    assert found.shape == (8, 6)
    assert torch.allclose(found[:7].norm(dim=1), torch.ones(7), atol=1e-5) and not found[7].any()
    assert nearest_classes(found, 1)[[0, 1, 2, 3], 0].tolist() == [1, 0, 3, 2]
    with pytest.raises(DataError, match="0 relations"):
        graph_vectors(torch.zeros(3, 1, 3))


def test_neighbours_leave_out_the_class_itself_and_break_ties_by_number() -> None:
    vectors = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    assert nearest_classes(vectors, 3).tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    vectors = torch.tensor([[1.0, 0], [0, 0], [-1, 0]])
    assert nearest_classes(vectors, 2).tolist() == [[2, 1], [0, 2], [0, 1]]
    vectors = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    with pytest.raises(ConfigError, match="4 neighbours were asked for, but 4 classes"):
        nearest_classes(vectors, 4)


def test_classes_without_a_relation_are_nobodys_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(60, 3, 60, dtype=torch.int64)
    counts[:40, :, :40] = torch.randint(0, 3, (40, 3, 40), generator=generator)
    found = graph_vectors(counts, 32)
    assert not found[40:].any() and torch.allclose(found[:40].norm(dim=1), torch.ones(40), atol=1e-5)
    assert int(nearest_classes(found, 5)[:40].max()) < 40
