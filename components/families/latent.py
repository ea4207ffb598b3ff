"""Options for families whose pictures grow from latents, shared by all of them."""

from collections.abc import Collection, Mapping

from pydantic import Field

from components.families.port import FamilyOptions
from interfaces.idle import Need

TOWARDS_SEED = "Morph each seed's picture towards this seed's."
BLEND = "How far towards `towards_seed`: 0 is the seed's own picture, 1 the other's."


class LatentOptions(FamilyOptions):
    """Truncation, and the way from one seed's picture to another's."""

    truncation: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="How far latents may lie from their mean: below 1 is tamer and less varied.",
    )
    towards_seed: int | None = Field(default=None, ge=0, le=2**63 - 1, description=TOWARDS_SEED)
    blend: float = Field(default=0.5, ge=0, le=1, description=BLEND)

    def needs(self, given: Collection[str] = ()) -> Mapping[str, Need]:
        """An end to go towards."""
        has_end = self.towards_seed is not None or "towards_source" in given
        return {"blend": Need("towards_seed or towards_source", has_end)}
