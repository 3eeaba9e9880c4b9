"""A stand-in for Kaggle on the loopback, for Kaggle's own client: a competition, and notebooks that really run."""

from .kernels import COMPLETE, ERROR, KernelService, Scripted, Session
from .sandbox import Machine, namespaces
from .server import COMPETITION, KEY, SIGNATURE, TOKEN, USER, KaggleStandIn, Refusal, running

__all__ = [
    "COMPETITION",
    "COMPLETE",
    "ERROR",
    "KEY",
    "SIGNATURE",
    "TOKEN",
    "USER",
    "KaggleStandIn",
    "KernelService",
    "Machine",
    "Refusal",
    "Scripted",
    "Session",
    "namespaces",
    "running",
]
