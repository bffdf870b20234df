"""Speed and detection quality against the peers, and hostile input; each module is a command."""
