"""Paper 002's Table 2 as a search space, and which of its combinations make no sense.

A hyper-parameter whose choices depend on another has a name for each case, 'field@case': Optuna
keeps one set of choices a name.

Ruled out, because the mathematics forbids it:

- the Wasserstein distance without clipping or penalty: its dual form asks for a 1-Lipschitz critic,
  and without a bound the loss has none either (Arjovsky et al. 2017, section 3);
- batch normalisation in the critic under the gradient penalty, which is taken of each image's own
  gradient, and batch normalisation ties the images together (Gulrajani et al. 2017, section 4);
- β1 and β2 without Adam, and the penalty's weight without the penalty, are not there to be chosen.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.families import FAMILIES

if TYPE_CHECKING:  # Optuna takes a third of a second
    from optuna import Trial

Value = bool | int | float | str
"""Value of one hyper-parameter."""

TABLE_2: dict[str, tuple[Value, ...]] = {
    "latent_dim": (100, 128, 256),
    "learning_rate": (1e-3, 2e-4, 1e-4, 1e-5),
    "batch_size": (64, 128, 256),
    "loss": ("bce", "wasserstein"),
    "generator_activation": ("linear", "relu", "leaky_relu", "tanh"),
    "discriminator_activation": ("linear", "relu", "leaky_relu", "tanh"),
    "output_activation": ("linear", "tanh"),
    "optimiser": ("sgd", "adam"),
    "beta1": (0.0, 0.5),
    "beta2": (0.9, 0.999),
    "fully_connected": (False, True),
    "generator_normalisation": ("none", "batch", "layer"),
    "discriminator_normalisation": ("none", "batch", "layer"),
    "kernel_size": (3, 4, 5),
    "gradient_correction": ("none", "clipping", "penalty"),
    "discriminator_iterations": (1, 5),
    "weight_init": ("glorot_normal", "normal", "uniform"),
    "bias": (False, True),
}
"""Table 2, row by row, under the names of the config's fields."""

PENALTY_WEIGHTS = (0.1, 100.0)
"""λ of the gradient penalty, which people are advised to tune by hand: searched on a log scale."""

FIELDS = frozenset({*TABLE_2, "penalty_weight"})

_WASSERSTEIN_CORRECTIONS = ("clipping", "penalty")
_NORMALISATIONS_UNDER_PENALTY = ("none", "layer")


def field(name: str) -> str:
    """'gradient_correction@wasserstein' => 'gradient_correction'."""
    return name.partition("@")[0]


def fields(params: Mapping[str, Value]) -> dict[str, Value]:
    """A trial's parameters as fields of the config, in Table 2's order."""
    chosen = {field(name): value for name, value in params.items()}
    return {name: chosen[name] for name in (*TABLE_2, "penalty_weight") if name in chosen}


def names(options: Mapping[str, Value]) -> dict[str, Value]:
    """The inverse: a whole config's fields under the names of the search space."""
    params = {name: options[name] for name in TABLE_2}
    if params["optimiser"] != "adam":
        del params["beta1"], params["beta2"]
    if params["loss"] == "wasserstein":
        params["gradient_correction@wasserstein"] = params.pop("gradient_correction")
    if options["gradient_correction"] == "penalty":
        params["discriminator_normalisation@penalty"] = params.pop("discriminator_normalisation")
        params["penalty_weight"] = options["penalty_weight"]
    return params


def draw(trial: "Trial") -> dict[str, Value]:
    """Ask a trial for every field of the config that the search decides."""
    choose = trial.suggest_categorical
    dependent = {"beta1", "beta2", "gradient_correction", "discriminator_normalisation"}
    for name, values in TABLE_2.items():
        if name not in dependent:
            choose(name, values)

    if trial.params["optimiser"] == "adam":
        choose("beta1", TABLE_2["beta1"])
        choose("beta2", TABLE_2["beta2"])
    if trial.params["loss"] == "wasserstein":
        correction = choose("gradient_correction@wasserstein", _WASSERSTEIN_CORRECTIONS)
    else:
        correction = choose("gradient_correction", TABLE_2["gradient_correction"])
    if correction == "penalty":
        choose("discriminator_normalisation@penalty", _NORMALISATIONS_UNDER_PENALTY)
        trial.suggest_float("penalty_weight", *PENALTY_WEIGHTS, log=True)
    else:
        choose("discriminator_normalisation", TABLE_2["discriminator_normalisation"])
    return fields(trial.params)


def family(options: Mapping[str, Value]) -> str:
    """The name under which a combination trains; the three are one method, so any would do."""
    return "wgan_gp" if options["loss"] == "wasserstein" else "dcgan"


def starting_points() -> dict[str, dict[str, Value]]:
    """The paper's three models, as we reconstruct them, under the names of the search space.

    The search begins with them, so that what it ends with is no worse.
    """
    models = ("dcgan", "dcgan_wi", "wgan_gp")
    return {name: names(FAMILIES[name].config().model_dump()) for name in models}
