"""All algorithms."""

from cnnc.offers import direct, winograd
from cnnc.offers.offer import Offer

OFFERS: tuple[Offer, ...] = (direct.OFFER, winograd.OFFER)
"""In the order in which they are asked. A new algorithm is a file and an entry here."""
