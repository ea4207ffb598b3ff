"""Orders as the API's schema shows them."""

from fastapi.openapi.models import Example

EXAMPLES: dict[str, Example] = {
    "generate": {
        "summary": "Sixteen pictures, enlarged to 1024 pixels",
        "value": {
            "kind": "generate",
            "model": "0123456789abcdef",
            "choices": {
                "generate": {"count": 16, "seed": 7, "style": "Impressionism"},
                "enhance": {"scale": 16},
            },
        },
    },
    "train": {
        "summary": "A training of ten minutes on an uploaded collection",
        "value": {
            "kind": "train",
            "collection": "0123456789abcdef0123456789abcdef",
            "settings": {"train": {"total_seconds": 600}},
        },
    },
    "enhance": {
        "summary": "Two results, four times as large",
        "value": {"kind": "enhance", "results": [12, 13], "enhance": {"scale": 4}},
    },
    "interpolate": {
        "summary": "From one seed to another, as an animation",
        "value": {"kind": "interpolate", "model": "0123456789abcdef", "between": "3,7"},
    },
}
