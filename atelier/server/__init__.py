"""The server: the API of jobs, models and results, and the ground that the page stands on.

    app = create_app(Backend(queue, store, ...), Safety(host="127.0.0.1"))
    serve(app, host="127.0.0.1", port=7860, ready=print)

FastAPI and uvicorn (the extra `ui`) are imported by these functions, not by this door.
"""

from atelier.server.backend import Backend
from atelier.server.safety import Safety
from atelier.server.serving import create_app, serve
from atelier.server.thumbnails import Thumbnails

__all__ = ["Backend", "Safety", "Thumbnails", "create_app", "serve"]
