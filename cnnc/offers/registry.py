"""All algorithms."""

from cnnc.base.choice import Choice
from cnnc.base.target import Target
from cnnc.ir.graph import Node
from cnnc.offers import direct, rows, strassen, winograd
from cnnc.offers.offer import Offer, root_of
from cnnc.ops.strassen import Strassen
from cnnc.ops.winograd import Winograd

OFFERS: tuple[Offer, ...] = (direct.OFFER, rows.OFFER, winograd.OFFER, strassen.OFFER)
"""In the order in which they are asked. A new algorithm is a file and an entry here."""


def default_choice(node: Node, target: Target) -> Choice:
    """What estimates choose for a layer whose layouts are assigned."""
    root, _ = root_of(node)
    if isinstance(root, Winograd):
        return winograd.choice_of(root)
    if isinstance(root, Strassen):
        return strassen.choice_of(root)
    if rows.lies_in_rows(node, target):
        return rows.choice_of(rows.choose_rows(node, target))
    return direct.choose_form(node, target).choice
