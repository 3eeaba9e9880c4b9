"""Submissions, their scores, and the record of both."""
