"""The views of a run's evidence: one public module each, found by being here."""
