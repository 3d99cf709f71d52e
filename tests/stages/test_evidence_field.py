"""The preset "plus", stages 2 to 5: pieces of evidence, by hand."""

import torch
from torch import Tensor

from insid3.stages.localize import nearest, prototype
from insid3.stages.plus.evidence_field import (
    agreement,
    background_prototype,
    discriminant,
    min_max,
    region_evidence,
    soft_votes,
)

E = torch.eye(4)  # tokens by hand: unit vectors along the axes


def bools(text: str) -> Tensor:
    return torch.tensor([letter == "1" for letter in text])


def test_the_hardest_background_without_what_it_has_in_common() -> None:
    """The background patch of ten that is most like e0 counts: (0.6, 0.8), which leaves e1."""
    hard = torch.tensor([0.6, 0.8, 0, 0])
    tokens = torch.cat([E[:1], hard[None], E[[2]].expand(9, 4)])
    found = background_prototype([tokens], [bools("1" + 10 * "0")], torch.ones(1), E[0])
    torch.testing.assert_close(found, E[1])


def test_the_share_of_hard_background_is_a_share_of_each_shot() -> None:
    """Two shots have one and two background patches; half of each count: e1, and e2, which is more similar than -e0."""
    shots, masks = [E[[0, 1]], torch.stack([E[0], -E[0], E[2]])], [bools("10"), bools("100")]
    found = background_prototype(shots, masks, torch.tensor([0.5, 0.5]), E[0], share=0.5)
    torch.testing.assert_close(found, (E[1] + E[2]) / 2**0.5)
    heavy = background_prototype(shots, masks, torch.tensor([0.75, 0.25]), E[0], share=0.5)
    torch.testing.assert_close(heavy, torch.tensor([0, 0.75, 0.25, 0]) / 0.625**0.5)


def test_a_reference_that_is_all_concept_has_no_background() -> None:
    assert background_prototype([E], [bools("1111")], torch.ones(1), E[0]).tolist() == [0, 0, 0, 0]


def test_the_background_prototype_is_orthogonal_to_the_concept() -> None:
    tokens = torch.nn.functional.normalize(torch.randn(60, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    mask = torch.arange(60) < 20
    concept = prototype([tokens], [mask])
    found = background_prototype([tokens], [mask], torch.ones(1), concept)
    assert abs(float(found @ concept)) < 1e-6
    assert abs(float(found.norm()) - 1) < 1e-6


def test_the_discriminant_does_not_trust_what_varies_anyway() -> None:
    """Concept and background differ by 1 in e0 and in e1; only along e0 both vary much. Variances 1.25 and 0.25
    (covariance 0.25), differences 0.25: solved by hand, without and with shrinkage.
    """
    tokens = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [-0.5, -0.5, 0], [-0.5, -0.5, 0]])
    tokens += torch.tensor([[1, 0, 0], [-1, 0, 0], [1, 0, 0], [-1, 0, 0]])
    found = discriminant([tokens], [bools("1100")], torch.ones(1), shrinkage=1e-6)
    torch.testing.assert_close(found, torch.tensor([0.0, 1, 0]), atol=1e-4, rtol=0)
    shrunk = torch.tensor([[1.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 0.5]]).inverse() @ torch.tensor([0.25, 0.25, 0])
    found = discriminant([tokens], [bools("1100")], torch.ones(1), shrinkage=1.0)
    torch.testing.assert_close(found, shrunk / shrunk.norm())


def test_shots_of_a_discriminant_count_by_their_weight_not_by_their_size() -> None:
    """A shot given twice at half its weight counts the same, and so does one with each patch ten times."""
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(30, 8, generator=generator), torch.randn(50, 8, generator=generator)
    masks = [torch.arange(30) < 10, torch.arange(50) < 5]
    once = discriminant([one, two], masks, torch.tensor([0.4, 0.6]))
    twice = discriminant([one, one, two], [masks[0], *masks], torch.tensor([0.2, 0.2, 0.6]))
    large = discriminant([one.repeat(10, 1), two], [masks[0].repeat(10), masks[1]], torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(twice, once)
    torch.testing.assert_close(large, once)
    assert abs(float(once.norm()) - 1) < 1e-6


def test_nothing_to_tell_apart_gives_no_discriminant() -> None:
    """A reference that is all concept, and one whose patches are all the same."""
    tokens = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    assert not discriminant([tokens], [torch.ones(30).bool()], torch.ones(1)).any()
    for count in (37, 700, 1369):
        same = torch.nn.functional.normalize(tokens[:1], dim=-1).expand(count, 8)
        assert not discriminant([same], [torch.arange(count) < count // 3], torch.ones(1)).any()


def test_two_shots_weigh_the_same_and_an_outlier_among_four_hardly_counts() -> None:
    assert agreement([E[[0]], E[[1]]], [bools("1")] * 2).tolist() == [0.5, 0.5]
    weights = agreement([E[[0]], E[[0]], E[[0]], E[[1]]], [bools("1")] * 4)
    assert abs(float(weights.sum()) - 1) < 1e-6
    assert weights[3] < 1e-3 * weights[0]
    assert weights[0] == weights[1] == weights[2]


def test_agreement_by_hand() -> None:
    """Two shots of e0 and one with a cosine of 0.6 to it."""
    outlier = torch.tensor([0.6, 0.8, 0, 0])
    weights = agreement([E[[0]], E[[0]], outlier[None]], [bools("1")] * 3)
    liked = 1.6 / (1.6**2 + 0.8**2) ** 0.5  # e0 with e0 + outlier
    expected = torch.tensor([liked**4, liked**4, 0.6**4])
    torch.testing.assert_close(weights, expected / expected.sum())


def test_what_was_found_weighs_less_than_what_was_drawn() -> None:
    """One shot of each kind; two of each, the last of which agrees with no other; two drawn ones that disagree, where
    the found one does not take sides. No found shot weighs more than a drawn one.
    """
    torch.testing.assert_close(agreement([E[[0]], E[[1]]], [bools("1")] * 2, found=1), torch.tensor([0.85, 0.15]))
    weights = agreement([E[[0]], E[[0]], E[[0]], E[[1]]], [bools("1")] * 4, found=2, drawn=0.6)
    torch.testing.assert_close(weights, torch.tensor([0.3, 0.3, 0.4, 0]), atol=1e-3, rtol=0)
    weights = agreement([E[[0]], E[[1]], E[[0]]], [bools("1")] * 3, found=1)
    torch.testing.assert_close(weights, torch.tensor([0.425, 0.425, 0.15]))
    torch.testing.assert_close(agreement([E[[0]]] * 11, [bools("1")] * 11, found=1), torch.full((11,), 1 / 11))


def test_the_more_similar_shot_has_more_to_say() -> None:
    """The target is e0: the first shot has e0 and votes for it; the second, which has only e1, votes against it."""
    target, shots, masks = E[:1], [E[[0, 2]], E[[1, 3]]], [bools("10"), bools("00")]
    matches = [nearest(target, shot) for shot in shots]
    even = torch.tensor([0.5, 0.5])
    assert 0.9999 < float(soft_votes(matches, masks, even, None)) < 1
    assert abs(float(soft_votes(matches, masks, even, None, temperature=1e4)) - 0.5) < 1e-3  # as published
    assert float(soft_votes(matches, masks, torch.tensor([0.1, 0.9]), None, temperature=1e4)) < 0.11


def test_one_shot_votes_as_published_and_a_negative_that_is_liker_beats_it() -> None:
    target = E[:3]
    matches = [nearest(target, E[[0, 1]])]
    assert soft_votes(matches, [bools("10")], torch.ones(1), None).tolist() == [1, 0, 1]  # the first of equals
    assert soft_votes(matches, [bools("10")], torch.ones(1), torch.tensor([0.5, 0.5, 0.5])).tolist() == [1, 0, 0]


def test_regions_by_hand() -> None:
    """Means 0.9, 0.5, 0.1 are scaled to 1, 0.5, 0; all, half and none of the patches are candidates."""
    field = torch.tensor([0.9, 0.9, 0.6, 0.4, 0.1, 0.1])
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    torch.testing.assert_close(region_evidence(field, bools("111000"), labels), torch.tensor([1, 0.25, 0]))


def test_regions_do_not_depend_on_the_order_of_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    field, labels = torch.rand(50, generator=generator), torch.arange(50) % 7
    candidates, order = field > 0.4, torch.randperm(50, generator=generator)
    again = region_evidence(field[order], candidates[order], labels[order])
    torch.testing.assert_close(again, region_evidence(field, candidates, labels))


def test_spread() -> None:
    assert min_max(torch.tensor([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    assert min_max(torch.full((3,), 0.7)).tolist() == [0, 0, 0]
