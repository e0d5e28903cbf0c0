# shellcheck shell=bash
# Debian packages: which are missing, and their installation without starting what they bring. Whoever sources this has a `die`.

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root: run '$0' once as root"
    fi
}

# The packages of the argument list that are not installed, one a line.
missing_of() {
    local package status
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
        [[ $status == installed ]] || printf '%s\n' "$package"
    done
}

# A package that brings a daemon must not start it on this machine: what runs servers, runs them in namespaces of its own.
install_without_starting() {
    local policy=/usr/sbin/policy-rc.d ours=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        ours=1
    fi
    local failed=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=400 -qq update >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=400 -qq -y \
            --no-install-recommends install "$@" >&2 || failed=1
    ((ours == 0)) || as_root rm -f "$policy"
    ((failed == 0)) || die "apt-get failed: see its messages above"
}
