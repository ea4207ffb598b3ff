"""The command line: one file a group of verbs, flags made from the settings models."""
