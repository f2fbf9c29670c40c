"""Masks pasted into another frame and how they touch, worked by hand."""

import pytest
import torch

from visgen.nn.pair_contact import CONTACT, contact, contacts, paste_masks


def test_a_mask_in_the_frame_of_its_own_box_is_itself():
    masks = torch.rand(3, 6, 6)
    box = torch.tensor([[3.0, 7, 40, 29], [0.0, 0, 5, 90], [10.0, 10, 11, 11]])
    torch.testing.assert_close(paste_masks(masks, box, box, 6), masks, rtol=1e-4, atol=1e-4)


def test_a_mask_in_a_larger_frame_by_hand():
    mask = torch.tensor([[[1.0, 0.0], [0.5, 0.25]]])
    drawn = paste_masks(mask, torch.tensor([[2.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 4]]), 4)
    # Cells of 1 x 1 pixels; the box covers the right two columns. Its cells are 1 x 2 pixels.
    rows = [[1.0, 0.0], [0.875, 0.0625], [0.625, 0.1875], [0.5, 0.25]]
    torch.testing.assert_close(drawn, torch.tensor([[[0.0, 0.0, *row] for row in rows]]), rtol=0, atol=1e-5)


def test_boxes_without_area_stay_finite():
    flat = torch.tensor([[5.0, 5, 5, 5]])
    assert paste_masks(torch.ones(1, 4, 4), flat, flat, 8).isfinite().all()
    assert contact(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)).eq(0).all()
    assert contact(torch.zeros(0, 8, 8), torch.zeros(0, 8, 8)).shape == (0, CONTACT)


def planes(*cells):
    """Two 4 x 4 planes; "s" marks the subject, "o" the object, "b" both."""
    rows = [list(row) for row in cells]
    return [torch.tensor([[[float(c in marks) for c in row] for row in rows]]) for marks in ({"s", "b"}, {"o", "b"})]


def test_standing_on_something():
    found = contact(*planes(".s..", ".s..", "oooo", "oooo"))[0]
    # left, right, above, below of the subject, then of the object
    wanted = [0, 0, 0, 1.0, 0, 0, 0.25, 0]
    wanted += [0, 0]  # no cell is shared
    wanted += [0.5, 3 / 8]  # one of two, and three of eight cells border the other
    wanted += [1.0]
    assert found.tolist() == pytest.approx(wanted)


def test_lying_inside_something():
    found = contact(*planes("oooo", "obbo", "obbo", "oooo"))[0].tolist()
    assert found[:4] == [1.0] * 4
    assert found[4:8] == [0.0] * 4
    assert found[8:] == pytest.approx([1.0, 0.25, 1.0, 1.0, 1.0])


def test_apart():
    assert contact(*planes("s...", "....", "...o", "...o"))[0].eq(0).all()


def test_the_other_order_swaps_the_halves():
    torch.manual_seed(0)
    one, two = torch.rand(5, 9, 9), torch.rand(5, 9, 9)
    forth, back = contact(one, two), contact(two, one)
    torch.testing.assert_close(forth[:, :4], back[:, 4:8])
    torch.testing.assert_close(forth[:, 8:10], back[:, [9, 8]])
    torch.testing.assert_close(forth[:, 10:12], back[:, [11, 10]])


def test_both_orders_at_once_are_each_order_by_itself():
    torch.manual_seed(0)
    one, two = torch.rand(5, 9, 9), torch.rand(5, 9, 9)
    forth, back = contacts(one, two)
    assert torch.equal(forth, contact(one, two)) and torch.equal(back, contact(two, one))
    assert not torch.equal(forth, back)


def test_mirrored_masks_swap_left_and_right():
    torch.manual_seed(0)
    one, two = torch.rand(5, 9, 9), torch.rand(5, 9, 9)
    mirrored = contact(one.flip(2), two.flip(2))
    order = [1, 0, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11, 12]
    torch.testing.assert_close(mirrored, contact(one, two)[:, order])


def test_all_at_once_is_the_plain_form():
    torch.manual_seed(1)
    masks = torch.rand(2, 6, 11, 11) * (torch.rand(2, 6, 11, 11) > 0.4)
    pad = torch.nn.functional.pad
    wanted = []
    for s, o in ((0, 1), (1, 0)):
        shares = []
        for one, other in ((masks[s], masks[o]), (masks[o], masks[s])):
            beside, beyond = pad(one, (1, 1, 1, 1)), pad(other, (1, 1, 1, 1))
            for cut in ((1, 0), (1, 2), (0, 1), (2, 1)):
                window = (slice(None), slice(cut[0], cut[0] + 11), slice(cut[1], cut[1] + 11))
                rim = one * (1 - beside[window])
                shares.append((rim * beyond[window]).sum((1, 2)) / rim.sum((1, 2)))
        both = (masks[s] * masks[o]).sum((1, 2))
        near = [torch.max_pool2d(masks[b][:, None], 3, 1, 1)[:, 0] * masks[a] for a, b in ((s, o), (o, s))]
        areas = [masks[s].sum((1, 2)), masks[o].sum((1, 2))]
        shares += [both / areas[0], both / areas[1], near[0].sum((1, 2)) / areas[0], near[1].sum((1, 2)) / areas[1]]
        wanted.append(torch.stack([*shares, near[0].flatten(1).amax(1)], dim=1))
    for found, plain in zip(contacts(*masks), wanted, strict=True):
        assert torch.equal(found, plain)


def test_cells_whose_centre_is_outside_the_box_are_empty():
    generator = torch.Generator().manual_seed(0)
    low = 30 * torch.rand(40, 2, generator=generator)
    boxes = torch.cat([low, low + 20 * torch.rand(40, 2, generator=generator)], dim=1)
    centres = (torch.arange(9) + 0.5) * 50 / 9
    found = paste_masks(torch.ones(40, 6, 6), boxes, torch.tensor([[0.0, 0, 50, 50]]).expand(40, 4), 9) > 0
    for box, drawn in zip(boxes.tolist(), found.tolist(), strict=True):
        for y, row in zip(centres.tolist(), drawn, strict=True):
            assert row == [box[0] <= x <= box[2] and box[1] <= y <= box[3] for x in centres.tolist()]
