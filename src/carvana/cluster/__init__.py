"""Pieces of work on the workers of a Dask scheduler.

Dask connects the machines, tells who is there, and runs what it is told on the worker it is told. Who does which
piece is decided here: a worker gets one at a time, after it was looked at, and a piece whose worker died goes to
another. joblib's Dask backend (1.6) would wait for ever for a piece that its workers die of, and gives work to
workers that join late without a look.
"""
