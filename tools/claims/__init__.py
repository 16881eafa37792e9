"""The ledger of published claims: tools/make-claims."""
