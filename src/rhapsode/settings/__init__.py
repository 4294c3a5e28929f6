"""One typed tree from YAML, environment and secret files; every value has its origin."""

from rhapsode.settings.environment import OTHERS, variable_of
from rhapsode.settings.loader import Loaded, find_file, load, search_path
from rhapsode.settings.tree import (
    Admin,
    Database,
    EmbeddedRunner,
    Logging,
    Models,
    Queue,
    Server,
    Settings,
    Storage,
)
from rhapsode.settings.values import LEAVES, Origin, Problem, SettingsError

__all__ = [
    "LEAVES",
    "OTHERS",
    "Admin",
    "Database",
    "EmbeddedRunner",
    "Loaded",
    "Logging",
    "Models",
    "Origin",
    "Problem",
    "Queue",
    "Server",
    "Settings",
    "SettingsError",
    "Storage",
    "find_file",
    "load",
    "search_path",
    "variable_of",
]
