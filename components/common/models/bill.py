"""The software bill of a model: what it was made with (CycloneDX 1.6, ECMA-424, as JSON)."""

import functools
import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

from interfaces.igme import IGME

_PROGRAM = "atelier"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Package(NamedTuple):
    name: str
    version: str
    licence: str | None

    @property
    def address(self) -> str:
        """A package URL: 'pkg:pypi/numpy@2.4.6'."""
        return f"pkg:pypi/{_canonical(self.name)}@{self.version}"


def bill_of(model: IGME) -> str:
    """The bill as JSON: the model, the packages that were there, and who needs which.

    It holds no date and no machine, so that the same model has the same bill.
    """
    found = _installed(_PROGRAM)
    model_reference = f"model:{model.digest}"
    bill: dict[str, object] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _of_model(model, model_reference)},
        "components": [_of_package(one) for one in found.values()],
        "dependencies": [
            {"ref": model_reference, "dependsOn": [one.address for one in found.values()]}
        ],
    }
    return json.dumps(bill, indent=2) + "\n"


def _of_model(model: IGME, reference: str) -> dict[str, object]:
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": f"{model.family}-{model.dataset_name}",
        "hashes": [{"alg": "SHA-256", "content": model.weights_sha256}],
        "modelCard": {
            "modelParameters": {
                "architectureFamily": model.family,
                "task": "image generation",
                "datasets": [{"type": "dataset", "name": model.dataset_name}],
            }
        },
    }


def _of_package(package: _Package) -> dict[str, object]:
    described: dict[str, object] = {
        "type": "library",
        "bom-ref": package.address,
        "name": package.name,
        "version": package.version,
        "purl": package.address,
    }
    if package.licence is None:
        return described
    return described | {"licenses": [{"expression": package.licence}]}


@functools.cache  # hundreds of files are read for it
def _installed(root: str) -> Mapping[str, _Package]:
    """A package and all that it requires, as far as installed, by name in alphabetical order."""
    found: dict[str, _Package] = {}
    waiting = [root]
    while waiting:
        name = _canonical(waiting.pop())
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another system, or left out by whoever installed it
        described = package.metadata  # parsed anew each time it is asked for
        has_licence = "License-Expression" in described
        licence = described["License-Expression"] if has_licence else None
        found[name] = _Package(described["Name"], package.version, licence)
        needed = (line for line in package.requires or () if "extra ==" not in line)
        waiting += [match.group() for line in needed if (match := _NAME.match(line))]
    return dict(sorted(found.items()))


def _canonical(name: str) -> str:
    """A package's name as indexes have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
