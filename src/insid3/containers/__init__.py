"""What picture files hold besides pixels, read without decoding any: one module per kind of file.

A decoder is given the essentials only, so that nothing else in a file can hinder it.
"""

from insid3.containers.base import Container, Pieces
from insid3.containers.find import container_of

__all__ = ["Container", "Pieces", "container_of"]
