"""The table of families: explicit, in one place, torch-free.

To add one, write its folder, add its line here and a preset in `settings/`; see
docs/adding-a-family.md.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import cast

from components.families.paper002 import config as paper002
from components.families.port import FamilyConfig, FamilyOptions, InputKind, Method
from components.families.r3gan import config as r3gan


@dataclass(frozen=True)
class Family:
    """One line of the table: what can be known of a family without torch."""

    name: str
    description: str
    config: type[FamilyConfig]
    options: type[FamilyOptions]
    method_module: str
    is_conditional: bool
    """True where a style can be asked for by name."""
    takes: frozenset[InputKind] = frozenset()
    """What its pictures can be made from besides a seed; its sampler is a `GuidedSampler` then."""
    needs: frozenset[InputKind] = frozenset()
    """What of that it cannot do without."""

    def method(self) -> Method:
        """The family's networks, trainer and sampler. Imports torch."""
        return cast(Method, import_module(self.method_module))


_PAPER002 = "components.families.paper002.method"

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "dcgan",
            "«DCGAN» of paper 002: quick, pictures early, collapses in the end",
            paper002.DCGANConfig,
            paper002.Options,
            _PAPER002,
            is_conditional=False,
        ),
        Family(
            "dcgan_wi",
            "«DCGAN-WI» of paper 002: first weights from Normal(0, 0.02)",
            paper002.DCGANWIConfig,
            paper002.Options,
            _PAPER002,
            is_conditional=False,
        ),
        Family(
            "wgan_gp",
            "«WGAN-GP» of paper 002: slower, does not collapse",
            paper002.WGANGPConfig,
            paper002.Options,
            _PAPER002,
            is_conditional=False,
        ),
        Family(
            "r3gan",
            "R3GAN (2024): stable, varied, knows styles; the one to choose",
            r3gan.R3GANConfig,
            r3gan.Options,
            "components.families.r3gan.method",
            is_conditional=True,
        ),
    )
}
