"""What was measured on this machine, once, kept in the person's cache."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from components.common.download import weights_cache
from components.common.durable import write_text

_log = logging.getLogger("atelier")


def remembered(
    topic: str,
    device: torch.device,
    asked: list[Any],
    measure: Callable[[], dict[str, Any]],
    is_answer: Callable[[dict[str, Any]], bool] = bool,
) -> dict[str, Any]:
    """The answer to what was `asked` about this machine, measured where it is not yet known.

    So the same pictures come out the same the next time. The answer holds for this processor,
    number of threads and version of torch. A kept one that `is_answer` refuses is measured anew.
    """
    if device.type == "cuda":
        machine: list[Any] = [torch.cuda.get_device_name(device)]
    else:
        machine = [dict(torch.cpu.get_capabilities()), torch.get_num_threads()]
    key = json.dumps([topic, device.type, machine, torch.__version__, asked])
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = weights_cache().parent / topic / f"{name}.json"
    kept = _read(path)
    if is_answer(kept):
        return kept
    answer = measure()
    try:
        write_text(path, json.dumps(answer) + "\n")
    except OSError as error:  # it is measured again the next time
        _log.debug("%s: cannot be kept (%s)", path, error)
    return answer


def _read(path: Path) -> dict[str, Any]:
    """What a file holds; empty where it is missing or damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
