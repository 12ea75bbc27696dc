"""Nearest images: the same as by comparing all with all in double precision."""

import pytest
import torch
from torch import Tensor

from pixeltui.train import nearest as module
from pixeltui.train.nearest import nearest


def images(count: int, levels: int = 256, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (count, 3, 6, 5), generator=generator, dtype=torch.uint8)


def by_brute_force(queries: Tensor, among: Tensor, levels: int) -> Tensor:
    """float64 [N, M]"""
    return torch.cdist(queries.flatten(1).double(), among.flatten(1).double()) / (levels - 1) / 90**0.5


@pytest.mark.parametrize("levels", [4, 256])
@pytest.mark.parametrize("chunk", [7, 4096])
def test_distances_are_those_of_all_pairs(levels: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    queries, among = images(9, levels), images(40, levels, seed=1)
    seen = []
    found = nearest(queries, among, levels=levels, k=3, progress=lambda done, total: seen.append((done, total)))
    pairs = by_brute_force(queries, among, levels)
    torch.testing.assert_close(found.distances, pairs.sort(dim=1).values[:, :3])
    torch.testing.assert_close(pairs.gather(1, found.indices), found.distances)
    assert seen[-1] == (40, 40)


def test_a_copy_has_no_distance_and_one_level_some() -> None:
    """Also among images so bright that single precision would lose a level in the squares."""
    among = images(500) // 8 + 224
    queries = among[[17, 400]].clone()
    queries[1, 0, 0, 0] ^= 1
    found = nearest(queries, among, levels=256)
    assert found.indices.flatten().tolist() == [17, 400]
    assert found.distances[0].item() == 0
    assert found.distances[1].item() == pytest.approx(1 / 255 / 90**0.5)


def test_the_nearest_of_several_that_single_precision_ranks_wrongly() -> None:
    """Squares of large images are rounded to multiples of 16, which the differences stay below."""
    query = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    for at in range(5):
        among = query.repeat(5, 1, 1, 1)
        for number in range(5):
            among[number].flatten()[7 * number : 7 * number + 1 + (number - at) % 5] -= 1
        assert nearest(query, among, levels=256).indices.item() == at


def test_a_mirrored_copy_is_found_where_training_flips() -> None:
    among = images(50)
    queries = among[[3]].flip(-1)
    assert nearest(queries, among, levels=256).distances.item() > 0.1
    found = nearest(queries, among, levels=256, mirrored=True)
    assert (found.distances.item(), found.indices.item()) == (0, 3)


def test_black_and_white_are_one_apart_and_k_is_what_there_is() -> None:
    black, white = torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.full((2, 1, 4, 4), 16, dtype=torch.uint8)
    found = nearest(black, white, levels=17, k=5)
    assert found.distances.tolist() == [[1, 1]]
