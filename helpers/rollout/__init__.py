"""Ship it: registry, router, server, telemetry, canary monitor and rollback.

Nothing is imported here, because the parts need very different things: a registry that only rolls
back starts in a twentieth of a second, and an engine needs torch.
"""
