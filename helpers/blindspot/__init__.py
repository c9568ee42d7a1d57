"""The blind spot: what a fine-tune costs where nobody scores it."""
