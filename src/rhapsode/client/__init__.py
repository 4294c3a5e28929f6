"""The HTTP client of a Rhapsode server, for programs, the command line and runners.

DomainError
├── … the server's refusals, by kind
├── Conflict
│   └── LeaseLost       the job is not this runner's any more
└── Unavailable
    ├── Unreachable     no connection, a broken one, or silence
    ├── ServerFault     the server answered with a fault of its own
    └── DigestMismatch  a download is not what was announced
"""

from rhapsode.client.api import Client
from rhapsode.client.events import RECONNECTED, Event
from rhapsode.client.http import Http
from rhapsode.client.notes import Notes
from rhapsode.client.problems import ServerFault, Unreachable
from rhapsode.client.retry import Backoff
from rhapsode.client.runners import Lease, LeaseLost, RunnerApi, result_document
from rhapsode.client.transfers import DigestMismatch, Report, digest_of
from rhapsode.client.views import (
    JobPage,
    MediaPage,
    MediaView,
    NewSecret,
    Wishes,
)

__all__ = [
    "RECONNECTED",
    "Backoff",
    "Client",
    "DigestMismatch",
    "Event",
    "Http",
    "JobPage",
    "Lease",
    "LeaseLost",
    "MediaPage",
    "MediaView",
    "NewSecret",
    "Notes",
    "Report",
    "RunnerApi",
    "ServerFault",
    "Unreachable",
    "Wishes",
    "digest_of",
    "result_document",
]
