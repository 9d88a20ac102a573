"""Every route of the application, by what it takes to be let in; `test_roles.py` holds it to the application."""

import re

OPEN, LIST, READ, CREATE, ADMIN = "open", "list", "read", "create", "admin"
COLLECT, SUBMIT, SHARE, TOKENS = "collect", "submit", "share", "tokens"
PLACES = {
    OPEN: """
        GET / | GET /login | POST /login | POST /logout | GET /health/live | GET /health/ready
        GET /ui/static/{version}/{name} | GET /share/{signed} | GET /login/oidc | GET /login/oidc/callback
    """,
    LIST: "GET /runs | GET /ui | GET /clusters | GET /schema | GET /schema/openapi.json | GET /schema/{path}",
    CREATE: "POST /runs",
    READ: """
        GET /runs/{run_id} | GET /runs/{run_id}/summary | GET /runs/{run_id}/summary/{task_id}
        GET /runs/{run_id}/archive | GET /runs/{run_id}/events | GET /runs/{run_id}/tasks/{task_id}
        GET /runs/{run_id}/tasks/{task_id}/detail/{kind} | GET /runs/{run_id}/tasks/{task_id}/detail/outputs
        GET /runs/{run_id}/tasks/{task_id}/outputs
        GET /runs/{run_id}/tasks/{task_id}/outputs/rendered | GET /runs/{run_id}/tasks/{task_id}/outputs/archive
        GET /runs/{run_id}/tasks/{task_id}/outputs/file/{path}
        GET /ui/runs/{run_id} | GET /ui/runs/{run_id}/tasks/{task_id} | GET /ui/runs/{run_id}/tasks/{task_id}/{place}
        GET /ui/runs/{run_id}/tasks/{task_id}/files/{path}
    """,
    COLLECT: """
        POST /runs/{run_id}/outputs/collect | POST /runs/{run_id}/tasks/{task_id}/outputs/collect
        PUT /runs/{run_id}/pin | DELETE /runs/{run_id}/pin | POST /ui/runs/{run_id}/pin | POST /ui/runs/{run_id}/unpin
        POST /ui/runs/{run_id}/collect | POST /ui/runs/{run_id}/tasks/{task_id}/collect
    """,
    SUBMIT: "POST /runs/{run_id}/cancel | POST /ui/runs/{run_id}/cancel",
    SHARE: """
        PUT /runs/{run_id}/visibility | POST /runs/{run_id}/shares | GET /runs/{run_id}/shares
        DELETE /runs/{run_id}/shares/{share_id}
        POST /ui/runs/{run_id}/visibility | POST /ui/runs/{run_id}/shares
        POST /ui/runs/{run_id}/shares/{share_id}/revoke
    """,
    ADMIN: """
        GET /metrics
        GET /admin/clusters | GET /admin/collections | GET /admin/storage | GET /admin/audit
        GET /ui/admin | GET /ui/admin/collections | GET /ui/admin/storage | GET /ui/admin/tokens | GET /ui/admin/audit
        POST /ui/admin/collect/{run}/{task}
    """,
    TOKENS: """
        GET /tokens | POST /tokens | DELETE /tokens/{token_id}
        GET /ui/tokens | POST /ui/tokens | POST /ui/tokens/{token_id}/revoke | POST /ui/sessions/end
    """,
}


def placed() -> dict[tuple[str, str], str]:
    """Give the kind of each route, by its method and path."""
    found = {}
    for kind, written in PLACES.items():
        for one in re.split(r"\||\n", written.strip()):
            method, path = one.split()
            found[method, path] = kind
    return found
