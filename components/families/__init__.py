"""The table of families: explicit, in one place, torch-free.

To add one, write its folder, add its line here and a preset in `settings/`; see
docs/adding-a-family.md.
"""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic

from components.families.cyclegan import config as cyclegan
from components.families.paper002 import config as paper002
from components.families.port import (
    ADVERSARIAL,
    INPUT_KINDS,
    ConfigT,
    InputKind,
    Loss,
    Method,
    OptionsT,
)
from components.families.r3gan import config as r3gan
from components.families.sketch_diffusion import config as sketch_diffusion
from components.families.stable_diffusion import config as stable_diffusion
from components.families.stylegan2 import config as stylegan2
from components.families.vae import config as vae


@dataclass(frozen=True)
class Family(Generic[ConfigT, OptionsT]):
    """One line of the table: what can be known of a family without torch."""

    name: str
    description: str
    config: type[ConfigT]
    options: type[OptionsT]
    method_module: str
    """Module whose `METHOD` builds trainer, network and sampler."""
    is_conditional: bool
    """True where a style can be asked for by name."""
    losses: tuple[Loss, ...] = ()
    """Losses that its trainer reports, in the curves' order; none where models come trained."""
    takes: frozenset[InputKind] = frozenset()
    """Inputs that its pictures can be made from besides a seed."""
    needs: frozenset[InputKind] = frozenset()
    """Inputs among these that it cannot do without."""
    is_trainable: bool = True
    """False where models come trained, and are adopted."""
    one_by_one: frozenset[str] = frozenset()
    """Inputs and options with which each picture is made by itself; else eight take as long as one.
    """

    @property
    def names_style_in_words(self) -> bool:
        """Whether words can name a style here and do no more."""
        return self.is_conditional and "prompt" not in self.takes

    def reads(self, kind: str) -> bool:
        """Whether its pictures can be made from this kind of input."""
        return kind in self.takes or (kind == "prompt" and self.names_style_in_words)

    def why_not(self, given: Collection[str]) -> str:
        """Reason why its pictures cannot be made from these kinds of inputs; '' where they can."""
        for kind in INPUT_KINDS:
            if kind in given and not self.reads(kind):
                return f"{kind}: a {self.name} model has no use for one; leave it out"
            if kind in self.needs and kind not in given:
                return f"{kind}: a {self.name} model needs one; name it"
        return ""

    def method(self) -> Method[ConfigT, OptionsT, Any]:
        """Import the family's networks, trainer and sampler, and torch with them."""
        return import_module(self.method_module).METHOD


AnyFamily = Family[Any, Any]
"""A family whose config and options are known at run time alone."""

_PAPER002 = "components.families.paper002.method"

FAMILIES: dict[str, AnyFamily] = {
    family.name: family
    for family in (
        Family(
            "dcgan",
            "«DCGAN» of paper 002: quick, pictures early, collapses in the end",
            paper002.DCGANConfig,
            paper002.Options,
            _PAPER002,
            is_conditional=False,
            losses=ADVERSARIAL,
        ),
        Family(
            "dcgan_wi",
            "«DCGAN-WI» of paper 002: first weights from Normal(0, 0.02)",
            paper002.DCGANWIConfig,
            paper002.Options,
            _PAPER002,
            is_conditional=False,
            losses=ADVERSARIAL,
        ),
        Family(
            "wgan_gp",
            "«WGAN-GP» of paper 002: slower, does not collapse",
            paper002.WGANGPConfig,
            paper002.Options,
            _PAPER002,
            is_conditional=False,
            losses=ADVERSARIAL,
        ),
        Family(
            "r3gan",
            "R3GAN (2024): quick and stable, knows styles; the GAN to choose",
            r3gan.R3GANConfig,
            r3gan.Options,
            "components.families.r3gan.method",
            is_conditional=True,
            losses=ADVERSARIAL,
        ),
        Family(
            "sketch_diffusion",
            "Sketch-guided diffusion (paper 004): keeps to a drawing, and still varies",
            sketch_diffusion.SketchDiffusionConfig,
            sketch_diffusion.Options,
            "components.families.sketch_diffusion.method",
            is_conditional=True,
            losses=(Loss("loss", "loss", formerly="generator_loss"),),
            takes=frozenset({"sketch", "source"}),
            one_by_one=frozenset({"source_strength"}),
        ),
        Family(
            "stylegan2",
            "StyleGAN2-ADA (2020): control by layers, finds a picture in w; published networks",
            stylegan2.StyleGAN2Config,
            stylegan2.Options,
            "components.families.stylegan2.method",
            is_conditional=True,
            losses=ADVERSARIAL,
            takes=frozenset({"source"}),
            one_by_one=frozenset({"source"}),
        ),
        Family(
            "stable_diffusion",
            "Stable Diffusion and its kin: from words, pictures and masks; adopted, not trained",
            stable_diffusion.StableDiffusionConfig,
            stable_diffusion.Options,
            "components.families.stable_diffusion.method",
            is_conditional=False,
            takes=frozenset({"prompt", "source", "mask"}),
            is_trainable=False,
            one_by_one=frozenset({"prompt", "source"}),
        ),
        Family(
            "vae",
            "Variational autoencoder: quick and soft; encodes a picture, varies and blends it",
            vae.VAEConfig,
            vae.Options,
            "components.families.vae.method",
            is_conditional=True,
            losses=vae.LOSSES,
            takes=frozenset({"source", "towards_source"}),
        ),
        Family(
            "cyclegan",
            "CycleGAN (2017): turns a picture of one style into another, learnt without pairs",
            cyclegan.CycleGANConfig,
            cyclegan.Options,
            "components.families.cyclegan.method",
            is_conditional=True,
            losses=(
                *ADVERSARIAL,
                Loss("cycle_loss", "cycle"),
                Loss("identity_loss", "identity"),
            ),
            takes=frozenset({"source"}),
            needs=frozenset({"source"}),
            one_by_one=frozenset({"source"}),
        ),
    )
}
