#!/bin/sh
# Runs tools/autobahn.py with Autobahn's suite from PyPI, which needs Python 2.7 (PYTHON27, or python2.7 on the path):
# installed once into build/autobahn. Nothing of it becomes a dependency of the project.
set -eu
cd "$(dirname "$0")/.."
home=build/autobahn
python27=${PYTHON27:-python2.7}
if ! "$python27" -c "" 2>/dev/null && [ -d "$HOME/.pyenv/versions" ]; then
  python27=$(find "$HOME/.pyenv/versions" -path '*/2.7*/bin/python2.7' | head -n 1)
fi
if [ ! -x "$home/suite/bin/wstest" ]; then
  if ! "$python27" -c "" 2>/dev/null; then
    echo "Autobahn's suite needs Python 2.7: install it, and set PYTHON27 to its path" >&2
    exit 2
  fi
  uv=$(sh tools/bootstrap.sh)
  "$uv" venv --quiet --seed --clear --python 3.11 "$home/maker"
  "$home/maker/bin/pip" install --quiet 'virtualenv<20.22'
  "$home/maker/bin/virtualenv" --quiet -p "$python27" "$home/suite"
  "$home/suite/bin/pip" install --quiet autobahntestsuite==25.10.1
fi
exec .venv/bin/python -m tools.autobahn --wstest "$home/suite/bin/wstest" "$@"
