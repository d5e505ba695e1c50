#!/bin/sh
# Prints the path of a uv that is new enough; gets one into the user's cache folder when there is none.
# Needs Python 3.11 or newer with either venv or pip; writes nothing outside the cache folder.
set -eu
UV_VERSION=0.9.0
UV_INSTALL=0.13.8
cache="${XDG_CACHE_HOME:-$HOME/.cache}/glassbridge/uv-$UV_INSTALL"

new_enough() {
    [ -x "$1" ] || return 1
    have=$("$1" --version 2>/dev/null | sed 's/^uv \([0-9.]*\).*/\1/')
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$UV_VERSION" "$have" | sort -V | head -n 1)" = "$UV_VERSION" ]
}

for candidate in "$(command -v uv 2>/dev/null || true)" "$cache/bin/uv"; do
    if new_enough "$candidate"; then echo "$candidate"; exit 0; fi
done

python=""
for name in python3.11 python3.12 python3.13 python3; do
    if command -v "$name" >/dev/null 2>&1 &&
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$name; break; fi
done
if [ -z "$python" ]; then
    echo "glassbridge needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2; exit 1
fi

echo "getting uv $UV_INSTALL into $cache" >&2
rm -rf "$cache"
if "$python" -m venv "$cache" >/dev/null 2>&1 && "$cache/bin/python" -m pip --version >/dev/null 2>&1; then
    "$cache/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_INSTALL" >&2
elif "$python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$cache"
    "$python" -m pip install --quiet --disable-pip-version-check --target "$cache" "uv==$UV_INSTALL" >&2
else
    rm -rf "$cache"
    echo "neither venv nor pip works here: apt-get install python3-venv, or put uv on the PATH" >&2; exit 1
fi
new_enough "$cache/bin/uv" || { rm -rf "$cache"; echo "could not get uv; put one on the PATH" >&2; exit 1; }
echo "$cache/bin/uv"
