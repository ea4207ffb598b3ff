"""Capabilities that a component declares beside its port: all of them optional."""

from pydantic import Field

from interfaces.contract import Many, Message
from interfaces.errors import RefusedError
from interfaces.ipdt import USUAL_TRANSFORM


class Capabilities(Message):
    """The limits of a component, in its attribute `capabilities`; a default sets none.

    What is not declared is refused before the component is called, and is not tested.
    """

    scales: Many[int] | None = Field(
        default=None, min_length=1, description="Enlargements of an enhancer; None: every one."
    )
    formats: Many[str] | None = Field(
        default=None, min_length=1, description="File formats of a converter; None: every one."
    )
    families: Many[str] | None = Field(
        default=None,
        min_length=1,
        description="Families of a trainer or a generator; None: it says itself which it knows.",
    )
    transform: str = Field(
        default=USUAL_TRANSFORM,
        min_length=1,
        description="What a preprocessor does to each picture, as in IPDT.",
    )

    def check_scale(self, component: str, scale: int) -> None:
        """Raise `RefusedError` for an enlargement that is not declared."""
        if self.scales is not None and scale not in self.scales:
            raise _undeclared(component, f"enlarges by {_listed(self.scales)}", str(scale))

    def check_format(self, component: str, name: str) -> None:
        """Raise `RefusedError` for a file format that is not declared."""
        if self.formats is not None and name not in self.formats:
            raise _undeclared(component, f"writes {_listed(self.formats)}", name)

    def check_family(self, component: str, family: str) -> None:
        """Raise `RefusedError` for a family that is not declared."""
        if self.families is not None and family not in self.families:
            raise _undeclared(component, f"knows {_listed(self.families)}", family)


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))


def _undeclared(component: str, declared: str, asked: str) -> RefusedError:
    return RefusedError(f"{component}: {declared}, not {asked}; ask for what it declares")


def capabilities_of(component: object, name: str) -> Capabilities:
    """The capabilities that a component declares; no limits where it declares none.

    Raises `RefusedError`, which begins with `name`, where `capabilities` is something else.
    """
    declared = getattr(component, "capabilities", Capabilities())
    if not isinstance(declared, Capabilities):
        raise RefusedError(
            f"{name}: its attribute capabilities is a {type(declared).__name__}; declare an "
            "interfaces.capabilities.Capabilities"
        )
    return declared
