"""Submissions, the ledger that records their scores, and the comparison."""
