"""One file a revision of the alert store's schema."""
