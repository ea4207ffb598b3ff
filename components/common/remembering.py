"""Measurements of this machine, made once and kept in the person's cache."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from pydantic import BaseModel, ValidationError

from components.common.download import weights_cache
from components.common.durable import write_text

_log = logging.getLogger("atelier")


AnswerT = TypeVar("AnswerT", bound=BaseModel)

_answers: dict[str, str] = {}
_taken_over: dict[str, str] = {}


def answers() -> dict[str, str]:
    """Answers that this process has had about its machine: question => answer, both as JSON.

    For processes on other machines whose results must be the same as here; see `take_over`.
    """
    return dict(_answers)


def take_over(given: Mapping[str, str]) -> None:
    """Take another machine's answers for this one's, from now on in this process."""
    _taken_over.update(given)


def remembered(
    topic: str,
    device: torch.device,
    asked: Sequence[object],
    answer_type: type[AnswerT],
    measure: Callable[[], AnswerT],
) -> AnswerT:
    """The answer to what was `asked` about this machine, measured where it is not yet known.

    So the same pictures come out the same the next time. The answer holds for this processor,
    number of threads and version of torch; one that cannot be read is measured again. `asked` can
    be written as JSON. What was taken over goes before all that.
    """
    question = json.dumps([topic, device.type, list(asked)])
    if question in _taken_over:
        return answer_type.model_validate_json(_taken_over[question])
    answer = _of_this_machine(topic, device, asked, answer_type, measure)
    _answers[question] = answer.model_dump_json()
    return answer


def _of_this_machine(
    topic: str,
    device: torch.device,
    asked: Sequence[object],
    answer_type: type[AnswerT],
    measure: Callable[[], AnswerT],
) -> AnswerT:
    if device.type == "cuda":
        machine: list[object] = [torch.cuda.get_device_name(device)]
    else:
        machine = [dict(torch.cpu.get_capabilities()), torch.get_num_threads()]
    key = json.dumps([topic, device.type, machine, torch.__version__, list(asked)])
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = weights_cache().parent / topic / f"{name}.json"
    try:
        return answer_type.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        answer = measure()
    try:
        write_text(path, answer.model_dump_json() + "\n")
    except OSError as error:  # it is measured again the next time
        _log.debug("%s: cannot be kept (%s)", path, error)
    return answer
