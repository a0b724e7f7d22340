"""The studies: pipelines of their own, for the evidence."""
