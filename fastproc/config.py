"""Every setting: its variable, default, bounds and meaning. `load(env)` checks all of them at once.

Rule 1: this is the only list. The README's table, `fastproc check` and the errors are made from it.
Rule 2: one frozen Struct a room; a room gets its own Struct, never the whole, never the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from fastproc.core.errors import ConfigError
from fastproc.core.model import Limits, Options, ThumbnailSpec
