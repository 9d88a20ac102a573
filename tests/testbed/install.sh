#!/bin/sh
# Install, once, the Debian packages whose servers the tests and the benchmarks start themselves, and an OpenID
# provider from npm.
#
# Nothing is started here: a policy file keeps the packages' own services down, the testbed starts private ones.
# Without root or apt nothing is installed and the fixtures fall back to testcontainers (see tests/conftest.py).
set -eu

PACKAGES="slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge mariadb-server
openssh-server openssh-client sudo rabbitmq-server nginx-light wrk chromium tcsh zsh fish docker-compose caddy curl
openssl systemd"
POLICY=/usr/sbin/policy-rc.d

missing_packages() {
    # shellcheck disable=SC2086  # one word per package is wanted
    dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' $PACKAGES 2>/dev/null >"$listing" || true
    for package in $PACKAGES; do
        grep -qx "$package installed" "$listing" || printf '%s ' "$package"
    done
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    echo "testbed: this system has no apt-get; the tests will use testcontainers where Docker is present." >&2
    exit 0
fi

listing=$(mktemp)
wrote_policy=no
tidy() {
    rm -f "$listing"
    [ "$wrote_policy" = no ] || rm -f "$POLICY"
}
trap tidy EXIT
trap 'exit 1' HUP INT TERM

# What is taken is what package-lock.json has the hashes of, wherever npm gets it from.
install_provider() {
    folder=$(dirname "$0")/oidc
    command -v npm >/dev/null 2>&1 || return 1
    [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] || return 0
    echo "testbed: installing the OpenID provider"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
}

missing=$(missing_packages)
command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
if [ -z "$missing" ]; then
    install_provider || echo "testbed: npm could not install the OpenID provider; tests that need it will skip." >&2
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "testbed: not root, so these packages cannot be installed: $missing" >&2
    echo "testbed: run 'sudo sh tests/testbed/install.sh', or the tests will use testcontainers or skip." >&2
    exit 0
fi

if [ ! -e "$POLICY" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
    wrote_policy=yes
fi

install_missing() {
    apt-get update -qq || return
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 $missing >"$listing"
}

echo "testbed: installing $missing"
export DEBIAN_FRONTEND=noninteractive
if ! install_missing; then
    tail -n 20 "$listing" >&2
    echo "testbed: apt-get could not install these; tests that need them will skip, and fail under CI=true." >&2
fi
install_provider || echo "testbed: npm could not install the OpenID provider; tests that need it will skip." >&2
