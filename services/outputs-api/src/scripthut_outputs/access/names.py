"""What people may be called here, whoever says so: the tokens file, an OpenID provider, a proxy. Pure."""

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
