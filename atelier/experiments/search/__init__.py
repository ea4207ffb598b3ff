"""The search for hyper-parameters within a time budget (paper 002, Table 2)."""
