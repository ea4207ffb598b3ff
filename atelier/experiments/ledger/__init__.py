"""The ledger: what a picture costs, by model and by enlarger (paper 003, Table 1)."""
