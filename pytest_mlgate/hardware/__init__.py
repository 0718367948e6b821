"""Where an artifact is measured: the targets, and timing that a verdict can rest on."""
