"""The gallery: what a person does with results besides making them.

shelf = Shelf(workspace.shelf, store)
shelf.star([12, 13], is_starred=True)
shelf.find(ResultQuery(), text="night waves", starred=True)

Stars and boards lie in a database of their own beside the results store, whose files and index
know nothing of them.
"""

from atelier.gallery.copies import archive, packed_folder
from atelier.gallery.findings import CollectionFindings, examine
from atelier.gallery.shelf import Board, Shelf

__all__ = [
    "Board",
    "CollectionFindings",
    "Shelf",
    "archive",
    "examine",
    "packed_folder",
]
