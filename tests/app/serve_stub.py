"""A server whose model sees colours, for tests: python serve_stub.py PORT FOLDER."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a program of its own

from insid3.app.same import Same
from insid3.app.server import Limits, Server
from stubs import colour_model, slow_model

model = slow_model() if "slow" in sys.argv else colour_model()
same = Same("colours", model.config, model.config)
users = [("anna", "secret")] if "auth" in sys.argv else None
limits = Limits(upload=10**6, queue=6 if "slow" in sys.argv else 64, sessions=30)
with Server(
    model, same, port=int(sys.argv[1]), folder=Path(sys.argv[2]), limits=limits, users=users, note="Backbone: colours"
) as server:
    print("ready", server.root, flush=True)  # noqa: T201
    server.wait()
