"""The checks: one public module each, found by being here."""
