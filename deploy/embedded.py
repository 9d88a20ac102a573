"""Run both services in one process, with a private PostgreSQL and the in-process bus."""
