"""Whether an error, of any library, says that memory ran out."""

import torch


def is_out_of_memory(error: Exception) -> bool:
    """CUDA has a class for it; MPS, OpenVINO and the CPU allocator only have words."""
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        phrase in words
        for phrase in (
            "out of memory",
            "can't allocate memory",
            "not enough memory",
            "bad_alloc",
        )
    )
