# What the scripts beside this one share. Sourced, never run.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

# Debian keeps daemons where only root looks; rustup keeps cargo in the home.
PATH="$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin"

EVK_IMAGE="${EVK_IMAGE:-evenkeel:latest}"
EVK_DEMO_PORT="${EVK_DEMO_PORT:-8000}"
EVK_DEMO_ADMIN_PORT="${EVK_DEMO_ADMIN_PORT:-9090}"
export EVK_IMAGE EVK_DEMO_PORT EVK_DEMO_ADMIN_PORT

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND=PACKAGE...  Installs the Debian packages of the commands that are
# missing; whoever may not install is told the exact command.
need() {
    local pair missing=()
    for pair in "$@"; do
        have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
    for pair in "$@"; do
        have "${pair%%=*}" || die "\`${pair%%=*}\` is missing although ${pair#*=} is installed"
    done
}

install_packages() {
    have apt-get || die "missing: $*. Install them with your package manager and run this again."
    [ "$(id -u)" -eq 0 ] || die "missing: $*. Run: sudo apt-get install --no-install-recommends $*"
    say "Installing $*"
    # A package that is only used by a test must not start a service.
    local policy=/usr/sbin/policy-rc.d
    local mine=
    if [ ! -e "$policy" ]; then
        mine=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    fi
    local status=0
    { apt_install "$@" || { apt-get update -q && apt_install "$@"; }; } >&2 || status=$?
    [ -z "$mine" ] || rm -f "$policy"
    [ "$status" -eq 0 ] || die "could not install $*: see the lines of apt-get above"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@" </dev/null
}

need_docker() {
    have docker || die "docker is missing. Install Docker Engine: https://docs.docker.com/engine/install/"
    docker version >/dev/null 2>&1 || die "the Docker daemon does not answer. \
Is it running, and may you use it? Try: docker version"
}

# Sets COMPOSE to the words that run compose here.
need_compose() {
    need_docker
    if ! docker compose version >/dev/null 2>&1 && ! have docker-compose; then
        install_packages "$(compose_package)"
    fi
    if docker compose version >/dev/null 2>&1; then
        COMPOSE=(docker compose)
    else
        COMPOSE=(docker-compose)
    fi
}

# The plugin where Docker's own repository is set up, else Debian's package.
compose_package() {
    if have apt-cache && apt-cache show docker-compose-plugin >/dev/null 2>&1; then
        echo docker-compose-plugin
    else
        echo docker-compose
    fi
}

need_rust() {
    have cargo || die "cargo is missing. Install Rust: https://rustup.rs"
    need cc=build-essential
}

# Real clients, and Prometheus' own judge, by which tests prove that others understand us. Where they are
# missing and cannot be installed, the tests that want them say so themselves.
need_clients() {
    local missing=() pair
    for pair in curl=curl nghttp=nghttp2-client chromium=chromium promtool=prometheus; do
        have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    # Debian's Python sees Debian's packages.
    /usr/bin/python3 -c 'import grpc' 2>/dev/null || missing+=(python3-grpcio)
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -eq 0 ] && have apt-get; then
        install_packages "${missing[@]}"
    else
        say "Tests with real clients need: ${missing[*]}. Run: sudo apt-get install --no-install-recommends ${missing[*]}"
    fi
}

# need_component NAME  A part of the toolchain that minimal installations leave out.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    have rustup || die "\`cargo $1\` is missing; install it from where your cargo came from"
    case "$1" in
        fmt) rustup component add rustfmt ;;
        *) rustup component add "$1" ;;
    esac
}
