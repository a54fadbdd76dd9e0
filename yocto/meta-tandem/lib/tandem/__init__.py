"""What the recipes and classes of the layer decide. The rest of the layer only does it."""

BBIMPORTS = ["boot", "layout", "lockfile", "settings"]
